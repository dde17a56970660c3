"""The in-memory cluster's post: letters with a delay, which may be lost; the rest of its small values.

Letters between the same two nodes may overtake each other: what the real transport's FIFO forbids, a reconnect
allows, and the port promises neither.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from proto.invariants import require
from proto.units import NS_PER_MS, WitnessId


@dataclass(frozen=True, slots=True)
class Delivery:
    delay_ns_min: int = NS_PER_MS // 10
    delay_ns_max: int = NS_PER_MS
    loss: float = 0.0
    """Share of letters (notices and forwarded proposals) that never arrive, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Proposal:
    data: bytes


@dataclass(frozen=True, slots=True)
class Notice:
    """The leader's heartbeat: its term, and how much is committed."""

    term: int
    commit: int


@dataclass(frozen=True, slots=True)
class Appended:
    term: int
    data: bytes | None
    """None is the no-op of a new leader: an index without a command."""
    appended_ns: int


@dataclass(frozen=True, slots=True)
class Round:
    """Entries on their way to a majority, which has them at `due_ns`."""

    leader: WitnessId
    term: int
    entries: list[Appended]
    due_ns: int


@dataclass(frozen=True, slots=True, order=True)
class Pending:
    due_ns: int
    number: int
    sender: WitnessId = field(compare=False)
    to: WitnessId = field(compare=False)
    body: Proposal | Notice = field(compare=False)


class Post:
    def __init__(self, rng: random.Random, delivery: Delivery) -> None:
        self._rng = rng
        self._number = 0
        self.delivery = delivery
        self.pending: list[Pending] = []

    def delay_ns(self) -> int:
        span_ns = self.delivery.delay_ns_max - self.delivery.delay_ns_min
        require(span_ns >= 0, "the shortest delay exceeds the longest")
        return self.delivery.delay_ns_min + round(span_ns * self._rng.random())

    def send(self, sender: WitnessId, to: WitnessId, body: Proposal | Notice, now_ns: int) -> None:
        self._number += 1
        due_ns = now_ns + self.delay_ns()
        if self._rng.random() >= self.delivery.loss:
            heapq.heappush(self.pending, Pending(due_ns, self._number, sender, to, body))

    def due(self, now_ns: int) -> list[Pending]:
        letters = []
        while self.pending and self.pending[0].due_ns <= now_ns:
            letters.append(heapq.heappop(self.pending))
        return letters
