"""What is sent, in the two forms that every means understands: words for people, fields for programs.

One letter is made for one attempt at one target. `key` is the same whoever sends the same events to the same target
and however often: receivers that remember it tell a repetition from something new.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from proto.events import Event
from proto.severity import MEANING, Severity
from proto.units import ClusterId, WallMs, WitnessId
from witness.core.notify.desk import Tell
from witness.core.notify.lanes import Told
from witness.core.notify.reminders import Remind
from witness.core.notify.state import OpenAlarm

VERSION: Final = 1
TITLE_CHARS_MAX: Final = 140
REPEATED: Final = "(this may be a repetition: a witness ended while it was telling)"


@dataclass(frozen=True, slots=True)
class Letter:
    key: str
    kind: str
    """events, reminder, test or ping."""
    severity: Severity
    over: bool
    """It tells of ends only: the trouble is over."""
    title: str
    text: str
    fields: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What webhooks and commands are given."""
        return {
            "version": VERSION,
            "id": self.key,
            "type": self.kind,
            "severity": self.severity.value,
            "over": self.over,
            "title": self.title,
            "text": self.text,
            **self.fields,
        }


@dataclass(frozen=True, slots=True)
class Sender:
    cluster: ClusterId
    witness: WitnessId

    def fields(self, target: str) -> dict[str, Any]:
        return {"cluster": self.cluster, "witness": self.witness, "target": target}


def at_words(wall_ms: WallMs) -> str:
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds")


def of_events(sender: Sender, tell: Tell) -> Letter:
    severity = min((told.weight for told in tell.found), key=list(Severity).index)
    over = all(told.ends is not None for told in tell.found)
    lines = [_line(told) for told in tell.found]
    again = tell.repeated and tell.attempt == 1
    fields = {
        **sender.fields(tell.target.name),
        "repeated": tell.repeated,
        "events": [_fields(told) for told in tell.found],
    }
    text = "\n".join([*lines, *([REPEATED] if again else [])])
    return Letter(tell.key, "events", severity, over, _title(severity, tell.found, over=over), text, fields)


def _title(severity: Severity, found: tuple[Told, ...], *, over: bool) -> str:
    """The weightiest first: a screen of a telephone shows little more."""
    first = min(found, key=lambda told: list(Severity).index(told.weight))
    mark = "OVER" if over else severity.value.upper()
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"[{mark}] {_where(first.event)}: {MEANING[first.event.kind].words}{more}"[:TITLE_CHARS_MAX]


def _where(event: Event | OpenAlarm) -> str:
    return " ".join(str(part) for part in (event.group, event.site) if part) or "cluster"


def _line(told: Told) -> str:
    event = told.event
    at = at_words(event.wall_ms)[11:19]
    epoch = f" epoch {event.epoch}" if event.epoch else ""
    by = "" if event.author == "witness" else f" [{event.author}]"
    ends = "" if told.ends is None else f" (over: {told.ends.kind.value} of {at_words(told.ends.wall_ms)[11:19]})"
    count = f" (x{told.count})" if told.count > 1 else ""
    words = MEANING[event.kind].words
    return f"{at} UTC {_where(event)}{epoch}{by}: {words}: {event.text}{count}{ends} (#{event.seq} {event.kind.value})"


def _fields(told: Told) -> dict[str, Any]:
    event = told.event
    return {
        "seq": event.seq,
        "at": at_words(event.wall_ms),
        "kind": event.kind.value,
        "severity": told.weight.value,
        "words": MEANING[event.kind].words,
        "group": event.group,
        "site": event.site,
        "epoch": event.epoch,
        "author": event.author,
        "text": event.text,
        "count": told.count,
        "ends": None if told.ends is None else told.ends.seq,
    }


def alarm_fields(number: int, alarm: OpenAlarm) -> dict[str, Any]:
    return {
        "alarm": number,
        "since": at_words(alarm.wall_ms),
        "kind": alarm.kind.value,
        "words": MEANING[alarm.kind].words,
        "group": alarm.group,
        "site": alarm.site,
        "epoch": alarm.epoch,
        "count": alarm.count,
        "newest": alarm.newest,
        "acknowledged": alarm.acknowledged or None,
    }


def of_reminder(sender: Sender, remind: Remind) -> Letter:
    lines = [
        f"since {at_words(alarm.wall_ms)[:16]} UTC {_where(alarm)}: {MEANING[alarm.kind].words} (alarm {number})"
        for number, alarm in remind.alarms
    ]
    first = remind.alarms[0][1]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    title = f"[REMINDER] {_where(first)}: {MEANING[first.kind].words}{more}"[:TITLE_CHARS_MAX]
    text = "\n".join([*lines, "Nobody looks after this yet: witnessctl notify ack NUMBER --reason ..."])
    alarms = [alarm_fields(number, alarm) for number, alarm in remind.alarms]
    fields = {**sender.fields(remind.target.name), "repeated": False, "alarms": alarms}
    return Letter(remind.key, "reminder", Severity.CRITICAL, False, title, text, fields)


def of_test(sender: Sender, target: str, key: str, author: str) -> Letter:
    title = f"[TEST] thirdsite: {target} can be reached from {sender.witness}"
    text = f"{author} asked witness {sender.witness} of cluster {sender.cluster} to send this. Nothing happened."
    fields = {**sender.fields(target), "repeated": False, "author": author}
    return Letter(key, "test", Severity.INFO, False, title, text, fields)


def of_ping(sender: Sender, monitor: str, key: str, groups: Iterable[str]) -> Letter:
    known = sorted(groups)
    text = f"{len(known)} groups are as they should be"
    fields = {**sender.fields(monitor), "groups": known[:100]}
    return Letter(key, "ping", Severity.DETAIL, True, "thirdsite is well", text, fields)
