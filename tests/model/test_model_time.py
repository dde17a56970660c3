"""The bridge from the model's ticks to the product's arithmetic: the two bounds that the model assumes.

The model lets authority last at most ttl/(1-r) of true time after t0, and a witness count at least that from its
apply. Here the product's own functions are held to it, with exact fractions and the extreme clocks.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import limits
from proto.lease import LeaseConstants, holder_deadline, witness_wait
from proto.units import NS_PER_MS, PPM, InstantNs

TTLS = st.integers(limits.TTL_MS_MIN, limits.TTL_MS_MAX)
DRIFTS = st.integers(100, limits.DRIFT_MAX_PPM_MAX)


def latest_end_ns(constants: LeaseConstants) -> Fraction:
    """True time from t0 to the end of authority on the slowest clock that is allowed."""
    t0 = InstantNs(7)
    return (holder_deadline(t0, constants) - t0) / (1 - Fraction(constants.drift_max_ppm, PPM))


def earliest_vote_ns(constants: LeaseConstants) -> Fraction:
    """True time from apply to the vote on the fastest clock that is allowed."""
    return witness_wait(constants) / (1 + Fraction(constants.drift_max_ppm, PPM))


@given(TTLS, DRIFTS)
def test_no_sound_witness_votes_before_the_slowest_holder_has_ended(ttl_ms: int, drift_ppm: int) -> None:
    constants = LeaseConstants(ttl_ms, drift_ppm, 0)
    assert earliest_vote_ns(constants) >= latest_end_ns(constants)


@given(TTLS, DRIFTS)
def test_the_wait_is_not_longer_than_the_rounding_needs(ttl_ms: int, drift_ppm: int) -> None:
    constants = LeaseConstants(ttl_ms, drift_ppm, 0)
    assert earliest_vote_ns(constants) - latest_end_ns(constants) < 1


@pytest.mark.parametrize("drift_ppm", [100, 10_000, limits.DRIFT_MAX_PPM_MAX])
def test_without_the_drift_in_the_wait_it_would_be_too_short(drift_ppm: int) -> None:
    """The removed rule no-drift-in-timer, in the product's units."""
    constants = LeaseConstants(3_000, drift_ppm, 0)
    assert constants.ttl_ns / (1 + Fraction(drift_ppm, PPM)) < latest_end_ns(constants)


@given(TTLS, DRIFTS, st.integers(0, limits.LOCK_DELAY_MS_MAX))
def test_a_promise_outlasts_hold_and_session(ttl_ms: int, drift_ppm: int, lock_delay_ms: int) -> None:
    """A promise lasts for witness_wait from its receipt on the promiser's clock, a hold for ttl from before it was
    asked for on the holder's, and the lock delay is true time that no clock of ours stretches."""
    constants = LeaseConstants(ttl_ms, drift_ppm, lock_delay_ms)
    assert earliest_vote_ns(constants) >= latest_end_ns(constants) + lock_delay_ms * NS_PER_MS
