"""The full rules keep every promise and every lemma in each small scenario (docs/lease-safety.md)."""

from __future__ import annotations

import pytest
from leasemodel.checks import check_rules, check_ways_back, check_ways_out
from leasemodel.engine import Limits
from leasemodel.layers import EVERY_BY_NAME, EVERY_SMALL, EVERY_WAYS_OUT, WAYS_BACK, WAYS_OUT, AnyBounds, layer_of
from leasemodel.removed import Removed

LIMITS = Limits(states_max=1_000_000, seconds_max=110.0)


@pytest.mark.parametrize("bounds", EVERY_SMALL, ids=lambda bounds: bounds.name)
def test_full_rules_hold(bounds: AnyBounds) -> None:
    found = check_rules(bounds, LIMITS)
    assert found.broken is None, f"{found.broken}\n{layer_of(bounds).words(found.trace, bounds)}"
    assert found.exhausted, f"gave up after {found.states} states: nothing is proved"


@pytest.mark.parametrize("name", WAYS_OUT)
def test_no_state_is_a_dead_end(name: str) -> None:
    """P4 in the small: from every state with an epoch to spare a site can become active, faults ended, one
    witness dead."""
    bounds = EVERY_BY_NAME[name]
    ends = check_ways_out(bounds)
    assert ends.asked
    assert not ends.stuck, layer_of(bounds).words(ends.trace, bounds)


@pytest.mark.parametrize("name", WAYS_BACK)
def test_who_lives_by_holds_can_come_back_without_a_stop(name: str) -> None:
    bounds = EVERY_BY_NAME[name]
    ends = check_ways_back(bounds)
    assert ends.asked
    assert not ends.stuck, layer_of(bounds).words(ends.trace, bounds)


@pytest.mark.parametrize("removed", EVERY_WAYS_OUT, ids=lambda removed: removed.name)
def test_dead_end_is_found(removed: Removed) -> None:
    check = check_ways_back if removed.scenario in WAYS_BACK else check_ways_out
    assert check(EVERY_BY_NAME[removed.scenario], removed.rules).stuck
