"""Modes `manual` and `paused` keep leases, expiry, exclusion and the re-grant in place (DESIGN section 6)."""

from __future__ import annotations

import pytest
from holds_rig import G, Together
from review_rig import AUTHOR

from agents.core.effects import PlanKind
from proto.commands import Cause, SetMode
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState
from witness.core.effects import Outcome
from witness.core.transitions import Phase

TTL_MS = 3_000
QUIET = pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.PAUSED])


def in_mode(mode: Mode) -> Together:
    """One site is active, then the mode is set."""
    world = Together()
    world.until_active()
    assert world.witness.submit(SetMode(G, mode, AUTHOR)).ok
    return world


@QUIET
def test_a_holder_goes_on_without_the_witnesses_and_is_granted_in_place_when_they_are_back(mode: Mode) -> None:
    world = in_mode(mode)
    active = world.until_active()
    epoch = active.group.holder.epoch
    world.lose_witnesses()
    world.passes(4 * TTL_MS)
    assert active.group.taken.mark is not None
    world.lose_witnesses(on=False)
    world.passes(2 * TTL_MS)
    assert active.state is SiteState.ACTIVE
    assert active.group.holder.epoch > epoch
    assert world.witness.group.lease.cause is Cause.REGRANT
    assert active.plans == [PlanKind.VERIFY_DOWN, PlanKind.ACTIVATE, PlanKind.ON_EPOCH]
    assert world.overlaps == []


@QUIET
def test_a_lost_holder_expires_and_nobody_is_granted_by_itself(mode: Mode) -> None:
    world = in_mode(mode)
    active = world.until_active()
    epoch = active.group.holder.epoch
    world.restart(active.name)
    world.passes(5 * TTL_MS)
    assert (world.witness.group.phase, world.witness.group.epoch) == (Phase.VACANT, epoch)
    assert "expired" in world.told()
    assert world.activations() == 1
    assert world.overlaps == []


def test_in_manual_mode_an_operator_moves_a_vacant_group_only_when_the_lease_and_every_promise_are_over() -> None:
    world = in_mode(Mode.MANUAL)
    active = world.until_active()
    other = world.other(active)
    world.lose_witnesses()
    world.passes(2 * TTL_MS)
    assert other.group.promising
    world.part(other.name, "w1", on=False)  # back for the promiser alone: the holder lives on by its promise
    world.passes(TTL_MS // 2)
    refused = world.witness.node.plan_switchover(G, other.name, AUTHOR, world.witness.clock.now())
    assert isinstance(refused, Outcome)
    assert active.state is SiteState.ACTIVE
    world.part(active.name, other.name)
    for _ in range(10 * TTL_MS // 100):
        world.passes(100)
        planned = world.witness.node.plan_switchover(G, other.name, AUTHOR, world.witness.clock.now())
        if not isinstance(planned, Outcome) and world.witness.submit(planned).ok:
            break
    assert world.witness.group.lease.cause is not Cause.REGRANT
    world.passes(2 * TTL_MS)
    assert other.state is SiteState.ACTIVE
    assert not active.rules()
    assert world.overlaps == []


def test_the_refusal_in_paused_mode_is_the_modes() -> None:
    world = in_mode(Mode.PAUSED)
    other = world.other(world.until_active())
    refused = world.witness.node.plan_switchover(G, other.name, AUTHOR, world.witness.clock.now())
    assert isinstance(refused, Outcome)
    assert refused.reason in (Reason.MODE_FORBIDS, Reason.MODE_PAUSED)


def test_a_switchover_to_a_site_that_was_just_started_says_for_how_long_it_waits_and_the_wait_ends() -> None:
    world = Together()
    active = world.until_active()
    other = world.other(active)
    world.restart(other.name)
    world.passes(200)
    left_s = []
    for _ in range(3):
        refused = world.witness.node.plan_switchover(G, other.name, AUTHOR, world.witness.clock.now())
        assert isinstance(refused, Outcome)
        assert refused.reason is Reason.PROMISE_OUTSTANDING
        left_s.append(float(refused.detail.rpartition("at most ")[2].removesuffix(" s more)")))
        world.passes(500)
    assert left_s == [pytest.approx(left_s[0] - 0.5 * number, abs=0.05) for number in range(3)]
    world.passes(round(left_s[0] * 1_000))
    planned = world.witness.node.plan_switchover(G, other.name, AUTHOR, world.witness.clock.now())
    assert not isinstance(planned, Outcome)
