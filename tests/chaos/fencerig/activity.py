"""The referee's report as intervals, and what follows from them. Pure.

An epoch is alive from the first stamp of any of its processes (its activation step is the first) until the referee saw
the kernel close the connection of its last one. Both ends err towards more life: the first is the process's own word
before it could be heard, the second the referee's, up to a look late. `signs` are the stamps alone: what was executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """One process of a platform, on CLOCK_BOOTTIME."""

    site: str
    epoch: int
    role: str
    first_ns: int
    last_ns: int
    stamps: int
    pause_max_ns: int
    heard_ns: int
    gone_ns: int | None


@dataclass(frozen=True, slots=True)
class Epoch:
    """All of one epoch's processes together."""

    site: str
    epoch: int
    first_ns: int
    last_sign_ns: int
    gone_ns: int | None
    """None while one of them exists."""


@dataclass(frozen=True, slots=True)
class Report:
    now_ns: int
    seen: tuple[Seen, ...]
    looks: dict[str, Any]

    def epochs(self) -> tuple[Epoch, ...]:
        """In their order."""
        found = []
        for number in sorted({one.epoch for one in self.seen}):
            members = [one for one in self.seen if one.epoch == number]
            ends = [one.gone_ns for one in members]
            gone = None if None in ends else max(end for end in ends if end is not None)
            last = max(one.last_ns for one in members)
            found.append(Epoch(members[0].site, number, min(one.first_ns for one in members), last, gone))
        return tuple(found)

    def epoch(self, number: int) -> Epoch | None:
        return next((one for one in self.epochs() if one.epoch == number), None)

    def newest(self) -> Epoch | None:
        return self.epochs()[-1] if self.seen else None


def read_report(raw: dict[str, Any]) -> Report:
    return Report(raw["now_ns"], tuple(Seen(**one) for one in raw["seen"]), raw["looks"])


@dataclass(frozen=True, slots=True)
class Dual:
    """How long two epochs were alive at once, in ns: as processes that exist, and by their own stamps."""

    alive_ns: int
    signs_ns: int


def dual(report: Report, since_epoch: int = 0) -> Dual:
    """Summed over all pairs of epochs from `since_epoch` on."""
    epochs = [one for one in report.epochs() if one.epoch >= since_epoch]
    return Dual(
        sum(_shared(one, other, report.now_ns, signs=False) for one, other in combinations(epochs, 2)),
        sum(_shared(one, other, report.now_ns, signs=True) for one, other in combinations(epochs, 2)),
    )


def _shared(one: Epoch, other: Epoch, now_ns: int, *, signs: bool) -> int:
    def end(epoch: Epoch) -> int:
        if signs:
            return epoch.last_sign_ns
        return now_ns if epoch.gone_ns is None else epoch.gone_ns

    return max(0, min(end(one), end(other)) - max(one.first_ns, other.first_ns))


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Least, median, greatest; None where nothing was measured."""
    if not values:
        return None
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return {"min": round(ordered[0], 1), "median": round(median, 1), "max": round(ordered[-1], 1)}
