"""The clocks agree within what drift and daily steps explain; beyond, somebody says which one lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.clock import CLOCK_SLACK_NS, ClockReading, ManualClock, SystemClock, clock_allowance, clock_disagreement
from proto.invariants import InvariantViolation
from proto.units import NS_PER_S, PPM, InstantNs

BASE = ClockReading(InstantNs(10**12), 10**12, 10**18)


def later(boot: int, raw: int, wall: int) -> ClockReading:
    return ClockReading(InstantNs(BASE.boottime_ns + boot), BASE.monotonic_raw_ns + raw, BASE.wall_ns + wall)


@given(st.integers(0, 10**13), st.integers(0, 100_000), st.data())
def test_sound_clocks_agree_for_ever(true_ns, drift_ppm, data):
    rates = [data.draw(st.integers(-drift_ppm, drift_ppm)) for _ in range(3)]
    elapsed = [true_ns + true_ns * rate // PPM for rate in rates]
    allowed = clock_allowance(max(elapsed[:2]), drift_ppm)
    apart = max(abs(one - elapsed[0]) for one in elapsed)
    found = clock_disagreement(BASE, later(*elapsed), drift_ppm)
    assert (found is None) == (apart <= allowed)


def test_sound_clocks_at_the_bound_agree_for_ten_seconds():
    true_ns = 10 * NS_PER_S
    assert clock_disagreement(BASE, later(true_ns + true_ns // 100, true_ns - true_ns // 100, true_ns), 10_000) is None


@pytest.mark.parametrize(
    ("boot", "raw", "wall", "names"),
    [
        (5, 0, 5, "MONOTONIC_RAW"),
        (5, 5, 3_605, "the wall clock"),
        (5, 5, -3_595, "the wall clock"),
        (0, 5, 0, "MONOTONIC_RAW"),
    ],
)
def test_the_clock_that_lies_is_named_with_figures(boot, raw, wall, names):
    found = clock_disagreement(BASE, later(boot * NS_PER_S, raw * NS_PER_S, wall * NS_PER_S), 10_000)
    assert found is not None
    assert names in found
    assert "allowed" in found


def test_daily_steps_pass():
    assert clock_disagreement(BASE, later(NS_PER_S, NS_PER_S, NS_PER_S + CLOCK_SLACK_NS), 0) is None
    assert clock_disagreement(BASE, later(NS_PER_S, NS_PER_S, NS_PER_S + CLOCK_SLACK_NS + 1), 0) is not None


def test_a_lease_clock_that_goes_back_ends_the_process(monkeypatch):
    clock = SystemClock()
    first = clock.now()
    assert clock.read().boottime_ns >= first
    monkeypatch.setattr("proto.clock.time.clock_gettime_ns", lambda which: first - 1)
    with pytest.raises(InvariantViolation):
        clock.now()


def test_the_manual_clock_moves_only_when_told():
    clock = ManualClock()
    before = clock.read()
    clock.advance(7)
    assert clock.read() == (before.boottime_ns + 7, before.monotonic_raw_ns + 7, before.wall_ns + 7)
    assert clock.now() == before.boottime_ns + 7
    with pytest.raises(InvariantViolation):
        clock.advance(-1)
