"""takeover_max is the sum of named phases, each monotone in what it rests on, and never less than what must pass."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proto import limits
from proto.lease import LeaseConstants, takeover_wait_max
from proto.takeover import ASSUMED, Delays, takeover_max_ns, takeover_phases
from proto.units import NS_PER_MS, DurationNs

constants = st.builds(
    LeaseConstants,
    st.integers(limits.TTL_MS_MIN, 60_000),
    st.integers(limits.DRIFT_MAX_PPM_MIN, limits.DRIFT_MAX_PPM_MAX),
    st.integers(0, 10_000),
)
delay = st.integers(0, 5_000 * NS_PER_MS).map(DurationNs)
delays = st.builds(Delays, delay, delay, delay, delay, delay)


@given(constants, delays, st.integers(0, 60_000))
def test_the_bound_is_the_sum_of_its_phases_and_holds_the_whole_wait_of_the_slowest_witness(lease, late, activation_ms):
    phases = takeover_phases(lease, late, activation_ms)
    total = takeover_max_ns(lease, activation_ms, late)
    assert total == sum(phase.ns for phase in phases)
    assert all(phase.ns >= 0 for phase in phases)
    by_name = {phase.name: phase.ns for phase in phases}
    assert by_name["lease"] + by_name["drift"] + by_name["lock delay"] == takeover_wait_max(lease)
    assert total >= takeover_wait_max(lease) + activation_ms * NS_PER_MS


WAITED_FOR = sorted(set(Delays.__dataclass_fields__) - {"link_ns"})
"""No takeover waits for a round of holds."""


@given(constants, delays, st.sampled_from(WAITED_FOR), st.integers(1, 10**9))
def test_whatever_takes_longer_makes_the_bound_longer(lease, late, field, more_ns):
    slower = replace(late, **{field: getattr(late, field) + more_ns})
    assert takeover_max_ns(lease, 0, slower) > takeover_max_ns(lease, 0, late)


@given(constants, st.integers(1, 10_000))
def test_a_longer_lease_a_longer_lock_delay_and_more_drift_cost_more(lease, more):
    base = takeover_max_ns(lease, 0)
    assert takeover_max_ns(replace(lease, ttl_ms=lease.ttl_ms + more), 0) > base
    assert takeover_max_ns(replace(lease, lock_delay_ms=lease.lock_delay_ms + more), 0) > base
    assert takeover_max_ns(replace(lease, drift_max_ppm=lease.drift_max_ppm + more), 0) > base


def test_a_promise_to_another_site_is_waited_out():
    lease = LeaseConstants(3_000, 10_000, 0)
    with_promise = takeover_phases(lease, ASSUMED, 0, promise_ns=7 * NS_PER_MS)
    assert sum(phase.ns for phase in with_promise) == takeover_max_ns(lease, 0) + 7 * NS_PER_MS
    assert {phase.name: phase.ns for phase in takeover_phases(lease, ASSUMED, 0)}["promise"] == 0
