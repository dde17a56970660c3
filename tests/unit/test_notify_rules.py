"""The replicated part of telling people: who tells what, and which alarms are open."""

from __future__ import annotations

import dataclasses

import pytest
from core_rig import AUTHOR, A, B, G, Rig, W

from proto.commands import Acknowledge, Author, BeginTelling, EndTelling, RaiseFeatureLevel
from proto.decisions import Reason
from proto.events import EventKind
from witness.core.machine import Machine
from witness.core.notify.rules import took_place, undelivered_target
from witness.core.notify.state import ALARMS_MAX, LANES_MAX, NotifyState
from witness.core.snapshot import decode_image

LANE = "ops.urgent"


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    assert made.one(RaiseFeatureLevel(2)).ok
    return made


def told(rig: Rig) -> NotifyState:
    return rig.machine.state.notify


def head(rig: Rig) -> int:
    return rig.machine.ledger.head_seq


def begin(rig: Rig, number: int, after: int, upto: int, witness=W[0], lane: str = LANE):
    return rig.one(BeginTelling(lane, number, after, upto, witness))


def test_of_two_that_begin_at_once_the_second_is_refused(rig):
    assert begin(rig, 1, 2, 3).ok
    assert begin(rig, 1, 2, 3, W[1]).reason is Reason.TOLD_ELSEWHERE
    lane = told(rig).lanes[LANE]
    assert (lane.told, lane.upto, lane.witness) == (2, 3, W[0])


def test_a_telling_is_ended_once_by_whoever_told_it(rig):
    assert begin(rig, 1, 2, 4).ok
    assert begin(rig, 2, 2, 4, W[1]).ok, "the next leader takes it over"
    assert rig.one(EndTelling(LANE, 4, True, "")).ok
    assert rig.one(EndTelling(LANE, 4, True, "")).reason is Reason.ALREADY_SO
    assert told(rig).lanes[LANE].told == 4


@pytest.mark.parametrize(("after", "upto"), [(1, 3), (4, 3), (3, 99)])
def test_a_range_begins_where_the_last_one_ended_and_ends_at_what_there_is(rig, after, upto):
    assert begin(rig, 1, 2, 2).ok
    assert begin(rig, 2, after, upto).reason is Reason.MALFORMED


@pytest.mark.parametrize("lane", ["", "ops", "Ops.urgent", "ops.urgent\n", "x" * 90 + ".urgent"])
def test_a_lane_has_a_name(rig, lane):
    assert begin(rig, 1, 1, 1, lane=lane).reason is Reason.MALFORMED


def test_that_a_target_cannot_be_told_is_one_event_until_it_can(rig):
    seen = []
    for number in (1, 2):
        assert begin(rig, number, head(rig), head(rig)).ok
    for number, ok in ((3, False), (4, False), (5, True), (6, False)):
        after = told(rig).lanes[LANE].told
        rig.beat(A, incarnation=f"i{number}")  # an event, so that there is something to tell
        assert begin(rig, number, after, after + 1).ok
        assert rig.one(EndTelling(LANE, after + 1, ok, "connection refused")).ok
        seen += [event for event in rig.last.events if event.kind is EventKind.UNDELIVERED]
    assert len(seen) == 2
    assert undelivered_target(seen[0]) == "ops"
    assert "connection refused" in seen[0].text


def test_lanes_are_bounded_and_the_least_told_makes_room(rig):
    for number in range(LANES_MAX + 1):
        at = min(number, head(rig))
        assert begin(rig, 1, at, at, lane=f"t{number}.urgent").ok
    assert len(told(rig).lanes) == LANES_MAX
    assert "t0.urgent" not in told(rig).lanes


def test_an_expiry_is_an_alarm_until_a_site_is_back(rig):
    rig.hold(A)
    rig.expire()
    (number,) = told(rig).alarms
    assert told(rig).alarms[number].kind is EventKind.EXPIRED
    assert rig.one(Acknowledge((number,), Author("ann", "on it"))).ok
    assert told(rig).alarms[number].acknowledged == "ann"
    assert rig.kinds() == ["acknowledged"]
    assert rig.one(Acknowledge((number,), AUTHOR)).reason is Reason.ALREADY_SO
    assert rig.one(Acknowledge((), AUTHOR)).reason is Reason.ALREADY_SO
    rig.hold(B, "another")
    assert not told(rig).alarms


def test_what_is_not_open_cannot_be_acknowledged(rig):
    outcome = rig.one(Acknowledge((7,), AUTHOR))
    assert outcome.reason is Reason.UNKNOWN_ALARM
    assert "7" in outcome.detail


def test_the_same_alarm_again_is_counted_and_open_anew(rig):
    rig.beat(A, incarnation="i1")
    rig.beat(A, incarnation="i2")
    rig.beat(A, incarnation="i1", seq=50)
    (number,) = told(rig).alarms
    assert rig.one(Acknowledge((), AUTHOR)).ok
    rig.beat(A, incarnation="i3")
    rig.beat(A, incarnation="i2", seq=50)
    alarm = told(rig).alarms[number]
    assert alarm.count == 2
    assert alarm.newest > number
    assert alarm.acknowledged == ""


def test_alarms_are_bounded(rig):
    notify = NotifyState()
    rig.hold(A)
    rig.expire()
    expired = next(event for event in rig.last.events if event.kind is EventKind.EXPIRED)
    for number in range(ALARMS_MAX + 5):
        took_place(notify, [dataclasses.replace(expired, seq=1_000 + number, group=f"g{number}")])
    assert len(notify.alarms) == ALARMS_MAX
    assert min(notify.alarms) == 1_005


def test_it_is_in_the_image(rig):
    rig.hold(A)
    rig.expire()
    assert begin(rig, 1, 3, 5).ok
    again = decode_image(rig.machine.snapshot())
    assert again.notify == told(rig)
    assert again.notify.alarms


def test_the_first_level_knows_none_of_it():
    rig = Rig()
    assert begin(rig, 1, 1, 1).reason is Reason.FEATURE_LEVEL
    rig.hold(A)
    rig.expire()
    assert not told(rig).alarms
    assert Machine().state.notify == NotifyState()
    assert rig.group.config.group == G
