"""Says again what nobody looks after: open alarms, every `remind_every` until they are acknowledged or over.

Rule: the n-th reminder of an alarm is due when n periods have passed since its first event, by the wall clock, which is
the same on every witness: a new leader goes on where the old one was, without anything being replicated for it. At a
change of leaders one may be missed or come twice; the alarms themselves are not (witness/core/notify/desk.py). A wall
clock that was set wrong makes a reminder early or late, no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from proto.severity import MEANING, Severity
from proto.units import ClusterId, WallMs
from witness.core.notify.lanes import chosen
from witness.core.notify.settings import NotifySettings, Target
from witness.core.notify.state import OpenAlarm


@dataclass(frozen=True, slots=True)
class Remind:
    """Tried once: the next one comes anyway."""

    target: Target
    key: str
    alarms: tuple[tuple[int, OpenAlarm], ...]
    """By the number of their first event, oldest first."""


class Reminders:
    def __init__(self, settings: NotifySettings, cluster: ClusterId) -> None:
        self._settings = settings
        self._cluster = cluster
        self._since: WallMs | None = None
        """Up to when reminders were looked for; None while this witness does not lead."""

    def lead(self, *, leading: bool) -> None:
        if not leading:
            self._since = None

    def step(self, alarms: Mapping[int, OpenAlarm], wall_ms: WallMs) -> list[Remind]:
        since, self._since = self._since, wall_ms
        if since is None or not alarms:
            return []
        due = sorted(
            (number, alarm)
            for number, alarm in alarms.items()
            if not alarm.acknowledged and self._number(alarm, wall_ms) > max(0, self._number(alarm, since))
        )
        if not due:
            return []
        return [remind for target in self._settings.targets for remind in self._for(target, due, wall_ms)]

    def _number(self, alarm: OpenAlarm, wall_ms: WallMs) -> int:
        return (wall_ms - alarm.wall_ms) // self._settings.remind_every_ms

    def _for(self, target: Target, due: list[tuple[int, OpenAlarm]], wall_ms: WallMs) -> list[Remind]:
        mine = tuple((number, alarm) for number, alarm in due if reminded(target, alarm))
        if not mine:
            return []
        said = f"{self._cluster}/{target.name}/remind/" + ",".join(
            f"{number}.{self._number(alarm, wall_ms)}" for number, alarm in mine
        )
        return [Remind(target, hashlib.sha256(said.encode()).hexdigest()[:32], mine)]


def reminded(target: Target, alarm: OpenAlarm) -> bool:
    """Whether the target was told of the alarm, and wants reminders."""
    kind = alarm.kind.value
    if not target.remind or MEANING[alarm.kind].severity is not Severity.CRITICAL:
        return False
    if alarm.group is not None and not chosen(alarm.group, target.groups):
        return False
    return (not target.kinds or kind in target.kinds) and kind not in target.kinds_not
