"""The replicated part of telling people: a telling is begun by a command before anything is sent, and ended by one.

Rule: a lane's telling is a compare-and-set on its number, so that of two witnesses that both believe to lead one tells.
Between the begin and the end a witness may die: whether the target was told is then unknown, and the next leader tells
exactly the same range again, with the same idempotency key (docs/adr/0021). So each event is told at least once, and
more than once only where a witness ended in between.

Alarms are opened by critical events and closed by the events that end them (proto/severity.py); acknowledging one says
who looks after it, and stops the reminders.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from proto import limits
from proto.commands import Acknowledge, BeginTelling, EndTelling, NoteUnusual
from proto.decisions import Reason
from proto.events import Event, EventKind
from proto.severity import Severity, ends, severity_of
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, refused
from witness.core.notify.state import (
    ALARMS_MAX,
    LANE_CHARS_MAX,
    LANES_MAX,
    SERIES_CHARS_MAX,
    UNUSUAL_MAX,
    NotifyState,
    OpenAlarm,
    Telling,
)

SINCE_LEVEL: Final = 2
_LANE: Final = re.compile(r"[a-z0-9-]+\.[a-z]+")


def begin(scope: Scope, command: BeginTelling) -> Outcome:
    lanes, head = scope.state.notify.lanes, scope.state.ledger.head_seq
    if len(command.lane) > LANE_CHARS_MAX or _LANE.fullmatch(command.lane) is None:
        return refused(Reason.MALFORMED, f"lane {command.lane[:LANE_CHARS_MAX]!r}")
    lane = lanes.get(command.lane)
    number, told = (0, 0) if lane is None else (lane.number, lane.told)
    if command.number != number + 1:
        return refused(Reason.TOLD_ELSEWHERE, f"telling {command.number} of {command.lane}, the newest is {number}")
    if not told <= command.after <= command.upto <= head:
        return refused(Reason.MALFORMED, f"told {told}, after {command.after}, up to {command.upto}, head {head}")
    if lane is None:
        _make_room(lanes)
    failing = lane is not None and lane.failing
    lanes[command.lane] = Telling(command.number, command.after, command.upto, command.witness, failing)
    return DONE


def _make_room(lanes: dict[str, Telling]) -> None:
    """The lane that was told least goes: that of a target that is configured nowhere any more."""
    if len(lanes) >= LANES_MAX:
        del lanes[min(lanes, key=lambda name: (lanes[name].told, name))]


def end(scope: Scope, command: EndTelling) -> Outcome:
    lane = scope.state.notify.lanes.get(command.lane)
    if lane is None or command.upto > lane.upto:
        return refused(Reason.MALFORMED, f"nobody began to tell {command.lane[:LANE_CHARS_MAX]} up to {command.upto}")
    if command.upto <= lane.told:
        return refused(Reason.ALREADY_SO)
    lane.told = command.upto
    if command.told:
        lane.failing = False
    elif not lane.failing:
        lane.failing = True
        scope.ledger.append(EventKind.UNDELIVERED, undelivered_text(command.lane, command.text))
    return DONE


def undelivered_text(lane: str, why: str) -> str:
    return f"{lane.partition('.')[0]}: {why}"[: limits.TEXT_CHARS_MAX]


def undelivered_target(event: Event) -> str:
    """Which target an UNDELIVERED event is about: it is not told that it cannot be told."""
    return event.text.partition(":")[0]


def acknowledge(scope: Scope, command: Acknowledge) -> Outcome:
    alarms = scope.state.notify.alarms
    unknown = [number for number in command.alarms if number not in alarms]
    if unknown:
        return refused(Reason.UNKNOWN_ALARM, ", ".join(str(number) for number in unknown)[: limits.TEXT_CHARS_MAX])
    chosen = [number for number in command.alarms or tuple(alarms) if not alarms[number].acknowledged]
    if not chosen:
        return refused(Reason.ALREADY_SO)
    for number in chosen:
        alarm = alarms[number]
        alarm.acknowledged = command.author.name[: limits.TEXT_CHARS_MAX] or "?"
        why = f" ({command.author.reason})" if command.author.reason else ""
        scope.ledger.append(
            EventKind.ACKNOWLEDGED,
            f"alarm {number}, {alarm.kind.value}{why}",
            group=alarm.group,
            site=alarm.site,
            epoch=alarm.epoch,
            author=command.author.name,
        )
    return DONE


def note_unusual(scope: Scope, command: NoteUnusual) -> Outcome:
    """Each series is told of when it leaves what is usual, and when it comes back."""
    unusual = scope.state.notify.unusual
    if not 0 < len(command.series) <= SERIES_CHARS_MAX:
        return refused(Reason.MALFORMED, f"a series has 1 to {SERIES_CHARS_MAX} characters")
    if (command.series in unusual) is not command.over:
        return refused(Reason.ALREADY_SO)
    if not command.over and len(unusual) >= UNUSUAL_MAX:
        return refused(Reason.OVERLOADED, f"{UNUSUAL_MAX} series are unusual already")
    if command.over:
        unusual.discard(command.series)
    else:
        unusual.add(command.series)
    kind = EventKind.USUAL_AGAIN if command.over else EventKind.UNUSUAL
    scope.ledger.append(kind, command.text, group=command.group, site=command.site)
    return DONE


def took_place(notify: NotifyState, events: Iterable[Event]) -> None:
    """Opens and closes alarms; after every entry, on every witness alike."""
    alarms = notify.alarms
    for event in events:
        for number in [number for number, alarm in alarms.items() if ends(event, alarm)]:
            del alarms[number]
        if severity_of(event.kind) is Severity.CRITICAL:
            _open(alarms, event)


def _open(alarms: dict[int, OpenAlarm], event: Event) -> None:
    """The same again is the same alarm, and nobody looks after it any more until he says so again."""
    for alarm in alarms.values():
        if (alarm.kind, alarm.group, alarm.site) == (event.kind, event.group, event.site):
            alarm.count += 1
            alarm.newest, alarm.epoch, alarm.acknowledged = event.seq, event.epoch, ""
            return
    if len(alarms) >= ALARMS_MAX:
        del alarms[min(alarms, key=lambda number: (not alarms[number].acknowledged, number))]
    alarms[event.seq] = OpenAlarm(event.kind, event.group, event.site, event.epoch, event.wall_ms, event.seq)
