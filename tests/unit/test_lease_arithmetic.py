"""The holder is always first, for every drift within the bound; and beyond the bound it need not be."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from proto import limits
from proto.lease import LeaseConstants, drift_shortened, holder_deadline, takeover_wait_max, witness_wait
from proto.units import NS_PER_MS, PPM, InstantNs

TTL = st.integers(limits.TTL_MS_MIN, limits.TTL_MS_MAX)
DRIFT = st.integers(100, limits.DRIFT_MAX_PPM_MAX)
DELAY = st.integers(0, 10_000)


def true_end(began_ns: Fraction, counted_ns: int, rate_ppm: int) -> Fraction:
    """The true instant at which a clock of this rate has counted so much since a true instant."""
    return began_ns + Fraction(counted_ns * PPM, PPM + rate_ppm)


@given(TTL, DRIFT, DELAY, st.data())
def test_within_the_bound_the_holder_is_down_before_any_witness_has_counted(ttl_ms, drift_ppm, delay_ns, data):
    constants = LeaseConstants(ttl_ms, drift_ppm, 0)
    holder_ppm = data.draw(st.integers(-drift_ppm, drift_ppm))
    witness_ppm = data.draw(st.integers(-drift_ppm, drift_ppm))
    sent = Fraction(0)
    applied = sent + delay_ns
    deadline = holder_deadline(InstantNs(0), constants)
    holder_end = true_end(sent, deadline, holder_ppm)
    assert holder_end <= true_end(applied, witness_wait(constants), witness_ppm)


@given(TTL, DRIFT)
def test_beyond_the_bound_they_overlap(ttl_ms, drift_ppm):
    constants = LeaseConstants(ttl_ms, drift_ppm, 0)
    holder_end = true_end(Fraction(0), constants.ttl_ns, -2 * drift_ppm)
    witness_end = true_end(Fraction(0), witness_wait(constants), 2 * drift_ppm)
    assert holder_end > witness_end


@given(TTL, DRIFT, st.integers(0, limits.LOCK_DELAY_MS_MAX))
def test_the_wait_is_rounded_up_and_the_lock_delay_is_added(ttl_ms, drift_ppm, lock_delay_ms):
    constants = LeaseConstants(ttl_ms, drift_ppm, lock_delay_ms)
    exact = Fraction((ttl_ms + lock_delay_ms) * NS_PER_MS * (PPM + drift_ppm), PPM - drift_ppm)
    assert 0 <= witness_wait(constants) - exact < 1


@given(TTL, DRIFT)
def test_the_slowest_sound_witness_is_done_within_the_stated_bound(ttl_ms, drift_ppm):
    constants = LeaseConstants(ttl_ms, drift_ppm, 0)
    assert true_end(Fraction(0), witness_wait(constants), -drift_ppm) <= takeover_wait_max(constants)


@given(st.integers(0, 10**12), DRIFT, st.data())
def test_a_shortened_duration_is_never_outlived(duration_ns, drift_ppm, data):
    lead_ppm = data.draw(st.integers(-drift_ppm, drift_ppm))
    member_ppm = data.draw(st.integers(-drift_ppm, drift_ppm))
    assume(duration_ns >= 0)
    member_end = true_end(Fraction(0), drift_shortened(duration_ns, drift_ppm), member_ppm)
    assert member_end <= true_end(Fraction(0), duration_ns, lead_ppm)
