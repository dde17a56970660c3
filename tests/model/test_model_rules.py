"""The full rules keep every promise and every lemma in each small scenario (docs/lease-safety.md)."""

from __future__ import annotations

import pytest
from leasemodel.checks import check_rules, check_ways_out
from leasemodel.engine import Limits
from leasemodel.removed import REMOVED_WAYS_OUT, Removed
from leasemodel.report import trace_words
from leasemodel.scenarios import BY_NAME, SMALL, Bounds

WAYS_OUT = ("basic", "grants", "restore", "revoke")
LIMITS = Limits(states_max=1_000_000, seconds_max=110.0)


@pytest.mark.parametrize("bounds", SMALL, ids=lambda bounds: bounds.name)
def test_full_rules_hold(bounds: Bounds) -> None:
    found = check_rules(bounds, LIMITS)
    assert found.broken is None, f"{found.broken}\n{trace_words(found.trace, bounds)}"
    assert found.exhausted, f"gave up after {found.states} states: nothing is proved"


@pytest.mark.parametrize("name", WAYS_OUT)
def test_no_state_is_a_dead_end(name: str) -> None:
    """P4 in the small: from every state with an epoch to spare a site can become active, faults ended, one
    witness dead."""
    bounds = BY_NAME[name]
    ends = check_ways_out(bounds)
    assert ends.asked
    assert not ends.stuck, trace_words(ends.trace, bounds)


@pytest.mark.parametrize("removed", REMOVED_WAYS_OUT, ids=lambda removed: removed.name)
def test_dead_end_is_found(removed: Removed) -> None:
    assert check_ways_out(BY_NAME[removed.scenario], removed.rules).stuck
