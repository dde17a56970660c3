"""The fuzz sees: each wrong variant of a rule of witness.raft is caught, and the right one is clean in those seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from raft_broken_rules import BROKEN, Broken, setup_for

from witness.sim.raft.run import run_schedule

CLEAN_SCHEDULES = 3


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_rule_is_caught_within_its_budget(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.patch(monkeypatch)
    for seed in range(broken.budget):
        result = run_schedule(seed, setup=setup_for(broken, seed))
        if {violation.kind for violation in result.violations} & broken.caught_as:
            return
    raise AssertionError(f"{broken.name} was not seen in {broken.budget} schedules")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_the_right_rule_is_clean_in_the_same_schedules(broken: Broken) -> None:
    for seed in range(CLEAN_SCHEDULES):
        result = run_schedule(seed, setup=setup_for(broken, seed))
        assert [str(violation) for violation in result.violations] == []
