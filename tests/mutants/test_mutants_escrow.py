"""docs/internals/license-escrow.md: every rule has tests that there are, and exactly the mutants that break it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from mutant import TESTS
from mutants_escrow import MUTANTS

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "license-escrow.md"
ROWS = re.findall(r"^\| ([EA]\d+) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
TOLD = {name for test in ("escrow_rules", "license_rules", "license_told", "activity") for name in
        re.findall(r"def (test_\w+)", (TESTS / f"unit/test_{test}.py").read_text(encoding="utf-8"))}  # fmt: skip


def test_the_rules_are_numbered_without_a_gap() -> None:
    assert [row[0] for row in ROWS] == [f"E{number}" for number in range(1, 14)] + ["A1", "A2", "A3"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_rule_names_its_tests_and_its_mutants(row: tuple[str, str, str, str]) -> None:
    rule, words, tests, mutants = row
    assert words
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    assert set(named) <= TOLD, f"no such test: {sorted(set(named) - TOLD)}"
    breaking = {mutant.name for mutant in MUTANTS if mutant.where == f"escrow {rule}"}
    assert set(re.findall(r"`([^`]+)`", mutants)) == breaking, rule
