"""The referee's arithmetic: who was alive when, by the signs that reached the license server, and nothing else.

Rule: an instance was alive from its first sign to its last one. Two instances whose intervals touch were alive at
once, whatever anybody else says about it; one clock, the referee's, stamps everything. An epoch that does not grow
from one activation to the next is an alarm of its own. Nothing is refused here: an overlap must be seen, not hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import combinations, pairwise

LIVES_MAX = 1_000
"""Activations of one key that are remembered; a real vendor would have locked the key long before."""
ALARMS_MAX = 1_000


class SignKind(Enum):
    ACTIVATE = "activate"
    ALIVE = "alive"
    DEACTIVATE = "deactivate"


class AlarmKind(Enum):
    OVERLAP = "overlap"
    EPOCH = "epoch"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sign:
    """What an instance told the license server, stamped when it arrived."""

    at_ns: int
    kind: SignKind
    key: str
    instance: str
    site: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Alarm:
    at_ns: int
    kind: AlarmKind
    text: str


@dataclass(slots=True)
class Life:
    """One activated instance, from its first sign to its last."""

    instance: str
    site: str
    epoch: int
    first_ns: int
    last_ns: int
    signs: int = 1
    silent_max_ns: int = 0
    """The longest time between two signs."""
    deactivated: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    one: str
    other: str
    from_ns: int
    until_ns: int

    @property
    def seconds(self) -> float:
        return (self.until_ns - self.from_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Move:
    """From the last sign of one instance to the first one of the next."""

    from_site: str
    to_site: str
    last_ns: int
    first_ns: int
    clean: bool
    """The former instance gave its license back."""

    @property
    def seconds(self) -> float:
        return (self.first_ns - self.last_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Verdict:
    activations: int
    overlaps: tuple[Overlap, ...]
    moves: tuple[Move, ...]
    alarms: tuple[Alarm, ...]

    @property
    def overlap_s(self) -> float:
        return sum(overlap.seconds for overlap in self.overlaps)


@dataclass(slots=True)
class Referee:
    """One license key's history; the license server keeps one for each key."""

    lives: list[Life] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    _by_instance: dict[str, Life] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def hear(self, sign: Sign) -> tuple[Alarm, ...]:
        """Takes one sign in, in the order of their arrival; returns the alarms that it raises."""
        before = len(self.alarms)
        life = self._by_instance.get(sign.instance)
        if life is None:
            life = self._begin(sign)
        else:
            life.silent_max_ns = max(life.silent_max_ns, sign.at_ns - life.last_ns)
            life.last_ns = sign.at_ns
            life.signs += 1
        if life.deactivated and sign.kind is not SignKind.DEACTIVATE:
            life.deactivated = False
            self._alarm(sign, AlarmKind.UNKNOWN, f"{_name(life)} came back after it had given its license back")
        if sign.kind is SignKind.DEACTIVATE:
            life.deactivated = True
        self._look_for_others(life, sign)
        return tuple(self.alarms[before:])

    def _begin(self, sign: Sign) -> Life:
        if sign.kind is not SignKind.ACTIVATE:
            text = f"{sign.site} ({sign.instance}) says '{sign.kind.value}' and was never activated"
            self._alarm(sign, AlarmKind.UNKNOWN, text)
        highest = max((life.epoch for life in self.lives), default=0)
        if sign.epoch <= highest:
            text = f"{sign.site} activates with epoch {sign.epoch}, but epoch {highest} was here already"
            self._alarm(sign, AlarmKind.EPOCH, text)
        life = Life(sign.instance, sign.site, sign.epoch, sign.at_ns, sign.at_ns)
        if len(self.lives) < LIVES_MAX:
            self.lives.append(life)
            self._by_instance[sign.instance] = life
        else:
            self._alarm(sign, AlarmKind.UNKNOWN, f"{LIVES_MAX} activations are remembered, this one is not")
        return life

    def _look_for_others(self, life: Life, sign: Sign) -> None:
        for other in self.lives:
            if other is life or other.last_ns < life.first_ns:
                continue
            pair = (min(other.instance, life.instance), max(other.instance, life.instance))
            if pair not in self._told:
                self._told.add(pair)
                self._alarm(sign, AlarmKind.OVERLAP, f"{_name(life)} and {_name(other)} are alive at once")

    def _alarm(self, sign: Sign, kind: AlarmKind, text: str) -> None:
        if len(self.alarms) < ALARMS_MAX:
            self.alarms.append(Alarm(sign.at_ns, kind, text))

    def verdict(self) -> Verdict:
        return Verdict(len(self.lives), overlaps(self.lives), moves(self.lives), tuple(self.alarms))


def _name(life: Life) -> str:
    return f"{life.site} epoch {life.epoch} ({life.instance})"


def overlaps(lives: Sequence[Life]) -> tuple[Overlap, ...]:
    """Every pair of instances that were alive at once, of one site or of two; touching counts."""
    found: list[Overlap] = []
    for one, other in combinations(lives, 2):
        start, end = max(one.first_ns, other.first_ns), min(one.last_ns, other.last_ns)
        if start <= end:
            found.append(Overlap(_name(one), _name(other), start, end))
    return tuple(found)


def moves(lives: Sequence[Life]) -> tuple[Move, ...]:
    """The changes from one instance to the next in the order in which they began."""
    ordered = sorted(lives, key=lambda life: life.first_ns)
    return tuple(
        Move(one.site, other.site, one.last_ns, other.first_ns, one.deactivated) for one, other in pairwise(ordered)
    )
