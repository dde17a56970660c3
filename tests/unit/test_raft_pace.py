"""Election timeouts follow the measured round trips, within the configured floor and a ceiling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.units import NS_PER_MS, NS_PER_S, WitnessId
from witness.raft.pace import CEILING, MULTIPLE, WINDOW_S, Pace, majority_round_trip_ns
from witness.raft.timers import PROFILES, RaftTimers

TIMERS = RaftTimers()
W2, W3, W4, W5 = (WitnessId(name) for name in ("w2", "w3", "w4", "w5"))


def test_quick_round_trips_leave_the_floor() -> None:
    pace = Pace(TIMERS)
    for second in range(2 * WINDOW_S):
        pace.measured(NS_PER_MS, second * NS_PER_S)
    assert (pace.election_min_ms, pace.election_max_ms, pace.leader_fallback_ms) == (300, 600, 1_200)


def test_slow_round_trips_stretch_all_three_alike_and_quick_ones_relax_them_again() -> None:
    pace = Pace(TIMERS)
    for second in range(WINDOW_S):
        pace.measured(150 * NS_PER_MS, second * NS_PER_S)
    assert (pace.election_min_ms, pace.election_max_ms) == (MULTIPLE * 150, MULTIPLE * 300)
    assert pace.leader_fallback_ms == MULTIPLE * 600
    for second in range(WINDOW_S, 2 * WINDOW_S + 1):
        pace.measured(NS_PER_MS, second * NS_PER_S)
    assert pace.election_min_ms == 300


def test_single_bad_seconds_change_nothing_in_a_full_window() -> None:
    pace = Pace(TIMERS)
    for second in range(WINDOW_S):
        pace.measured((3_000 if second % 20 == 7 else 2) * NS_PER_MS, second * NS_PER_S)
    assert pace.election_min_ms == 300


def test_a_hanging_disk_cannot_hold_up_elections_for_ever() -> None:
    pace = Pace(TIMERS)
    for second in range(WINDOW_S):
        pace.measured(30 * NS_PER_S, second * NS_PER_S)
    assert pace.election_min_ms == CEILING * 300


@given(st.integers(0, 10**9))
def test_what_a_leader_tells_is_kept_within_our_own_bounds(told_ms: int) -> None:
    pace = Pace(TIMERS)
    pace.told(told_ms)
    assert 300 <= pace.election_min_ms <= CEILING * 300
    assert pace.election_min_ms < pace.election_max_ms < pace.leader_fallback_ms <= 2 * pace.election_max_ms


@pytest.mark.parametrize(
    ("round_trips", "members", "expected"),
    [
        ({}, 3, None),
        ({W2: 7}, 3, 7),
        ({W2: 7, W3: 2}, 3, 2),
        ({W2: 7}, 5, None),
        ({W2: 7, W3: 2, W4: 9, W5: 4}, 5, 4),
        ({}, 1, None),
    ],
)
def test_the_round_trip_that_counts_completes_a_majority(
    round_trips: dict[WitnessId, int], members: int, expected: int | None
) -> None:
    assert majority_round_trip_ns(round_trips, members) == expected


def test_profiles_keep_the_relations_of_timers() -> None:
    assert set(PROFILES) == {"fast", "standard", "wide"}
    assert PROFILES["standard"] == TIMERS
    assert PROFILES["fast"].election_max_ms <= 400, "a leader's death must cost less than half a second"
