"""Holds and the re-grant in place, of whole cores: what the active site does while the third location is gone."""

from __future__ import annotations

import pytest
from holds_rig import A, B, C, G, Together
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.core.effects import PlanKind
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.units import SiteId

W = "w1"
TTL_MS = 3_000


def test_the_third_location_may_be_gone_for_long_and_the_site_goes_on_in_place() -> None:
    world = Together()
    active = world.until_active()
    epoch, incarnation = active.group.holder.epoch, active.agent.incarnation
    world.lose_witnesses()
    world.passes(10 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    assert active.group.taken.mark is not None
    assert world.other(active).group.promising
    world.lose_witnesses(on=False)
    world.passes(2 * TTL_MS)
    assert (active.state, active.agent.incarnation) == (SiteState.ACTIVE, incarnation)
    assert active.group.holder.epoch > epoch
    assert active.plans == [PlanKind.VERIFY_DOWN, PlanKind.ACTIVATE, PlanKind.ON_EPOCH]
    told = world.told()
    assert told[told.index("holds-began") :].count("regranted") == 1
    assert "holds-ended" in told
    assert not active.group.taken.on
    assert world.overlaps == []
    assert world.activations() == 1


def test_without_the_other_site_the_site_is_down_by_its_lease_and_another_one_takes_over_when_it_may() -> None:
    world = Together()
    active = world.until_active()
    other = world.other(active)
    world.lose_witnesses()
    world.part(active.name, other.name)
    world.passes(2 * TTL_MS)
    assert active.state in (SiteState.STANDBY, SiteState.FENCED)
    world.lose_witnesses(on=False)
    world.part(active.name, other.name, on=False)
    assert world.until_active().state is SiteState.ACTIVE
    assert world.overlaps == []


def test_a_site_that_promised_is_granted_and_begins_only_when_its_promise_is_over() -> None:
    world = Together()
    active = world.until_active()
    other = world.other(active)
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    assert other.group.promising
    world.part(other.name, W, on=False)  # back for the promiser alone
    world.part(active.name, other.name)
    for _ in range(4 * TTL_MS // 10):
        world.passes(10)
        if other.state is SiteState.ACTIVATING:
            break
    assert other.state in (SiteState.ACTIVATING, SiteState.ACTIVE)
    assert not active.rules()
    assert world.overlaps == []


def test_a_promiser_that_starts_cold_with_an_empty_disk_waits_as_long_as_it_may_have_promised() -> None:
    world = Together()
    active = world.until_active()
    other = world.other(active)
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    world.restart(other.name, wiped=True)
    world.part(other.name, W, on=False)
    world.part(active.name, other.name)
    world.passes(4 * TTL_MS)
    assert other.state is SiteState.ACTIVE
    assert world.overlaps == []


def test_a_site_that_hears_the_witnesses_gives_no_hold() -> None:
    world = Together()
    active = world.until_active()
    other = world.other(active)
    world.part(active.name, W)
    world.passes(TTL_MS)
    assert active.group.taken.said[other.name] == "relay"
    assert not other.group.promising


def test_an_orderly_stop_on_holds_ends_the_promise_at_once() -> None:
    world = Together(constants=LeaseConstants(30_000, 10_000, 0))
    active = world.until_active(60_000)
    other = world.other(active)
    world.lose_witnesses()
    world.passes(30_000)
    assert other.group.promising
    active.agent.shutdown(active.clock.read())
    world.passes(3_000)
    assert active.state is SiteState.STANDBY
    assert not other.group.promising
    assert world.overlaps == []


def test_with_three_sites_one_that_is_silent_means_fence() -> None:
    world = Together(sites=(A, B, C))
    active = world.until_active()
    silent = next(name for name in (A, B, C) if name != active.name)
    for name in (A, B, C):
        if name != silent:
            world.part(silent, name)
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    assert active.state in (SiteState.STANDBY, SiteState.FENCED)
    assert world.overlaps == []


def test_an_answer_that_is_late_gives_no_more_than_its_request() -> None:
    world = Together()
    active = world.until_active()
    world.lose_witnesses()
    world.passes(TTL_MS)
    world.late_ms = 1_500
    for _ in range(4 * TTL_MS // 10):
        world.passes(10)
        authority, sent = active.group.holder.authority, active.group.taken._last_sent
        if authority is not None and sent is not None:
            assert authority.deadline <= sent.boottime_ns + TTL_MS * 1_000_000
    world.part(A, B)
    world.passes(2 * TTL_MS)
    assert not active.rules()


def test_a_claim_in_place_whose_answer_is_lost_stops_nothing() -> None:
    world = Together()
    active = world.until_active()
    world.lose_witnesses()
    world.passes(3 * TTL_MS)
    world.lose_witnesses(on=False)
    for _ in range(300):
        world.passes(10)
        lease = world.witness.group.lease
        if lease is not None and lease.claim is not None:
            world.lose_witnesses()  # before its answer arrives, or just after
            break
    world.passes(3 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    world.lose_witnesses(on=False)
    world.passes(2 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    assert world.witness.group.lease.epoch == active.group.holder.epoch
    assert world.activations() == 1
    assert world.overlaps == []


def test_a_grant_in_place_that_runs_out_unclaimed_is_made_again() -> None:
    world = Together()
    active = world.until_active()
    world.lose_witnesses()
    world.passes(3 * TTL_MS)
    world.lose_witnesses(on=False)
    for _ in range(200):
        world.passes(10)
        if world.witness.group.lease is not None and world.witness.group.lease.claim is None:
            break
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    world.lose_witnesses(on=False)
    world.passes(2 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    assert active.group.holder.next == 0
    assert world.witness.group.lease.epoch == active.group.holder.epoch
    assert world.overlaps == []


SITES = (A, B, C)
STEPS = st.one_of(
    st.tuples(st.just("passes"), st.integers(10, 2 * TTL_MS)),
    st.tuples(st.just("cut"), st.sampled_from([(A, W), (B, W), (C, W), (A, B), (A, C), (B, C)])),
    st.tuples(st.just("mend"), st.sampled_from([(A, W), (B, W), (C, W), (A, B), (A, C), (B, C)])),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("restart"), st.sampled_from(SITES)),
    st.tuples(st.just("wipe"), st.sampled_from(SITES)),
    st.tuples(st.just("loss"), st.floats(0, 0.4)),
    st.tuples(st.just("late"), st.integers(1, 700)),
    st.tuples(st.just("stop"), st.sampled_from(SITES)),
)


def play(world: Together, steps: list[tuple[str, object]]) -> None:
    for what, how in steps:
        if what == "passes":
            world.passes(how)
        elif what in ("cut", "mend"):
            world.part(*how, on=what == "cut")
        elif what == "lose":
            world.lose_witnesses(on=how)
        elif what in ("restart", "wipe") and how in world.sites and not world.sites[how].rules():
            world.restart(how, wiped=what == "wipe")
        elif what == "loss":
            world.loss = how
        elif what == "late":
            world.late_ms = how


@given(
    sites=st.sampled_from([(A, B), (A, B, C)]),
    rates=st.tuples(*[st.sampled_from((-10_000, 0, 10_000))] * 3),
    seed=st.integers(0, 1_000),
    steps=st.lists(STEPS, min_size=4, max_size=25),
)
@settings(max_examples=40, deadline=None)
def test_never_do_two_sites_run_with_authority_and_one_does_in_the_end(
    sites: tuple[SiteId, ...], rates: tuple[int, int, int], seed: int, steps: list[tuple[str, object]]
) -> None:
    world = Together(sites=sites, rates=rates, seed=seed, constants=LeaseConstants(TTL_MS, 10_000, 0))
    world.until_active()
    play(world, steps)
    assert world.overlaps == []
    world.cut, world.loss, world.late_ms = set(), 0.0, 4
    world.until_active(60_000)
    assert world.overlaps == []


@pytest.mark.parametrize("seed", range(6))
def test_the_witnesses_come_and_go_and_the_platform_never_stops(seed: int) -> None:
    world = Together(seed=seed)
    active = world.until_active()
    for _ in range(4):
        world.lose_witnesses()
        world.passes(world.rng.randint(TTL_MS, 4 * TTL_MS))
        world.lose_witnesses(on=False)
        world.passes(world.rng.randint(TTL_MS // 2, 2 * TTL_MS))
        assert active.state is SiteState.ACTIVE
    assert G in active.agent.groups
    assert world.activations() == 1
    assert world.overlaps == []
