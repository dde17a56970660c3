"""The quickest mutants of `make mutants`, and what the registry itself must keep."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from mutant import TESTS, TESTS_ONLY, Mutant
from mutants_hunt import hunt, switched_on
from mutants_registry import BY_NAME, MUTANTS
from mutants_run import _died, _words

QUICKEST: tuple[str, ...] = (
    "born-vacant",
    "apply-reads-a-clock",
    "votes-outlive-renewals",
    "epoch-reused",
    "everything-leaves-early",
    "followers-send-early",
    "sent-before-the-sync",
    "age-from-the-arrival",
)
AT_LEAST = 70
"""So many must be killed by schedules alone."""
BUDGET_MOST = {"fuzz": 200, "sim": 100}


@pytest.mark.parametrize("name", QUICKEST)
def test_a_mutant_is_killed_and_the_unchanged_code_is_clean(name: str) -> None:
    verdict = hunt(BY_NAME[name])
    assert verdict.killed, f"{name} survived {verdict.budget} schedules"
    assert not verdict.false_alarm, f"{name}: seed {verdict.seed} is objected to without the mutant too"


def test_names_are_unique_and_most_are_killed_by_schedules() -> None:
    assert len(BY_NAME) == len(MUTANTS)
    assert sum(mutant.campaign != TESTS_ONLY for mutant in MUTANTS) >= AT_LEAST


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_says_what_it_breaks_and_who_sees_it(mutant: Mutant) -> None:
    assert mutant.rule
    assert mutant.where
    with switched_on(mutant):
        pass  # the code that it patches is still there
    if mutant.focus is not None:
        assert not mutant.why, "schedules show it"
        assert 0 < mutant.budget <= BUDGET_MOST[mutant.campaign]
        assert mutant.focus.caught_as
        return
    assert mutant.why, "say what schedules cannot show of it"
    assert ". " not in mutant.why, "one sentence"
    for node in mutant.tests:
        path, _, test = node.partition("::")
        assert (TESTS / path).exists()
        assert f"def {test.partition('[')[0]}(" in (TESTS / path).read_text() or not test


def test_a_hunt_whose_process_ended_is_a_survivor_and_says_so() -> None:
    verdict = _died(QUICKEST[0], -9)
    assert verdict.survived
    assert _words(verdict).endswith("(the process that hunted it ended with exit code -9)")
    assert verdict.as_json()["died"]
