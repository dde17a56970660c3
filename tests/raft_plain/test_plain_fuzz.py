"""The checkers of the Raft fuzz see: the same schedules that ours survives break the library as it is shipped."""

from __future__ import annotations

import pytest
from plain_fuzz import SAFETY, run_one

SEEDS = range(1, 9)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # the library leaves files to the collector


def test_the_library_as_shipped_breaks_under_the_schedules_that_ours_survives():
    found = {seed: run_one(seed, stray=True, power=True, ours=False).violations for seed in SEEDS}
    assert not [violation for each in found.values() for violation in each if violation.kind == "harness"]
    broken = {seed for seed, each in found.items() if any(violation.kind in SAFETY for violation in each)}
    assert broken
    for seed in sorted(broken):
        assert run_one(seed, stray=True, power=True, ours=True).violations == []


def test_a_schedule_replays_on_the_library():
    """All but the bytes of its dumps: gzip puts the wall time into them."""
    first, second = (run_one(2, stray=True, power=True, ours=False) for _ in range(2))
    assert first.violations
    assert (first.violations, first.simulated_ns) == (second.violations, second.simulated_ns)
