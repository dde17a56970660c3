"""The network between agents and witnesses: what is sent arrives late, twice, out of order, or never.

Rule: a message is judged when it is sent: cut, lost, doubled, and how late. Overtaking comes from unequal delays,
which TCP forbids within a connection and a reconnect allows; the cores must not care. Witnesses talk to each other
through the consensus body, which has its own post (witness.raft.memory_network).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from proto.units import NS_PER_MS
from witness.sim.clock import Events


@dataclass(slots=True)
class Weather:
    """How messages fare. The defaults are a calm day between datacenters."""

    loss: float = 0.0
    double: float = 0.0
    delay_ns_min: int = NS_PER_MS // 2
    delay_ns_max: int = 2 * NS_PER_MS
    slow: float = 0.0
    """Share of messages that take up to `slow_ns_max` instead."""
    slow_ns_max: int = 0


class Network:
    def __init__(self, events: Events, rng: random.Random, hit: Callable[[str], None]) -> None:
        self.weather = Weather()
        self._events = events
        self._rng = rng
        self._hit = hit
        self._cut: set[tuple[str, str]] = set()

    def cut(self, sender: str, to: str) -> None:
        """One way only; the other way is a cut of its own."""
        self._cut.add((sender, to))

    def mend(self, sender: str, to: str) -> None:
        self._cut.discard((sender, to))

    def mend_all(self) -> None:
        self._cut.clear()
        self.weather = Weather()

    def open(self, sender: str, to: str) -> bool:
        return (sender, to) not in self._cut

    def carry(self, sender: str, to: str, deliver: Callable[[], None]) -> None:
        weather = self.weather
        if (sender, to) in self._cut:
            self._hit("message-cut")
            return
        if weather.loss and self._rng.random() < weather.loss:
            self._hit("message-lost")
            return
        self._events.after(self._delay_ns(), deliver)
        if weather.double and self._rng.random() < weather.double:
            self._hit("message-doubled")
            self._events.after(self._delay_ns(), deliver)

    def _delay_ns(self) -> int:
        weather = self.weather
        if weather.slow and self._rng.random() < weather.slow:
            self._hit("message-slow")
            return self._rng.randint(weather.delay_ns_max, weather.slow_ns_max)
        return self._rng.randint(weather.delay_ns_min, weather.delay_ns_max)
