"""Each removed rule is caught by a broken promise: a model that misses one proves nothing about that rule."""

from __future__ import annotations

from typing import Any

import pytest
from leasemodel.checks import check_removed
from leasemodel.engine import Limits
from leasemodel.layers import EVERY_BY_NAME, EVERY_REDUNDANT, EVERY_REMOVED, EVERY_REMOVED_LARGE, layer_of
from leasemodel.moves import Move
from leasemodel.removed import Removed

LIMITS = Limits(states_max=1_000_000, seconds_max=110.0)


@pytest.mark.parametrize("removed", EVERY_REMOVED, ids=lambda removed: removed.name)
def test_removed_rule_is_caught(removed: Removed) -> None:
    found = check_removed(removed, LIMITS)
    assert found.broken in removed.breaks, f"{removed.about} was missed in {removed.scenario}: {found.broken}"
    replay(removed, found.trace)


def replay(removed: Removed, trace: list[tuple[Move | None, Any]]) -> None:
    """The printed story is a real run: each step is a move that the model offers."""
    bounds = EVERY_BY_NAME[removed.scenario]
    model = layer_of(bounds).model(removed.rules(bounds))
    state = model.canonical(model.start)
    assert trace[0] == (None, state)
    for move, after in trace[1:]:
        assert after in [model.canonical(reached) for offered, reached in model.successors(state) if offered == move]
        state = after


@pytest.mark.parametrize("removed", EVERY_REDUNDANT, ids=lambda removed: removed.name)
def test_doubled_clause_is_not_needed_alone(removed: Removed) -> None:
    """What the docs call doubled really is; when this fails, the clause has become a rule of its own."""
    found = check_removed(removed, LIMITS)
    assert found.broken is None
    assert found.exhausted


def test_names_are_unique_and_explained() -> None:
    every = (*EVERY_REMOVED, *EVERY_REMOVED_LARGE, *EVERY_REDUNDANT)
    assert len({removed.name for removed in every}) == len(every)
    assert all(removed.about and removed.scenario in EVERY_BY_NAME for removed in every)
    assert len(EVERY_REMOVED) >= 60
