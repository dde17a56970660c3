"""The import law: `witness -> proto <- agents`, pure cores, and rooms that own their library.

A core may name what is on a list of pure modules, and nothing else: a list of what is forbidden would let the
next module with a clock in it through. Each refusal says what to use instead.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from repo_tree import Import, Source, Violation, within

BOTH_SIDES = ("witness.sim", "witness.bench")
"""The only packages that may import agents: the simulation and the measurement of whole clusters."""
CLI_WIRING = ("witness.__main__",)
"""Who may import those packages besides themselves."""

PURE_STDLIB = frozenset(
    {"__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses"}
    | {"decimal", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "ipaddress", "itertools", "json"}
    | {"math", "operator", "re", "string", "struct", "textwrap", "types", "typing", "zlib"}
)
PROTO_EXTRA: dict[str, frozenset[str]] = {
    "proto.clock": frozenset({"time", "os"}),
    "proto.codec": frozenset({"msgpack"}),
    "proto.auth": frozenset({"cryptography"}),
}
"""What single files of proto may import beyond the pure list, because they are the one place for it."""

INSTEAD = {
    "asyncio": "return an effect, the driver performs it",
    "threading": "return an effect, the driver performs it",
    "concurrent": "return an effect, the driver performs it",
    "socket": "return an effect, the shell sends it",
    "ssl": "leave TLS to proto/edge/tls.py and the shells",
    "aiohttp": "leave the network to witness/http and agents/client",
    "os": "pass the value in, or return an effect",
    "pathlib": "pass the content in, or return an effect",
    "sqlite3": "return an effect, the journal of the shell stores it",
    "subprocess": "return an effect, agents/actions runs it",
    "time": "take `now: InstantNs` and offer next_deadline()",
    "datetime": "take WallMs as a value; only shells turn it into a date",
    "random": "let the proposer draw it and pass it in",
    "secrets": "let the proposer draw it and pass it in",
    "uuid": "let the proposer draw it and pass it in",
    "logging": "return an event or a Reason; the shell logs it",
    "structlog": "return an event or a Reason; the shell logs it",
    "pydantic": "take a frozen dataclass; pydantic stays at the edges",
    "proto.edge": "proto.edge does I/O and is for shells",
    "proto.clock.SystemClock": "take `now: InstantNs` or a ClockReading; clocks are read by the driver",
}
IMPURE_CALLS = {
    "open": "pass the content in, or return an effect",
    "print": "return an event; the shell shows it",
    "input": "pass the value in",
    "hash": "use hashlib: hash() differs between processes",
    "id": "compare by value: id() differs between processes",
    "eval": "write the code out",
    "exec": "write the code out",
}
OWNED = {
    "pysyncobj": (("witness.raft",), "use the port, witness/raft/port.py"),
    "apsw": (("witness.sim.disk",), "use the port, witness/raft/disk.py"),
    "pickle": ((), "use proto/codec.py: nothing is unpickled here"),
    "marshal": ((), "use proto/codec.py"),
    "shelve": ((), "use SQLite"),
}
"""Libraries that only the named packages may import."""


def check_sides(source: Source) -> Iterator[Violation]:
    """Neither side knows the other, and proto knows neither."""
    side = source.module.split(".")[0]
    forbidden = {"witness": ("agents",), "agents": ("witness",), "proto": ("witness", "agents")}[side]
    if any(within(source.module, package) for package in BOTH_SIDES):
        forbidden = ()
    for found in source.imports():
        for other in forbidden:
            if within(found.module, other):
                says = f"{side} imports {found.module}; move what both need to proto/"
                yield Violation(source.path, found.line, says)
        yield from _check_wholes(source, found)


def _check_wholes(source: Source, found: Import) -> Iterator[Violation]:
    for package in BOTH_SIDES:
        allowed = within(source.module, package) or source.module in CLI_WIRING
        if not allowed and any(within(target, package) for target in found.targets()):
            says = f"{package} is imported by nothing but itself and {', '.join(CLI_WIRING)}; move what is shared"
            yield Violation(source.path, found.line, says)


def check_owned(source: Source) -> Iterator[Violation]:
    for found in source.imports():
        owners, instead = OWNED.get(found.module.split(".")[0], (None, ""))
        if owners is not None and not any(within(source.module, owner) for owner in owners):
            yield Violation(source.path, found.line, f"{found.module} is not imported here: {instead}")


def check_purity(source: Source) -> Iterator[Violation]:
    """Cores and proto (outside of proto.edge) import pure modules only."""
    if not (source.core or _is_pure_proto(source)):
        return
    for found in source.imports():
        named = found.targets()[1:] or found.targets()
        for target in named if within(found.module, "proto") else (found.module,):
            instead = _impurity(source, target)
            if instead is not None:
                says = f"{target} is not for pure code: {instead}"
                yield Violation(source.path, found.line, says)
    yield from _check_constructs(source)


def _is_pure_proto(source: Source) -> bool:
    return within(source.module, "proto") and not within(source.module, "proto.edge")


def _impurity(source: Source, target: str) -> str | None:
    top = target.split(".", maxsplit=1)[0]
    if top in PURE_STDLIB and target not in INSTEAD:
        return None
    if top in PROTO_EXTRA.get(source.module, frozenset()):
        return None
    if top == "proto":
        barred = ("proto.edge", "proto.clock.SystemClock") if source.core else ("proto.edge",)
        return next((INSTEAD[name] for name in barred if within(target, name)), None)
    if source.core and top == source.module.split(".")[0]:
        own_core = ".".join(source.module.split(".")[:2])
        return None if within(target, own_core) else f"a core imports only proto and {own_core}"
    kind = "the pure list of tests/repo/repo_layers.py does not hold it"
    return INSTEAD.get(target) or INSTEAD.get(top) or kind


def _check_constructs(source: Source) -> Iterator[Violation]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            says = "pure code never waits: return an effect, the driver performs it"
            yield Violation(source.path, node.lineno, says)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            says = f"{node.func.id}() is not for pure code: {IMPURE_CALLS[node.func.id]}"
            yield Violation(source.path, node.lineno, says)


def check_dynamic(source: Source) -> Iterator[Violation]:
    """A module that is imported by a computed name escapes every rule above."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {
            "__import__",
            "import_module",
        }:
            yield Violation(source.path, node.lineno, "write the import out, so that the law can see it")


