"""docs/internals/mutants.md: each finding of the Raft review has its mutants, or a reason why there can be none."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from mutants_registry import BY_NAME, MUTANTS

INTERNALS = Path(__file__).parents[2] / "docs" / "internals"
REASON_CHARS_MIN = 40
_ROW = re.compile(r"^\| D-(\d+) \|(.*)\|$", re.MULTILINE)
_NUMBER = re.compile(r"^\| D-(\d+) \|", re.MULTILINE)
FINDINGS = [int(match[1]) for match in _NUMBER.finditer((INTERNALS / "raft-divergences.md").read_text())]


def rows() -> dict[int, str]:
    found = [(int(match[1]), match[2].strip()) for match in _ROW.finditer((INTERNALS / "mutants.md").read_text())]
    assert len(dict(found)) == len(found), "a finding stands twice in docs/internals/mutants.md"
    return dict(found)


def breaking(number: int) -> set[str]:
    return {mutant.name for mutant in MUTANTS if str(number) in re.findall(r"D-(\d+)", mutant.where)}


def test_every_finding_stands_in_the_table_in_order() -> None:
    assert list(rows()) == FINDINGS == list(range(1, max(FINDINGS) + 1))


@pytest.mark.parametrize("number", FINDINGS)
def test_a_finding_names_the_mutants_that_break_its_remedy_or_says_why_there_is_none(number: int) -> None:
    cell = rows()[number]
    named = set(re.findall(r"`([^`]+)`", cell))
    assert named <= set(BY_NAME), f"no such mutant: {sorted(named - set(BY_NAME))}"
    assert named == breaking(number), f"D-{number}: the registry says {sorted(breaking(number))}"
    assert named or len(cell) >= REASON_CHARS_MIN, f"D-{number} has neither a mutant nor a reason"
