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
over_a_slow_link = st.builds(Delays, delay, delay, delay, delay, delay, delay)


@given(constants, delays, st.integers(0, 60_000))
def test_the_bound_is_the_sum_of_its_phases_and_holds_the_whole_wait_of_the_slowest_witness(lease, late, activation_ms):
    phases = takeover_phases(lease, late, activation_ms)
    total = takeover_max_ns(lease, activation_ms, late)
    assert total == sum(phase.ns for phase in phases)
    assert all(phase.ns >= 0 for phase in phases)
    by_name = {phase.name: phase.ns for phase in phases}
    assert by_name["lease"] + by_name["drift"] + by_name["lock delay"] == takeover_wait_max(lease)
    assert total >= takeover_wait_max(lease) + activation_ms * NS_PER_MS


@given(constants, over_a_slow_link, st.sampled_from(sorted(Delays.__dataclass_fields__)), st.integers(1, 10**9))
def test_whatever_takes_longer_makes_the_bound_longer_unless_something_beside_it_is_slower(lease, late, field, more_ns):
    slower = replace(late, **{field: getattr(late, field) + more_ns})
    before, after = takeover_max_ns(lease, 0, late), takeover_max_ns(lease, 0, slower)
    waited_for = named(lease, late)["promise"] == 0 if field != "link_ns" else named(lease, slower)["promise"] > 0
    assert after > before if waited_for else after >= before


@given(constants, st.integers(1, 10_000))
def test_a_longer_lease_a_longer_lock_delay_and_more_drift_cost_more(lease, more):
    base = takeover_max_ns(lease, 0)
    assert takeover_max_ns(replace(lease, ttl_ms=lease.ttl_ms + more), 0) > base
    assert takeover_max_ns(replace(lease, lock_delay_ms=lease.lock_delay_ms + more), 0) > base
    assert takeover_max_ns(replace(lease, drift_max_ppm=lease.drift_max_ppm + more), 0) > base


def named(lease: LeaseConstants, late: Delays) -> dict[str, int]:
    return {phase.name: phase.ns for phase in takeover_phases(lease, late, 0)}


BESIDE_THE_PROMISE = ("renewal", "lease", "drift", "lock delay", "wake", "vote", "grant", "notice")


@given(constants, over_a_slow_link)
def test_a_promise_to_another_site_is_waited_out_beside_the_lease(lease, late):
    """Asked for in the moment of the death, it came a way over the site link later, and is as long as the lease."""
    phases = named(lease, late)
    over_ns = sum(phases[name] for name in (*BESIDE_THE_PROMISE, "promise"))
    ends_ns = late.link_ns + takeover_wait_max(lease)
    assert over_ns >= ends_ns
    if phases["promise"]:
        assert over_ns - ends_ns <= late.link_ns // 5, "no more than what the slowest clock makes of the link's delay"


def test_as_assumed_no_promise_is_waited_for():
    lease = LeaseConstants(3_000, 10_000, 0)
    assert named(lease, ASSUMED)["promise"] == 0
    assert named(lease, replace(ASSUMED, link_ns=DurationNs(400 * NS_PER_MS)))["promise"] > 0
