"""Which round does what: a point, how often it is passed before it acts, and how the campaign gets a witness there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from witness.raft.failpoints import POINTS


class Way(Enum):
    LOAD = "any witness, under load"
    LEADER = "the leader, under load"
    ELECTION = "a follower, while the leader dies"
    LAG = "a witness that was away for longer than the log reaches back"
    RESTART = "a witness that starts"


class Mode(Enum):
    ONE = "one"
    """The witness at the point dies."""
    TWO = "two"
    """And another one a little later: for a while there is no majority."""
    ALL = "all"
    """It kills the two others first: all three are dead within microseconds."""
    STOP = "stop"
    """It stops for longer than an election, and goes on."""
    FAIL = "fail"
    """Its disk fails there: it must end by itself, and acknowledge nothing more."""


_PREFIXES = (
    (("early-send", "between-peers"), Way.LEADER),
    (("vote",), Way.ELECTION),
    (("install", "adopt", "journal-truncate"), Way.LAG),
    (("start-checkpoint", "admitted"), Way.RESTART),
)
_SELDOM = ("journal-trim", "journal-marks", "checkpoint", "image", "snapshot", "directory-sync", "log-trim")
"""Once in some dozens of entries; the others are passed in every turn."""
_DISK = ("journal", "note", "checkpoint", "snapshot", "directory-sync")
COUNT_MAX, SELDOM_MAX = 60, 2


def way_to(point: str) -> Way:
    return next((way for starts, way in _PREFIXES if point.startswith(starts)), Way.LOAD)


def points_for(mode: Mode) -> tuple[str, ...]:
    if mode is Mode.FAIL:
        return tuple(name for name in POINTS if name.startswith(_DISK) and way_to(name) is Way.LOAD)
    if mode is Mode.STOP:
        return tuple(name for name in POINTS if way_to(name) in (Way.LOAD, Way.LEADER))
    return tuple(POINTS)


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    mode: Mode
    point: str
    way: Way
    count: int
    action: str
    large: bool
    seed: str

    @property
    def order(self) -> str:
        return f"{self.point}:{self.count}:{self.action}"

    def __str__(self) -> str:
        return f"round {self.number}: {self.mode.value}, {self.order}, {self.way.value}"


_MIXED = (Mode.ONE, Mode.ALL, Mode.ONE, Mode.ALL, Mode.TWO, Mode.ONE, Mode.ALL, Mode.STOP, Mode.FAIL)


def plan(seed: int, number: int, mode: Mode | None, only: str | None = None) -> Round:
    """Round `number` of a campaign: the same for the same seed. Every point of a mode comes before any comes again."""
    chosen = _MIXED[number % len(_MIXED)] if mode is None else mode
    points = points_for(chosen)
    laps, at = divmod(number, len(_MIXED))
    # In a mixed campaign each mode visits its points in turn too: the how-manieth round of its mode is this one?
    turn = number if mode is not None else laps * _MIXED.count(chosen) + _MIXED[:at].count(chosen)
    lap, place = divmod(turn, len(points))
    order = random.Random(f"{seed}-{chosen.value}-{lap}").sample(points, len(points))
    point = only or order[place]
    rng = random.Random(f"{seed}-{number}")
    way = way_to(point)
    highest = 1 if way in (Way.LAG, Way.RESTART) else SELDOM_MAX if point.startswith(_SELDOM) else COUNT_MAX
    if way is Way.ELECTION:
        highest = 1
    action = {Mode.STOP: "stop", Mode.FAIL: rng.choice(("eio", "enospc"))}.get(chosen, "kill")
    return Round(number, chosen, point, way, rng.randint(1, highest), action, rng.random() < 0.2, f"{seed}-{number}")
