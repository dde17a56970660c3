"""The guard's authority: what may become a deadline, and which rung is due (agents/fencing/authority.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fencing import guard_clock
from agents.fencing.authority import RUNG_KILL, RUNG_NONE, RUNG_TERM, Authority, Refused, Rungs
from agents.fencing.guard_clock import Clocks
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS
from proto import clock, limits
from proto.units import InstantNs

MS = 1_000_000
START = 1_000_000 * MS


def clocks(at_ms: int, raw_ms: int | None = None, wall_ms: int | None = None) -> Clocks:
    raw = at_ms if raw_ms is None else raw_ms
    wall = at_ms if wall_ms is None else wall_ms
    return Clocks(START + at_ms * MS, 7 * MS + raw * MS, 10**18 + wall * MS)


def rungs(epoch: int, term_ms: int, kill_ms: int, deadline_ms: int) -> Rungs:
    return Rungs(epoch, START + term_ms * MS, START + kill_ms * MS, START + deadline_ms * MS)


def armed(epoch: int = 5, term: int = 600, kill: int = 800, deadline: int = 1_000) -> Authority:
    authority = Authority()
    new = rungs(epoch, term, kill, deadline)
    authority.check(new, clocks(0))
    authority.take(new, clocks(0))
    return authority


def refusal(authority: Authority, new: Rungs, at_ms: int = 0) -> str:
    with pytest.raises(Refused) as caught:
        authority.check(new, clocks(at_ms))
    return caught.value.code


def test_the_rungs_come_in_order() -> None:
    authority = armed()
    assert authority.rung_due(clocks(599))[0] == RUNG_NONE
    assert authority.rung_due(clocks(600))[0] == RUNG_TERM
    assert authority.rung_due(clocks(800))[0] == RUNG_KILL


def test_monotonic_raw_counts_too_and_the_earlier_end_wins() -> None:
    authority = armed()
    assert authority.rung_due(clocks(500, raw_ms=640, wall_ms=500))[0] == RUNG_TERM
    assert authority.rung_due(clocks(640, raw_ms=500, wall_ms=640))[0] == RUNG_TERM


def test_disagreeing_clocks_are_expiry() -> None:
    authority = armed(term=60_000, kill=61_000, deadline=62_000)
    assert authority.rung_due(clocks(1_000, wall_ms=1_219))[0] == RUNG_NONE
    rung, cause = authority.rung_due(clocks(1_000, wall_ms=1_221))
    assert rung == RUNG_KILL
    assert "wall clock" in cause
    assert authority.rung_due(clocks(1_000, wall_ms=700))[0] == RUNG_KILL
    assert authority.rung_due(clocks(1_000, raw_ms=700))[0] == RUNG_KILL


def test_a_renewal_extends_and_never_shortens() -> None:
    authority = armed()
    assert refusal(authority, rungs(5, 500, 700, 999)) == "not-an-extension"
    authority.check(rungs(5, 600, 800, 1_000), clocks(1))
    authority.check(rungs(5, 900, 1_000, 1_400), clocks(1))


def test_a_higher_epoch_replaces_in_both_directions() -> None:
    authority = armed()
    shorter = rungs(6, 300, 400, 500)
    authority.check(shorter, clocks(1))
    authority.take(shorter, clocks(1))
    assert authority.rung_due(clocks(450))[0] == RUNG_KILL
    assert refusal(authority, rungs(5, 900, 1_000, 1_400), 2) == "epoch-too-low"


def test_refusals() -> None:
    assert refusal(Authority(7), rungs(7, 600, 800, 1_000)) == "epoch-too-low"
    assert refusal(Authority(7), rungs(3, 600, 800, 1_000)) == "epoch-too-low"
    assert refusal(Authority(), rungs(1, 600, 500, 1_000)) == "rungs-out-of-order"
    assert refusal(Authority(), rungs(1, 600, 990, 1_000)) == "rungs-out-of-order"
    assert refusal(Authority(), rungs(1, 600, 800, 1_000), 600) == "deadline-passed"
    ended = armed()
    ended.end()
    assert refusal(ended, rungs(6, 2_000, 2_100, 2_200)) == "ended"


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(30, 5_000), st.integers(0, 200)), max_size=30))
def test_epochs_never_go_back_and_deadlines_grow_within_one(requests: list[tuple[int, int, int]]) -> None:
    authority, now = Authority(), 0
    for epoch, length, wait in requests:
        now += wait
        new, before = rungs(epoch, now + length, now + length, now + length + 20), authority.rungs
        try:
            authority.check(new, clocks(now))
        except Refused:
            assert authority.rungs is before
            continue
        authority.take(new, clocks(now))
        if before is not None:
            assert new.epoch >= before.epoch
            assert new.epoch > before.epoch or new.deadline_ns >= before.deadline_ns


@pytest.mark.parametrize(("boot_ms", "raw_ms", "counted_ms"), [(500, 500, 500), (500, 900, 900), (900, 500, 900)])
def test_what_is_due_goes_by_the_clock_that_is_ahead(boot_ms: int, raw_ms: int, counted_ms: int) -> None:
    """The ladder's reset too: where BOOTTIME runs too slow it would come after the lease's end (seed 6454)."""
    assert armed().counted_ns(clocks(boot_ms, raw_ms=raw_ms)) == START + counted_ms * MS
    assert Authority().counted_ns(clocks(boot_ms, raw_ms=raw_ms)) == START + boot_ms * MS, "nothing was ever armed"


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(-(10**12), 10**12))
def test_the_guards_clock_rule_is_the_protocols(boot: int, raw: int, wall: int) -> None:
    ours = guard_clock.disagreement(Clocks(1, 2, 3), Clocks(1 + boot, 2 + raw, 3 + wall))
    theirs = clock.clock_disagreement(
        clock.ClockReading(InstantNs(1), 2, 3),
        clock.ClockReading(InstantNs(1 + boot), 2 + raw, 3 + wall),
        limits.DRIFT_MAX_PPM_DEFAULT,
    )
    assert (ours is None) == (theirs is None)


def test_the_guards_constants_are_the_protocols() -> None:
    assert GUARD_FLOOR_LEAD_NS == limits.GUARD_FLOOR_LEAD_NS
    assert guard_clock.CLOCK_SLACK_NS == clock.CLOCK_SLACK_NS
    assert guard_clock.DRIFT_MAX_PPM == limits.DRIFT_MAX_PPM_DEFAULT
