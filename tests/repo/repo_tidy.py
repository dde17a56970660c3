"""House rules that no linter has: sizes, clocks, waivers with reasons, nothing of the machine it was written on.

A rule takes a file and yields violations, each of which names what to do instead. The rules hold for shipped
code, tests or both, as their first line says.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from repo_tree import Source, Violation, within

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 400

CLOCK_SHELLS = {
    "proto.clock": "the one clock room",
    "proto.edge": "certificates and log lines carry calendar time",
    "witness.pki": "certificates carry calendar time",
    "witness.demo": "the referee and the demo read their own clocks on purpose",
    "witness.bench": "measures",
    "agents.fencing": "the guard arms the kernel's timers and has few imports",
}
"""Where `time` and the calendar may be read; everyone else is handed a clock of proto/clock.py."""

REASON = r"\s+(?:#|--?|—|;)\s+\S.{2,}"
WAIVERS = (
    ("noqa", re.compile(r"#\s*noqa\b"), re.compile(r"#\s*noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*" + REASON)),
    (
        "type: ignore",
        re.compile(r"#\s*type:\s*ignore"),
        re.compile(r"#\s*type:\s*ignore\[[a-z, -]+\]" + REASON),
    ),
)
WHOLE_FILE_WAIVER = re.compile(r"#\s*(ruff:\s*noqa|flake8:|mypy:\s*(ignore|disable)|pylint:)")
MARKER = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")


def check_sizes(source: Source) -> Iterator[Violation]:
    """Shipped code and tests: a function fits a screen, a file holds one idea."""
    lines = source.text.count("\n")
    if lines > FILE_LINES_MAX:
        says = f"{lines} lines, at most {FILE_LINES_MAX}: give its second idea a file of its own"
        yield Violation(source.path, 1, says)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                says = f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}: name its steps as functions"
                yield Violation(source.path, node.lineno, says)


def check_docstring(source: Source) -> Iterator[Violation]:
    """Shipped code: a module says in its first lines which rule it holds; a bare __init__ need not."""
    if source.shipped and source.tree.body and ast.get_docstring(source.tree) is None:
        yield Violation(source.path, 1, "begin with a docstring: the rule it holds, the intuition, what was rejected")


def check_assert(source: Source) -> Iterator[Violation]:
    """Shipped code: asserts vanish under -O and are caught as an Exception."""
    if not source.shipped:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Assert):
            yield Violation(
                source.path, node.lineno, "use proto.invariants.require: it survives -O and ends the process"
            )
        elif isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node):
            yield Violation(source.path, node.lineno, "nothing is shipped half-built: use a Protocol, or write it")


def check_clock(source: Source) -> Iterator[Violation]:
    """Shipped code: clocks are read in one room, so that a test and the simulation can hand in theirs."""
    if not source.shipped or any(within(source.module, shell) for shell in CLOCK_SHELLS):
        return
    for found in source.imports():
        if found.module == "time":
            yield Violation(source.path, found.line, "take a clock of proto/clock.py instead of importing time")
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}:
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner in {"datetime", "date"}:
                yield Violation(source.path, node.lineno, f"take WallMs from a clock instead of {owner}.{node.attr}()")


def check_waivers(source: Source) -> Iterator[Violation]:
    """Shipped code and tests: a waiver names its rule and says why, beside it; none covers a file."""
    for line, comment in _comments(source):
        if WHOLE_FILE_WAIVER.search(comment):
            yield Violation(source.path, line, "waive one line with its reason, not a file")
            continue
        for name, present, reasoned in WAIVERS:
            if present.search(comment) and not reasoned.search(comment):
                yield Violation(source.path, line, f"write '# {name} with its code  # and the reason in words'")


def check_markers(source: Source) -> Iterator[Violation]:
    """Shipped code and tests: what is left to do is an issue, not a comment."""
    for line, comment in _comments(source):
        if MARKER.search(comment):
            yield Violation(source.path, line, "finish it, or file an issue and drop the marker")


def check_test_sleep(source: Source) -> Iterator[Violation]:
    """Tests: a sleep polls a condition inside a bounded loop, or says in a comment which span it lets pass."""
    if not source.path.startswith("tests/"):
        return
    in_loops = {
        id(child)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.While | ast.For | ast.AsyncFor)
        for child in ast.walk(node)
    }
    commented = {line for line, _ in _comments(source)}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in {"time.sleep", "asyncio.sleep"}:
            continue
        yields_only = bool(node.args) and ast.unparse(node.args[0]) == "0"
        if id(node) in in_loops or yields_only or commented & {node.lineno, node.lineno - 1}:
            continue
        says = "wait for a condition with a bound, or say in a comment which span must pass"
        yield Violation(source.path, node.lineno, says)


def _comments(source: Source) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


TIDY_RULES = (
    check_sizes,
    check_docstring,
    check_assert,
    check_clock,
    check_waivers,
    check_markers,
    check_test_sleep,
)

# Written in pieces: this file is subject to its own rules.
_MACHINE = re.compile(
    r"(?<![\w./:}-])/(?:" + "|".join(("wo" + "rk", "fa" + "rm", "ho" + "me/[a-z]", "ro" + "ot/[.a-z]")) + r")(?=[/\w.])"
)
_REGISTRY = re.compile(
    "|".join(
        re.escape(first + rest)
        for first, rest in (
            ("py" + "pi", ".org"),
            ("python" + "hosted", ".org"),
            ("registry.", "npm" + "js"),
            ("crates", ".io"),
            ("proxy.", "golang" + ".org"),
            ("docker", ".io"),
            ("gh" + "cr", ".io"),
            ("quay", ".io"),
            ("--index", "-url"),
            ("--extra", "-index"),
            ("--find", "-links"),
        )
    )
)
TEXT_SUFFIXES = frozenset(
    {".py", ".md", ".toml", ".txt", ".lock", ".in", ".yaml", ".yml", ".json", ".service", ".cfg", ".html", ".js"}
    | {".css", ".sh", ".conf", ".nft", ".dot", ".svg", ""}
)


def check_text(path: str, text: str) -> Iterator[Violation]:
    """Every text file: no path of the machine it was written on, no package registry."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _MACHINE.search(line):
            yield Violation(path, number, "write a path relative to the checkout, or one of the product (/etc, /var)")
        if _REGISTRY.search(line):
            yield Violation(path, number, "name no registry: the installer's own configuration chooses it")
