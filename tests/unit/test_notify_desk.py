"""What is told, when, and by whom: one notification an event, also across a change of leaders."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from core_rig import W
from notify_rig import MINUTE_NS, MachineSource, Sent, World, settings, target

from proto.commands import BeginTelling, EndTelling
from proto.events import EventKind
from proto.units import NS_PER_S, InstantNs, WallMs
from witness.core.notify.desk import BATCH_MAX, SKIP_MIN, Tell
from witness.core.notify.settings import QuietHours

LOST, BARRED, MOVED = EventKind.EXPIRED, EventKind.QUARANTINED, EventKind.GRANTED


def begun(*targets, **changes) -> World:
    """The lanes are known: what happens from here on is told."""
    world = World(settings(*targets, **changes))
    world.step()
    world.step()
    assert not world.sent
    return world


def test_a_new_target_is_not_told_the_past():
    world = World(settings())
    world.happens(LOST)
    world.passes(120)
    assert not world.sent
    seq = world.happens(LOST)
    world.step()
    assert world.told() == [seq]


def test_what_is_critical_is_told_at_once_and_once():
    world = begun()
    seq = world.happens(LOST)
    world.passes(600)
    (sent,) = world.sent
    assert [one.event.seq for one in sent.tell.found] == [seq]
    assert not sent.tell.repeated
    assert world.source.lanes["ops.urgent"].told == seq


def test_the_rest_waits_for_more_and_is_told_together():
    world = begun()
    first = world.happens(BARRED)
    world.passes(5)
    second = world.happens(EventKind.REVOKE_DUE)
    world.passes(4)
    assert not world.sent
    world.passes(3)
    assert world.told() == [first, second]
    third = world.happens(BARRED, text="again")
    world.passes(30)
    assert len(world.sent) == 1, "the interval between two notifications is not over"
    world.passes(40)
    assert world.told() == [first, second, third]


def test_the_same_again_is_a_count():
    world = begun()
    for _ in range(5):
        last = world.happens(BARRED)
    world.passes(20)
    (sent,) = world.sent
    (only,) = sent.tell.found
    assert (only.count, only.event.seq) == (5, last)


def test_an_end_is_told_with_the_weight_of_its_beginning():
    world = begun(target(severity="critical"))
    lost, back = world.happens(LOST), world.happens(EventKind.CLAIMED, "dc-b")
    world.happens(EventKind.CLAIMED, "dc-b")
    world.passes(120)
    assert world.told() == [lost, back]
    assert world.sent[0].tell.found[1].ends.seq == lost


def test_quiet_hours_hold_back_all_but_what_is_critical():
    night = QuietHours("night", 22 * 60, 6 * 60, "Europe/Berlin")
    world = begun(target(quiet_hours=("night",)), quiet_hours=(night,))
    world.offsets = {"Europe/Berlin": 120}
    world.wall_ms = 1_800_000_000_000 // 86_400_000 * 86_400_000 + 21 * 3_600_000  # 23:00 there
    barred, lost = world.happens(BARRED), world.happens(LOST)
    world.passes(120)
    assert world.told() == [lost]
    world.wall_ms += 7 * 3_600_000
    world.passes(60)
    assert world.told() == [lost, barred]


def test_a_target_that_cannot_be_reached_is_tried_again_with_growing_pauses_and_given_up():
    world = begun(target(retry_for_ms=300_000))
    world.reachable = False
    seq = world.happens(LOST)
    world.step()
    at: list[int] = [world.now]
    for _ in range(600):
        count = len(world.sent)
        world.passes(1)
        at += [world.now] * (len(world.sent) - count)
    gaps = [round((later - earlier) / NS_PER_S) for earlier, later in itertools.pairwise(at)]
    assert gaps[:5] == [2, 4, 8, 16, 32]
    assert max(gaps) == 60
    assert len({sent.tell.key for sent in world.sent}) == 1
    assert [sent.tell.repeated for sent in world.sent[:2]] == [False, True]
    assert world.source.lanes["ops.urgent"].told == seq
    assert world.source.lanes["ops.urgent"].failing
    assert "ops: refused" in [event.text for event in world.rig.machine.state.ledger.recent]


def test_that_a_target_is_out_of_reach_is_told_to_the_others():
    world = begun(target(retry_for_ms=0), target("boss"))
    world.reachable = False
    world.happens(LOST)
    world.step()
    world.reachable = True
    world.sent.clear()
    world.passes(30)
    assert {sent.tell.target.name for sent in world.sent} == {"boss"}
    assert [one.event.kind for sent in world.sent for one in sent.tell.found] == [LOST, EventKind.UNDELIVERED]


def test_what_another_attempt_cannot_mend_is_given_up_at_once():
    world = begun()
    world.reachable = world.again = False
    world.happens(LOST)
    world.passes(60)
    assert len(world.sent) == 1


def test_a_leader_that_dies_before_it_sent_leaves_it_to_the_next_one():
    world = begun()
    seq = world.happens(LOST)
    lost = world.desks[W[0]].step(world.source, world.now, world.wall_ms, {})
    assert isinstance(lost[0], BeginTelling)
    world.rig.one(lost[0])  # committed, and its witness dies
    world.crash(W[0])
    world.lead(W[1])
    world.passes(15)
    assert not world.sent, "its attempt may still be under way"
    world.passes(10)
    (sent,) = world.sent
    assert (sent.witness, sent.tell.repeated, world.told()) == (W[1], True, [seq])


def test_what_is_told_again_after_a_death_has_the_same_key_and_says_so():
    world = begun()
    world.happens(LOST)
    desk = world.desks[W[0]]
    (order,) = desk.step(world.source, world.now, world.wall_ms, {})
    assert world.rig.one(order).ok
    (first,) = desk.begun(order.lane, world.source, world.now, ok=True)
    world.sent.append(Sent(W[0], first, True))  # it arrived, and its end was never written down
    world.crash(W[0])
    world.lead(W[2])
    world.happens(LOST)  # newer ones do not change what is told again
    world.passes(60)
    again = world.sent[1].tell
    assert again.key == first.key
    assert again.found == first.found
    assert again.repeated
    assert len(world.sent) == 3


def test_a_leader_that_only_lost_its_place_ends_what_it_began():
    world = begun()
    seq = world.happens(LOST)
    desk = world.desks[W[0]]
    (order,) = desk.step(world.source, world.now, world.wall_ms, {})
    assert world.rig.one(order).ok
    (tell,) = desk.begun(order.lane, world.source, world.now, ok=True)
    world.lead(W[1])
    world.passes(10)
    world.deliver(W[0], tell)
    world.passes(120)
    assert world.told() == [seq]


def test_a_deposed_leader_that_still_believes_cannot_tell_beside_the_new_one():
    world = begun()
    world.happens(LOST)
    world.desks[W[1]].lead(leading=True)  # both believe to lead
    world.step()
    world.step()
    assert len(world.sent) == 1


def test_the_end_of_a_telling_comes_again_until_it_is_written_down():
    world = begun()
    world.happens(LOST)
    desk = world.desks[W[0]]
    (order,) = desk.step(world.source, world.now, world.wall_ms, {})
    assert world.rig.one(order).ok
    desk.begun(order.lane, world.source, world.now, ok=True)
    (end,) = desk.answered(order.lane, world.now, ok=True, again=False, text="")
    assert isinstance(end, EndTelling)
    desk.over(order.lane, ok=False)  # no quorum
    world.passes(4)
    assert world.source.lanes["ops.urgent"].told < world.source.head
    world.passes(4)
    assert world.source.lanes["ops.urgent"].told == world.source.head
    assert not world.sent


def test_a_flood_is_told_in_parts():
    world = begun()
    seqs = [world.happens(LOST, text=f"number {number}") for number in range(3 * BATCH_MAX)]
    world.passes(10)
    assert world.told() == seqs
    assert max(len(sent.tell.found) for sent in world.sent) == BATCH_MAX


def test_what_is_nothing_for_a_target_is_skipped_now_and_then():
    world = begun(target(severity="critical"))
    for _ in range(SKIP_MIN + 1):
        world.happens(EventKind.SITE_STATE)
    world.passes(5)
    assert world.source.lanes["ops.urgent"].told >= SKIP_MIN
    assert not world.sent


def test_a_lane_that_has_nothing_to_tell_has_seen_everything():
    world = begun(target(severity="critical"))
    for _ in range(3):
        world.happens(EventKind.SITE_STATE)
    world.step()
    assert {one["seen"] for one in world.desks[W[0]].view()} == {world.source.head}
    assert world.source.lanes["ops.urgent"].told < world.source.head, "skipping is written down now and then"


def test_it_is_seen_what_a_lane_is_about():
    world = begun()
    world.reachable = False
    world.happens(LOST)
    world.step()
    (urgent,) = [one for one in world.desks[W[0]].view() if one["lane"] == "urgent"]
    assert (urgent["stage"], urgent["attempt"], urgent["trouble"]) == ("waiting", 1, "refused")


@pytest.mark.parametrize("seed", range(60))
def test_each_event_is_told_and_twice_only_after_a_death(seed):
    """Leaders change and die at any moment; answers of dead ones are lost."""
    rng = random.Random(seed)
    world = Chaos(settings(target(severity="info")), rng=rng)
    world.step()
    world.step()
    wanted = []
    for _ in range(60):
        roll = rng.random()
        if roll < 0.3:
            wanted.append(world.happens(rng.choice((LOST, MOVED, BARRED)), text=f"number {len(wanted)}"))
        elif roll < 0.4:
            world.lead(rng.choice(W))
        elif roll < 0.5:
            world.dies(rng.choice(W))
        world.passes(rng.random() * 15)
    world.deaths_allowed = False
    world.lead(W[0])
    world.passes(300)
    told = world.told()
    assert sorted(set(told)) == wanted
    by_key: dict[str, list[Tell]] = {}
    for sent in world.sent:
        by_key.setdefault(sent.tell.key, []).append(sent.tell)
    for tells in by_key.values():
        assert len({tuple(one.event.seq for one in tell.found) for tell in tells}) == 1
        assert all(tell.repeated for tell in tells[1:])
    if not world.deaths:
        assert len(told) == len(wanted)
    assert len(told) - len(wanted) <= BATCH_MAX * world.deaths


class Chaos(World):
    """Attempts take time, and their witness may die meanwhile."""

    def __init__(self, found, *, rng: random.Random) -> None:
        self.rng = rng
        self.under_way: list[tuple[int, object, Tell]] = []
        self.deaths = 0
        self.deaths_allowed = True
        super().__init__(found)

    def dies(self, witness) -> None:
        self.deaths += 1
        self.crash(witness)
        if witness == self.leader:
            self.lead(self.rng.choice([one for one in W if one != witness]))

    def deliver(self, witness, tell) -> None:
        self.under_way.append((self.now + int(self.rng.random() * 8 * NS_PER_S), self.desks[witness], tell))
        self.sent.append(Sent(witness, tell, True))

    def passes(self, seconds: float, step_s: float = 1.0) -> None:
        for _ in range(int(seconds) + 1):
            super().passes(step_s, step_s)
            for at, desk, tell in [one for one in self.under_way if one[0] <= self.now]:
                self.under_way.remove((at, desk, tell))
                witness = next((name for name, one in self.desks.items() if one is desk), None)
                if witness is not None:  # else its process is gone
                    for later in desk.answered(tell.lane, self.now, ok=True, again=True, text=""):
                        self.carry_out(witness, later)


def test_rigs_settings_are_those_that_ship():
    assert settings().group_wait_ms * 1_000_000 < MINUTE_NS
    assert replace(settings(), targets=()).targets == ()


class Lacking(MachineSource):
    """Of a witness that was installed from an image: it has nothing up to a number, until it fetched it."""

    upto = 0
    walked = 0

    def after(self, seq, limit):
        return [event for event in super().after(seq, 1_000) if event.seq > self.upto][:limit]

    def before(self, seq):
        for event in super().before(seq):
            self.walked += 1
            if event.seq > self.upto:
                yield event


def without_the_first_events(*, kept: bool) -> tuple[World, list[int]]:
    """Two alarms happen while nobody leads; the next leader lacks the first of them, or both."""
    world = begun()
    world.lead(W[2])
    world.crash(W[2])
    first, second = world.happens(LOST, group="erp"), world.happens(LOST, group="crm")
    world.source = Lacking(world.rig)
    world.source.upto = first if kept else second
    world.lead(W[1])
    return world, [first, second]


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_leader_lacks_is_told_when_it_has_fetched_it_and_not_passed_over(kept):
    world, happened = without_the_first_events(kept=kept)
    world.passes(20)
    assert not world.told()
    world.source.upto = 0
    world.passes(60)
    assert world.told() == happened
    assert [sent.tell.attempt for sent in world.sent] == [1] * len(world.sent)
    assert not any(sent.tell.repeated for sent in world.sent), "while events lack, nobody is told anything"


def test_what_is_taken_over_and_lacks_events_first_may_be_a_repetition_and_says_so_in_words():
    world = begun()
    world.happens(LOST)
    world.rig.one(world.desks[W[0]].step(world.source, world.now, world.wall_ms, {})[0])
    world.crash(W[0])
    world.source = Lacking(world.rig)
    world.source.upto = world.source.head
    world.lead(W[1])
    world.passes(30)
    assert not world.sent
    world.source.upto = 0
    world.passes(30)
    (sent,) = world.sent
    assert (sent.tell.repeated, sent.tell.attempt) == (True, 1), "the letter speaks of a repetition in the first one"


def test_what_nobody_can_fetch_is_said_to_be_undelivered_and_the_rest_is_told():
    world, (first, second) = without_the_first_events(kept=True)
    world.passes(200)
    assert world.told() == [second]
    texts = [event.text for event in world.rig.machine.state.ledger.recent if event.kind is EventKind.UNDELIVERED]
    assert texts == [f"ops: witness w2 lacks events {first} to {first}"] * 2, "once a lane"


def test_a_burst_is_weighed_once_for_all_lanes():
    """On the loop that keeps the leases: 16 targets that each weighed 500 events against 1,000 took seconds."""
    world = begun(*(target(f"t{number}") for number in range(16)))
    source = world.source = Lacking(world.rig)
    for number in range(1_000):
        world.happens(EventKind.RELEASED, group=f"g{number}")
    desk = world.desks[world.leader]
    desk.step(source, InstantNs(world.now), WallMs(world.wall_ms), {})
    assert 0 < source.walked <= 2 * 1_000
