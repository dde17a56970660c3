"""takeover_max against the simulator: a slice of `python -m witness.sim.takeover`."""

from __future__ import annotations

import pytest

from proto.takeover import takeover_max_ns
from witness.sim.takeover import __main__ as verb
from witness.sim.takeover.setup import drawn
from witness.sim.takeover.trial import Blow, run

QUICK = (27, 33)
"""Timings with short leases: a second and half a second."""


@pytest.mark.parametrize("seed", QUICK)
def test_no_takeover_is_longer_than_its_bound_and_the_worst_found_is_near_it(seed):
    row = verb.row_of(drawn(seed))
    assert row.violations == ()
    assert verb.WITHIN <= row.share <= 1
    assert row.worst_ms > row.calm_ms


def test_a_bound_without_its_election_would_be_broken():
    timing = drawn(33)
    calm = run(timing, Blow(renews_by_follower=True, leader_after_ns=None))
    worst = run(timing, Blow(renews_by_follower=True, leader_after_ns=calm.told["expired"]))
    no_election = takeover_max_ns(timing.constants, timing.activation_ms, worst.delays)
    no_election -= 2 * worst.delays.election_ns
    assert calm.took_ns < no_election < worst.took_ns <= worst.bound_ns


def test_the_verdict_tells_a_bound_that_is_exceeded_or_loose():
    def row(share: float, *violations: str) -> verb.Row:
        return verb.Row(1, 1_000, 1, 0, 100, 600, 5, 1.0, 2.0, None, 3.0, share, violations)

    assert verb.verdict_of([row(0.5), row(0.9)])["ok"]
    assert not verb.verdict_of([row(0.9), row(1.01)])["ok"]
    assert not verb.verdict_of([row(0.7)])["ok"]
    assert not verb.verdict_of([row(0.9, "overlap")])["ok"]


def test_wrong_usage_is_refused():
    with pytest.raises(SystemExit) as ended:
        verb.main(["--timings", "0"])
    assert ended.value.code == 2
