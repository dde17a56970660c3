"""How a group is held on this host, in the words that reports and the status carry, and what its guard lacks for it.

The strongest way needs no explanation, so it is one word; whatever is weaker, or is missing something, says what.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from agents.actions.parts import RunnerReports
from agents.fencing.base import Containment, Down, Guard, GuardStatus
from agents.fencing.containment import NOTES
from proto.units import NS_PER_MS, GroupId

WORDS_CHARS_MAX = 300


def containment_words(status: GuardStatus) -> str:
    kind = status.containment
    note = status.note
    if kind is Containment.PID_NAMESPACE:
        note = note.removeprefix(NOTES[kind.value]).strip(" ;")
    return (f"{kind.value} ({note})" if note else kind.value)[:WORDS_CHARS_MAX]


def down_words(down: Down) -> dict[str, object]:
    """For the log: by whose act, and each rung that was climbed, when, and what it found."""
    rungs = [f"{rung.name} +{rung.after_ms} ms {rung.found}".strip() for rung in down.rungs]
    return {"cause": down.cause, "by": down.by.value, "duration_ms": down.duration_ms, "rungs": rungs}


def resource_words(names: tuple[str, ...], guard: Guard | None, now_ns: int) -> list[dict[str, object]]:
    """For the status: what the kernel may hold for the group, at most for how long, and what stands against it."""
    held = {} if guard is None else {one.name: one for one in guard.resources}
    rows: list[dict[str, object]] = []
    for name in names:
        one = held.get(name)
        left_ms = 0 if one is None else max(0, one.gone_by_ns - now_ns) // NS_PER_MS
        rows.append({"name": name, "held": left_ms > 0, "at_most_ms": left_ms, "problem": one.problem if one else ""})
    return rows


class LacksReport:
    """Owned by one runner: tells what changed, once."""

    def __init__(self, group: GroupId, reports: RunnerReports) -> None:
        self._group = group
        self._reports = reports
        self.ladder: tuple[str, ...] = ()
        """The rungs that can be had here; empty until a guard said so."""
        self.privileges: Mapping[str, bool] = {}
        self._told: tuple[str, ...] = ()
        self._log = structlog.stdlib.get_logger("agents.actions").bind(group=group)

    def status(self, resources: tuple[str, ...], guard: Guard | None, now_ns: int) -> dict[str, object]:
        held = resource_words(resources, guard, now_ns)
        return {"ladder": self.ladder, "privileges": dict(self.privileges), "resources": held}

    def ready(self, status: GuardStatus) -> None:
        """Of a guard that has started."""
        self.ladder = status.ladder
        self.privileges = status.privileges
        self.heard(status.missing)

    def heard(self, lacks: tuple[str, ...]) -> None:
        if lacks == self._told:
            return
        self._told = lacks
        self._log.log(30 if lacks else 20, "guard.lacks", what=list(lacks))
        self._reports.guard_lacks(self._group, lacks)
