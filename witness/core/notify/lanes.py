"""What is told to whom: a pure function of an event, what it ends, and a target's rules.

Every event goes to a target's *urgent* lane when it weighs critical, else to its *routine* lane, or to neither:

1. It weighs at least the target's `severity` (an end weighs what it ends, proto/severity.py).
2. Its group is one of the target's `groups`. What concerns no single group goes to targets without `groups`, and to all
   of them when it is critical.
3. Its kind is one of `kinds`, and none of `kinds_not`.
4. That a target cannot be told is not told to that target.

The urgent lane waits for nothing. The routine lane waits `group_wait` for more, `group_interval` since the notification
before, and for the end of quiet hours. Quiet hours never hold back what is critical: it is in the other lane.
docs/operating/notifications.md has the same table for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proto.events import Event, EventKind
from proto.severity import Severity, ended_by, severity_of
from proto.units import WallMs
from witness.core.notify.rules import undelivered_target
from witness.core.notify.settings import QuietHours, Target

MINUTES_A_DAY: Final = 1_440
_MS_A_MINUTE: Final = 60_000
_MONDAY: Final = 3
"""1970 began on a Thursday, the fourth day of its week."""


class Lane(Enum):
    URGENT = "urgent"
    ROUTINE = "routine"


def lane_name(target: str, lane: Lane) -> str:
    """As the replicated state knows it."""
    return f"{target}.{lane.value}"


@dataclass(frozen=True, slots=True)
class Told:
    """An event as a target is told of it."""

    event: Event
    weight: Severity
    ends: Event | None = None
    """What is over by it."""
    count: int = 1
    """The same again, within one notification."""


def told_of(event: Event, before: Iterable[Event]) -> Told:
    """`before`: the events before it, newest first."""
    own, ended = severity_of(event.kind), ended_by(event, before)
    if ended is None:
        return Told(event, own)
    other = severity_of(ended.kind)
    return Told(event, own if own.reaches(other) else other, ended)


def lane_of(target: Target, told: Told) -> Lane | None:
    """None: it is nothing for this target."""
    event, kind = told.event, told.event.kind.value
    if not told.weight.reaches(Severity(target.severity)):
        return None
    if not _concerns(target, told):
        return None
    if (target.kinds and kind not in target.kinds) or kind in target.kinds_not:
        return None
    if event.kind is EventKind.UNDELIVERED and undelivered_target(event) == target.name:
        return None
    return Lane.URGENT if told.weight is Severity.CRITICAL else Lane.ROUTINE


def _concerns(target: Target, told: Told) -> bool:
    if not target.groups:
        return True
    if told.event.group is None:
        return told.weight is Severity.CRITICAL
    return chosen(told.event.group, target.groups)


def chosen(group: str, patterns: tuple[str, ...]) -> bool:
    """`patterns`: names, or beginnings with a '*' behind them; none: every group."""
    return not patterns or any(group.startswith(one[:-1]) if one.endswith("*") else group == one for one in patterns)


def collapsed(found: Iterable[Told]) -> tuple[Told, ...]:
    """The same kind, group, site and text again becomes a count, at the place of the newest."""
    by_what: dict[tuple[object, ...], Told] = {}
    for told in found:
        event = told.event
        what = (event.kind, event.group, event.site, event.text)
        before = by_what.pop(what, None)
        count = told.count + (0 if before is None else before.count)
        by_what[what] = Told(event, told.weight, told.ends, count)
    return tuple(by_what.values())


def quiet(target: Target, hours: Iterable[QuietHours], wall_ms: WallMs, offsets: Mapping[str, int]) -> bool:
    """`offsets`: minutes that each time zone is ahead of UTC now. A zone that is not known there is never quiet."""
    return any(
        _within(one, wall_ms // _MS_A_MINUTE + offsets[one.time_zone])
        for one in hours
        if one.name in target.quiet_hours and one.time_zone in offsets
    )


def _within(hours: QuietHours, local_min: int) -> bool:
    day, minute = divmod(local_min, MINUTES_A_DAY)
    weekday = (day + _MONDAY) % 7
    if hours.start_min < hours.end_min:
        return weekday in hours.days and hours.start_min <= minute < hours.end_min
    began_yesterday = (weekday - 1) % 7 in hours.days and minute < hours.end_min
    return began_yesterday or (weekday in hours.days and minute >= hours.start_min)
