"""An agent's stream, a witness's meter and a network between them: true time, clocks with rates and steps, delays."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.core.streams import Stream
from proto.clock_rate import ClockState, RateBounds, clock_state
from proto.messages import Ping, Pong
from proto.units import NS_PER_S, PPM, Incarnation, InstantNs, Nonce
from witness.core.clock_rates import RateMeter

INCARNATION = Incarnation(b"i" * 16)


@dataclass
class Clock:
    """`rates`: (from this true second on, millionths of true time); `steps`: (true second, by so many seconds ahead).

    A clock that stands still has the rate 0.
    """

    rates: Sequence[tuple[float, int]] = ((0, PPM),)
    steps: Sequence[tuple[float, float]] = ()
    booted_ns: int = 77 * NS_PER_S

    def at(self, true_ns: int) -> InstantNs:
        gone = 0
        for number, (since_s, rate) in enumerate(self.rates):
            begin = round(since_s * NS_PER_S)
            end = (
                true_ns if number + 1 == len(self.rates) else min(true_ns, round(self.rates[number + 1][0] * NS_PER_S))
            )
            gone += max(0, end - begin) * rate
        ahead = sum(round(by * NS_PER_S) for at, by in self.steps if true_ns >= round(at * NS_PER_S))
        return InstantNs(self.booted_ns + gone // PPM + ahead)


@dataclass(frozen=True)
class Way:
    """One ping's fate, in seconds: out, in the witness's queue before it is read, back."""

    out: float = 0.001
    back: float = 0.001
    lost: bool = False
    pong_lost: bool = False
    doubled_after: float | None = None
    """The very same ping comes once more, so long after the first."""


@dataclass
class Talk:
    agent: Clock = field(default_factory=Clock)
    witness: Clock = field(default_factory=Clock)
    seen: list[tuple[float, RateBounds]] = field(default_factory=list)
    """Each time that a row was whole: true second, and its bounds."""
    windows: list[RateBounds] = field(default_factory=list)
    """Each window by itself, also while there are too few for a row."""
    meter: RateMeter = field(default_factory=lambda: RateMeter(INCARNATION))
    stream: Stream = field(default_factory=lambda: Stream(leading=True, features=2))
    now_ns: int = 0

    def run(self, ways: Sequence[Way], every_s: float = 1.0) -> None:
        todo: list[tuple[int, int, Callable[[], None]]] = []
        number = 0

        def later(after_s: float, what: Callable[[], None]) -> None:
            nonlocal number
            number += 1
            heapq.heappush(todo, (self.now_ns + round(after_s * NS_PER_S), number, what))

        def ping(at: int, way: Way) -> None:
            said = self.stream.ping(Nonce(at.to_bytes(16, "big")), self.agent.at(self.now_ns))
            if not way.lost:
                later(way.out, lambda: arrives(said, way))
                if way.doubled_after is not None:
                    later(way.out + way.doubled_after, lambda: self._heard(said))

        def arrives(said: Ping, way: Way) -> None:
            self._heard(said)
            if not way.pong_lost:
                pong = Pong(said.nonce, leading=True, has_quorum=True, features=2)
                later(way.back, lambda: self.stream.ponged(pong, self.agent.at(self.now_ns)))

        for at, way in enumerate(ways):
            later(at * every_s, lambda at=at, way=way: ping(at, way))
        while todo:
            self.now_ns, _, what = heapq.heappop(todo)
            what()

    def _heard(self, said: Ping) -> None:
        if self.meter.heard(said, self.witness.at(self.now_ns)):
            self.windows.append(self.meter._row[-1])
            bounds = self.meter.bounds()
            if bounds is not None:
                self.seen.append((self.now_ns / NS_PER_S, bounds))

    def states(self, drift_max_ppm: int) -> list[ClockState | None]:
        return [clock_state(bounds, drift_max_ppm) for _, bounds in self.seen]

    def first(self, state: ClockState, drift_max_ppm: int) -> float | None:
        """The true second at which it was found."""
        return next((at for at, bounds in self.seen if clock_state(bounds, drift_max_ppm) is state), None)
