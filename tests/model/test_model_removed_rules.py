"""Each removed rule is caught by a broken promise: a model that misses one proves nothing about that rule."""

from __future__ import annotations

import pytest
from leasemodel.checks import check_removed
from leasemodel.engine import Limits
from leasemodel.moves import initial, successors
from leasemodel.reduce import Canonical
from leasemodel.removed import REDUNDANT_RULES, REMOVED_RULES, Removed
from leasemodel.scenarios import BY_NAME

LIMITS = Limits(states_max=1_000_000, seconds_max=110.0)


@pytest.mark.parametrize("removed", REMOVED_RULES, ids=lambda removed: removed.name)
def test_removed_rule_is_caught(removed: Removed) -> None:
    found = check_removed(removed, LIMITS)
    assert found.broken in removed.breaks, f"{removed.about} was missed in {removed.scenario}: {found.broken}"
    replay(removed, found.trace)


def replay(removed: Removed, trace: list) -> None:
    """The printed story is a real run: each step is a move that the model offers."""
    rules = removed.rules(BY_NAME[removed.scenario])
    canonical = Canonical(rules)
    state = canonical(initial(rules))
    assert trace[0] == (None, state)
    for move, after in trace[1:]:
        assert after in [canonical(reached) for offered, reached in successors(state, rules) if offered == move]
        state = after


@pytest.mark.parametrize("removed", REDUNDANT_RULES, ids=lambda removed: removed.name)
def test_doubled_clause_is_not_needed_alone(removed: Removed) -> None:
    """What the docs call doubled really is; when this fails, the clause has become a rule of its own."""
    found = check_removed(removed, LIMITS)
    assert found.broken is None
    assert found.exhausted


def test_names_are_unique_and_explained() -> None:
    every = (*REMOVED_RULES, *REDUNDANT_RULES)
    assert len({removed.name for removed in every}) == len(every)
    assert all(removed.about and removed.scenario in BY_NAME for removed in every)
    assert len(REMOVED_RULES) >= 14
