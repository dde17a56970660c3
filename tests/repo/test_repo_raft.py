"""The page of divergences and the tests agree; the engine's private names are known, checked and in one file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pysyncobj.syncobj
import pytest
from repo_tree import ROOT, all_files, python_sources

from witness.raft import engine_adapter

PAGE = "docs/internals/raft-divergences.md"
ADAPTER = "witness/raft/engine_adapter.py"
FROM_INSIDE = ("tests/raft_plain/", "tests/raft_review/", "tests/mutants/")
"""The library as shipped is read, and wrong variants of the adapter are made, by these alone."""
MOVED = (
    "a release of the engine moved or lost a private name that the adapter rests on: read the new source, adapt "
    "witness/raft/engine_adapter.py and its tables, run `make fuzz`"
)
_ROW = re.compile(r"^\| D-(\d+) \|")
_TEST = re.compile(r"test_d(\d\d)_\w+")


def rows() -> dict[int, list[str]]:
    """The cells of each line of the table, by its number."""
    found: dict[int, list[str]] = {}
    for line in (ROOT / PAGE).read_text(encoding="utf-8").splitlines():
        match = _ROW.match(line)
        if match:
            assert int(match[1]) not in found, f"D-{match[1]} stands twice in {PAGE}"
            found[int(match[1])] = [cell.strip() for cell in line.strip("|").split("|")]
    return found


def numbered_tests() -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for source in python_sources():
        if not source.path.startswith("tests/"):
            continue
        for node in ast.walk(source.tree):
            match = _TEST.fullmatch(node.name) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else None
            if match:
                found.setdefault(int(match[1]), set()).add(match[0])
    return found


def test_the_numbers_have_no_gap():
    assert sorted(rows()) == list(range(1, max(rows()) + 1))


def test_each_line_names_tests_of_its_number_that_exist():
    existing = numbered_tests()
    for number, cells in rows().items():
        named = {match[0] for match in _TEST.finditer(cells[-1])}
        assert named, f"D-{number} names no test in {PAGE}"
        missing = named - existing.get(number, set())
        assert not missing, f"D-{number} names {sorted(missing)}: no test of that number has this name"


def test_each_test_of_a_finding_has_a_line():
    assert set(numbered_tests()) == set(rows())


def test_the_files_of_the_remedies_exist():
    for number, cells in rows().items():
        paths = re.findall(r"`([\w/.]+\.py)`", cells[-2])
        assert paths, f"D-{number} names no file"
        for path in paths:
            where = path if "/" in path else f"witness/raft/{path}"
            assert (ROOT / where).is_file(), f"D-{number}: there is no {where}"


# -- the engine's private names ------------------------------------------------------------------------------


def _private(text: str) -> bool:
    """A name that the library mangles, or one that it marks with an underscore."""
    return bool(re.fullmatch(r"_[A-Z]\w*__\w+", text))


def used_names(tree: ast.AST) -> set[str]:
    """Every mangled name, as an attribute, a definition, a keyword or in a string that getattr may see."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return {name for name in found if _private(name)}


def module_names(tree: ast.AST) -> set[str]:
    """What is taken from the library's module `_library`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_library"
    }


def adapter() -> ast.Module:
    return ast.parse((ROOT / ADAPTER).read_text(encoding="utf-8"))


def test_the_adapter_checks_every_private_name_that_it_uses():
    tables = {*engine_adapter._METHODS, *engine_adapter._FIELDS}
    unchecked = used_names(adapter()) - tables
    assert not unchecked, f"add {sorted(unchecked)} to the tables _METHODS or _FIELDS of {ADAPTER}"


def test_the_adapter_checks_every_name_of_the_module_that_it_uses():
    unchecked = module_names(adapter()) - set(engine_adapter._MODULE_NAMES)
    assert not unchecked, f"add {sorted(unchecked)} to the table _MODULE_NAMES of {ADAPTER}"


def test_what_the_adapter_overrides_or_calls_of_the_librarys_class_is_checked():
    """Public or not: an override of a method that no longer exists would silently never be called."""
    tree = adapter()
    engine = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Engine")
    own = {node.name for node in engine.body if isinstance(node, ast.FunctionDef)}
    library = set(dir(pysyncobj.syncobj.SyncObj))
    shared = {name for name in own if name in library and not name.startswith("__")}
    called = {
        node.attr
        for node in ast.walk(engine)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and node.attr in library - own
    }
    unchecked = (shared | called) - {*engine_adapter._METHODS, *engine_adapter._FIELDS}
    assert not unchecked, f"add {sorted(unchecked)} to the table _METHODS of {ADAPTER}"


@pytest.mark.parametrize("name", engine_adapter._METHODS)
def test_each_checked_method_exists_in_the_installed_library(name):
    assert hasattr(pysyncobj.syncobj.SyncObj, name), f"{name}: {MOVED}"


@lru_cache
def _set_by_the_library() -> frozenset[str]:
    tree = ast.parse(Path(str(pysyncobj.syncobj.__file__)).read_text(encoding="utf-8"))
    return frozenset(
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


@pytest.mark.parametrize("name", engine_adapter._FIELDS)
def test_each_checked_field_is_set_by_the_installed_library(name):
    """Asked of the library's source: the engine that we build would have what we set ourselves."""
    assert {name.removeprefix("_SyncObj"), name} & _set_by_the_library(), f"{name}: {MOVED}"


def _foreign() -> Iterator[str]:
    """Files that may not know the library from inside, and do."""
    for source in python_sources():
        if source.path == ADAPTER or source.path.startswith(FROM_INSIDE):
            continue
        names = {name for name in used_names(source.tree) if name.startswith(("_SyncObj__", "_Serializer__"))}
        if source.path in {"tests/unit/test_raft_parts.py", "tests/repo/test_repo_raft.py"}:
            names -= {"_SyncObj__loadDumpFile"}  # said here, and what a stand-in for a newer library lacks there
        if names:
            yield f"{source.path}: {', '.join(sorted(names))}"


def test_no_other_file_touches_the_librarys_private_names():
    broken = list(_foreign())
    assert not broken, f"go through {ADAPTER} instead: {'; '.join(broken)}"


def test_a_private_name_is_found_wherever_it_hides():
    text = (
        "class A(B):\n    def _SyncObj__one(self): ...\n"
        "x._SyncObj__two = 1\n_SyncObj__three: int\ngetattr(x, '_SyncObj__four')"
    )
    assert used_names(ast.parse(text)) == {f"_SyncObj__{name}" for name in ("one", "two", "three", "four")}


def test_the_page_is_among_the_files():
    assert PAGE in set(all_files())
