"""What automatic mode would have done: noted once for each time that a move was due."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import CONSTANTS, A, B, G, Rig, config, report
from node_rig import NodeRig

from proto.commands import Author, NoteWould, RaiseFeatureLevel, SetMode
from proto.decisions import Reason
from proto.events import EventKind
from proto.groups import Mode
from proto.health import SiteState
from proto.lease import witness_wait
from proto.units import NS_PER_MS, NS_PER_S, InstantNs
from witness.core import shadow
from witness.core.decide import decide
from witness.core.sight import GroupSight

WATCHES = report(enforce=False, state=SiteState.UNKNOWN)
IDLE = replace(WATCHES, healthy=False)


class World:
    """A group in observe: A runs by somebody's hand, B could take over."""

    def __init__(self, **changes) -> None:
        self.rig = Rig(config(mode=Mode.OBSERVE, unhealthy_for_ms=2_000, **changes))
        assert self.rig.one(RaiseFeatureLevel(2)).ok
        self.now = NS_PER_S
        self.sight = GroupSight(started=InstantNs(self.now))
        self.said = {A: WATCHES, B: IDLE}
        self.events = []

    @property
    def shadow(self):
        return self.rig.group.shadow

    def hears(self, *sites, **lags) -> None:
        for site in sites:
            self.rig.beat(site, said=self.said[site], **lags)
            self.sight.heard[site] = InstantNs(self.now)

    def passes(self, ms: int, *sites, step_ms: int = 100) -> None:
        for _ in range(ms // step_ms):
            self.now += step_ms * NS_PER_MS
            self.hears(*sites)
            self.look()

    def look(self) -> None:
        now = InstantNs(self.now)
        command = shadow.note(2, self.rig.group, self.sight, decide(self.rig.group, self.sight, now), now)
        if command is not None:
            assert self.rig.one(command).ok
            self.events += [one for one in self.rig.last.events if one.kind is EventKind.WOULD_HAVE]


def test_a_lost_site_would_have_been_replaced_once():
    world = World()
    world.passes(1_000, A, B)
    assert (world.shadow.active, world.shadow.needed) == (A, False)
    wait_ms = witness_wait(CONSTANTS) // NS_PER_MS
    world.passes(wait_ms - 100, B)
    assert not world.events, "its lease would still be in force"
    world.passes(5_000, B)
    (told,) = world.events
    assert (told.site, world.shadow.count, world.shadow.to) == (B, 1, B)
    assert told.text == f"observe: it would have activated {B}, instead of {A}: the holder's lease expired"
    world.passes(1_000, A, B)
    assert (world.shadow.needed, world.shadow.count) == (False, 1)
    world.passes(wait_ms + 500, B)
    assert world.shadow.count == 2


def test_a_platform_that_is_unfit_for_long_would_have_been_moved():
    world = World()
    world.passes(500, A, B)
    world.said[A] = replace(WATCHES, healthy=False)
    world.passes(1_900, A, B)
    assert not world.events
    world.passes(500, A, B)
    (told,) = world.events
    assert "the active site reports itself unfit" in told.text


def test_a_short_failure_moves_nothing():
    world = World()
    world.passes(500, A, B)
    for _ in range(3):
        world.said[A] = IDLE
        world.passes(1_500, A, B)
        world.said[A] = WATCHES
        world.passes(500, A, B)
    assert not world.events


def test_when_no_site_could_take_over_that_is_said_and_not_counted():
    world = World(max_replication_lag_ms=1_000)
    world.passes(500, A, B)
    world.said[B] = replace(IDLE, ready=False, blockers=("the replica is broken",))
    world.passes(5_000, B)
    (told,) = world.events
    assert (told.site, world.shadow.count) == (None, 0)
    assert "found no site to activate" in told.text
    assert "the replica is broken" in told.text
    world.said[B] = IDLE
    world.passes(500, B)
    assert (world.shadow.to, world.shadow.count) == (B, 1)


def test_somebody_moved_it_by_hand_and_then_the_other_site_is_the_one_that_counts():
    world = World()
    world.passes(500, A, B)
    world.said = {A: IDLE, B: WATCHES}
    world.passes(500, A, B)
    assert world.shadow.active == B
    world.passes(5_000, B)
    assert not world.events


def test_while_both_seem_to_run_nothing_is_known():
    world = World()
    world.said[B] = WATCHES
    world.passes(500, A, B)
    assert world.shadow.active is None
    world.passes(5_000)
    assert not world.events


def test_a_new_leader_first_looks_for_a_whole_lease():
    world = World()
    world.passes(500, A, B)
    world.sight = GroupSight(started=InstantNs(world.now))
    world.passes(witness_wait(CONSTANTS) // NS_PER_MS - 100, B)
    assert not world.events
    world.passes(500, B)
    assert len(world.events) == 1


@pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.PAUSED])
def test_in_other_modes_the_decision_says_it(mode):
    rig = Rig()
    assert rig.one(RaiseFeatureLevel(2)).ok
    rig.hold(A)
    assert rig.one(SetMode(G, mode, Author("ann", "x"))).ok
    rig.expire()
    rig.beat(B)
    now = InstantNs(NS_PER_S)
    sight = GroupSight(InstantNs(1), heard={A: InstantNs(1), B: now}, renewing={A})
    rig.group.former = None
    decision = decide(rig.group, sight, now)
    command = shadow.note(2, rig.group, sight, decision, now)
    assert (command.to, command.needed, command.active) == (B, True, A)
    assert rig.one(command).ok
    assert rig.kinds() == ["would-have"]
    assert rig.one(command).reason is Reason.ALREADY_SO
    assert shadow.note(2, rig.group, sight, decision, now) is None


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (NoteWould("none", None, False, None, Reason.OK, ""), Reason.UNKNOWN_GROUP),
        (NoteWould(G, "dc-x", False, None, Reason.OK, ""), Reason.UNKNOWN_SITE),
        (NoteWould(G, None, False, None, Reason.OK, ""), Reason.ALREADY_SO),
    ],
)
def test_what_does_not_fit_is_refused(command, reason):
    rig = Rig()
    assert rig.one(RaiseFeatureLevel(2)).ok
    assert rig.one(command).reason is reason


def test_the_first_level_knows_none_of_it():
    rig = Rig(config(mode=Mode.OBSERVE))
    now = InstantNs(NS_PER_S)
    sight = GroupSight(InstantNs(1))
    assert shadow.note(1, rig.group, sight, decide(rig.group, sight, now), now) is None
    assert rig.one(NoteWould(G, A, False, None, Reason.OK, "")).reason is Reason.FEATURE_LEVEL


def test_a_leader_notes_it_by_itself():
    node = NodeRig().vacant()
    node.foreign(RaiseFeatureLevel(2))
    node.foreign(SetMode(G, Mode.OBSERVE, Author("ann", "x")))
    node.commit_all()
    for seq in range(2, 8):
        node.passes(300 * NS_PER_MS)
        for site, said in ((A, WATCHES), (B, IDLE)):
            from core_rig import entry, frame

            node.foreign(frame(site, entry(said=said), seq=seq))
        node.commit_all()
    assert node.group.shadow.active == A
