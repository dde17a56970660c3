"""What is replicated of telling people: who tells which lane of what, and which alarms nobody looks after yet.

Bounded: LANES_MAX lanes, ALARMS_MAX alarms. What a target is, and what it wants to know, stands in each witness's
configuration and is not replicated: it names files with secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proto.events import EventKind
from proto.units import Epoch, GroupId, SiteId, WallMs, WitnessId

LANES_MAX: Final = 64
"""Two a target; lanes of targets that are gone make room for new ones."""
LANE_CHARS_MAX: Final = 80
ALARMS_MAX: Final = 256
UNUSUAL_MAX: Final = 256
SERIES_CHARS_MAX: Final = 160


@dataclass(slots=True)
class Telling:
    """One lane of a target: the newest range of events that somebody took on to tell."""

    number: int
    told: int
    """Every event up to this one has been told there, given up, or was nothing for it."""
    upto: int
    """Above `told` while a telling is under way, or was when its witness ended."""
    witness: WitnessId
    failing: bool = False
    """The last one was given up: that is an event once, not again and again."""


@dataclass(slots=True)
class OpenAlarm:
    """Something critical that is not over. Under the number of its first event."""

    kind: EventKind
    group: GroupId | None
    site: SiteId | None
    epoch: Epoch
    wall_ms: WallMs
    newest: int
    """The number of its newest event: the same again is no new alarm."""
    count: int = 1
    acknowledged: str = ""
    """By whom; empty while nobody looks after it."""


@dataclass(slots=True)
class NotifyState:
    lanes: dict[str, Telling] = field(default_factory=dict)
    alarms: dict[int, OpenAlarm] = field(default_factory=dict)
    unusual: set[str] = field(default_factory=set)
    """Series that left what is usual for them."""