LAYER_RULES = (check_sides, check_owned, check_purity, check_dynamic)


def import_graph(sources: tuple[Source, ...]) -> dict[str, set[str]]:
    """Module -> modules of this checkout that its import at load time needs."""
    known = {source.module for source in sources}
    graph: dict[str, set[str]] = {}
    for source in sources:
        needs = {target for found in _load_time_imports(source) for target in found.targets()}
        graph[source.module] = (needs & known) - {source.module}
    return graph


def _load_time_imports(source: Source) -> Iterator[Import]:
    inside = {
        id(child)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or _is_type_checking(node)
        for child in ast.walk(node)
    }
    lines = {node.lineno for node in ast.walk(source.tree) if id(node) in inside and hasattr(node, "lineno")}
    return (found for found in source.imports() if found.line not in lines)


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The import cycles, each as the path that closes it; depth-first, each module visited once."""
    state: dict[str, int] = {}
    found: list[list[str]] = []

    def visit(module: str, path: list[str]) -> None:
        state[module] = 1
        for other in sorted(graph.get(module, ())):
            if state.get(other) == 1:
                found.append([*path[path.index(other) :], other])
            elif other not in state:
                visit(other, [*path, other])
        state[module] = 2

    sys.setrecursionlimit(max(sys.getrecursionlimit(), 10 * len(graph) + 100))
    for module in sorted(graph):
        if module not in state:
            visit(module, [module])
    return found
