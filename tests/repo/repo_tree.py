"""The checkout as data for the rules: which files there are, how a module is named, what it imports.

The files are found by walking the tree rather than by asking git, so that the rules also hold for a file that
is not yet added and in an unpacked archive.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("proto", "witness", "agents")
SKIPPED = frozenset(
    {".git", ".venv", "build", "dist", "node_modules", "__pycache__", ".hypothesis"}
    | {".mypy_cache", ".ruff_cache", ".pytest_cache", "thirdsite.egg-info"}
)


@dataclass(frozen=True, slots=True)
class Violation:
    where: str
    line: int
    says: str

    def __str__(self) -> str:
        return f"{self.where}:{self.line}: {self.says}"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, by its full dotted name; `names` are those of a from-import."""

    module: str
    line: int
    names: tuple[str, ...] = ()

    def targets(self) -> tuple[str, ...]:
        """Every dotted name that this import may load: `from a import b` may mean a.b."""
        return (self.module, *(f"{self.module}.{name}" for name in self.names))


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file of the checkout; `path` is relative to its root, with '/'."""

    path: str
    text: str
    tree: ast.Module

    @property
    def module(self) -> str:
        parts = self.path.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        is_package = self.path.endswith("/__init__.py")
        return self.module if is_package else self.module.rpartition(".")[0]

    @property
    def shipped(self) -> bool:
        return self.path.split("/")[0] in SHIPPED

    @property
    def core(self) -> bool:
        return self.shipped and "core" in self.path.split("/")[:-1]

    def imports(self) -> Iterator[Import]:
        """All imports of the file, also those inside functions and under TYPE_CHECKING."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                names = tuple(alias.name for alias in node.names)
                yield Import(self._absolute(node), node.lineno, names)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if node.level == 0:
            return node.module or ""
        base = self.package.split(".")
        base = base[: len(base) - (node.level - 1)]
        return ".".join([*base, node.module] if node.module else base)


def source_of(path: str, text: str) -> Source:
    return Source(path=path, text=text, tree=ast.parse(text, filename=path))


@lru_cache(maxsize=1)
def all_files() -> tuple[str, ...]:
    found: list[str] = []
    for folder, dirs, files in os.walk(ROOT):
        dirs[:] = sorted(name for name in dirs if name not in SKIPPED)
        found.extend((Path(folder) / name).relative_to(ROOT).as_posix() for name in files if name not in SKIPPED)
    return tuple(sorted(found))


@lru_cache(maxsize=1)
def python_sources() -> tuple[Source, ...]:
    return tuple(
        source_of(path, (ROOT / path).read_text(encoding="utf-8")) for path in all_files() if path.endswith(".py")
    )


def shipped_sources() -> tuple[Source, ...]:
    return tuple(source for source in python_sources() if source.shipped)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def report(violations: list[Violation]) -> str:
    """One line each; an assertion shows it as it is."""
    return "\n".join(str(violation) for violation in violations)
