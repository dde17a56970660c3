"""Two agent cores, the witness core, and an operator with permits, in any order of outages: never two active sites."""

from __future__ import annotations

import pytest
from core_rig import A, B, G
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from permit_world import PermitWorld

from proto.permit import AFTER_MS_MIN

LONG_MS = AFTER_MS_MIN + 6_000
"""Longer than a site waits before it takes a permit."""


def settled() -> PermitWorld:
    world = PermitWorld()
    world.passes(12_000)
    assert world.active() == [A]
    return world


def test_the_whole_story():
    world = settled()
    world.loss_of_the_witnesses()
    assert "silent for" in world.break_glass(B)
    world.passes(LONG_MS)
    assert world.active() == []
    assert world.break_glass(B) == ""
    assert (world.active(), world.under_permit()) == ([B], [B])
    world.passes(60_000)
    assert world.active() == [B]
    world.return_of_the_witnesses()
    world.passes(1_000)
    world.start(A)
    world.passes(10_000)
    assert (world.active(), world.under_permit()) == ([B], []), "adopted, without a stop"
    group = world.node.machine.state.groups[G]
    assert group.lease is not None
    assert (group.lease.site, group.lease.epoch > world.taken[0][1]) == (B, True)
    kinds = [event.kind.value for event in world.node.machine.state.ledger.recent]
    assert kinds.count("permit-used") == kinds.count("permit-ended") == 1
    world.stop(B)
    world.passes(20_000)
    assert world.active() == [A], "an ordinary takeover, before dc-b could have another permit"


def test_a_site_that_was_cut_off_alone_and_took_a_permit_keeps_the_other_from_being_granted():
    world = settled()
    world.link(B, up=False)
    world.passes(LONG_MS)
    assert world.active() == [A]
    assert world.break_glass(B) == ""
    world.start(A)
    world.passes(60_000)
    assert world.active() == [B], "dc-a is up and heard, its old lease is over, and dc-b is away"
    world.link(B, up=True)
    world.passes(10_000)
    assert (world.active(), world.under_permit()) == ([B], [])


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([300, 2_000, 5_000, LONG_MS, 40_000])),
        st.tuples(st.sampled_from(["lose", "return"]), st.just(0)),
        st.tuples(st.sampled_from(["start", "stop", "cut", "join", "permit", "deaf"]), st.sampled_from([A, B])),
    ),
    min_size=3,
    max_size=14,
)


def act(world: PermitWorld, what: str, value) -> None:
    if what == "pass":
        world.passes(value)
    elif what == "lose":
        world.loss_of_the_witnesses()
    elif what == "return":
        world.return_of_the_witnesses()
    elif what == "start":
        world.start(value)
    elif what == "stop":
        world.stop(value)
    elif what in ("cut", "join"):
        world.link(value, up=what == "join")
    elif what == "permit":
        world.break_glass(value)
    else:
        world.sites[value].losing = 3
    world.passes(300)


@given(ACTIONS)
@pytest.mark.timeout(300)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_never_two_active_and_the_service_comes_back_when_everything_is_healed(actions):
    """`check` runs after every step of the world; the operator keeps to the book."""
    world = settled()
    for what, value in actions:
        act(world, what, value)
    world.return_of_the_witnesses()
    for name in (A, B):
        world.start(name)
        world.link(name, up=True)
        world.sites[name].losing = 0
    world.passes(40_000)
    assert len(world.active()) == 1
    assert world.under_permit() == []


def test_the_world_sees_an_operator_who_did_not_stop_the_other_site():
    """What no rule can keep: the statement of the operator. The check is not blind."""
    world = settled()
    world.link(B, up=False)
    world.passes(LONG_MS)
    seen = False
    try:
        assert world.use_permit(B) == ""
        world.check()
    except AssertionError as error:
        seen = "two sites are active" in str(error)
    assert seen
