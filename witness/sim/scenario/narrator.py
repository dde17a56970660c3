"""What is told of a world while a scenario runs, and how much of it.

    brief    who leads, who is granted what and why, when a platform begins and ends, what operators are answered
    normal   also processes, the life cycle of sites, claims, what agents alarm
    full     also connections, each renewal and each report

Rule: a line has a level when it is said; the time is true time in milliseconds since the world began.
"""

from __future__ import annotations

from enum import Enum

from proto.events import EventKind
from proto.units import NS_PER_MS

TEXT_CHARS = 150
"""Longer sentences are cut short, unless everything is told."""


class Detail(Enum):
    NONE = 0
    BRIEF = 1
    NORMAL = 2
    FULL = 3


EVENT_DETAIL = {
    EventKind.CLUSTER_FOUNDED: Detail.FULL,
    EventKind.FEATURE_RAISED: Detail.FULL,
    EventKind.GROUP_CREATED: Detail.NORMAL,
    EventKind.SITE_JOINED: Detail.FULL,
    EventKind.SITE_STATE: Detail.FULL,
    EventKind.CLAIMED: Detail.NORMAL,
    EventKind.SITE_RESTARTED: Detail.NORMAL,
}
"""All others are brief."""
_WITNESS_DETAIL = (
    ("leads", Detail.BRIEF),
    ("is connected", Detail.FULL),
    ("loses the connection", Detail.FULL),
    ("refuses a proposal", Detail.FULL),
)


class Narrator:
    def __init__(self) -> None:
        self.detail = Detail.NORMAL
        self._lines: list[str] = []

    def say(self, detail: Detail, at_ns: int, who: str, what: str) -> None:
        if detail.value > self.detail.value:
            return
        if len(what) > TEXT_CHARS and self.detail is not Detail.FULL:
            what = f"{what[:TEXT_CHARS]} ..."
        self._lines.append(f"{at_ns // NS_PER_MS:>7} {who:<8} {what}")

    def take(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines


def note_detail(what: str) -> Detail:
    """Of a line that machines say themselves."""
    return next((detail for begins, detail in _WITNESS_DETAIL if what.startswith(begins)), Detail.NORMAL)


def event_detail(kind: EventKind) -> Detail:
    return EVENT_DETAIL.get(kind, Detail.BRIEF)
