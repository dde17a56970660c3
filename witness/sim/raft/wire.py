"""The ways between machines, up to the kernel of the other one: cuts, moods, order, and ends of connections.

Rule: what is sent into a cut way is kept and sent again when it mends, as TCP does, unless the connection ends first.
Loss, doubling, overtaking and stale frames are what no TCP connection does: Raft has to bear them all the same.
A machine without power answers nothing; one with power hangs up on what comes to a closed end.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from proto.units import NS_PER_MS, WitnessId
from witness.sim.clock import Events
from witness.sim.raft.path import CALM, STALE_KEPT, Path, Weather

HELLO, FRAMES, PING, CLOSE = range(4)
STRAY_NS_MAX = 60 * NS_PER_MS
"""How much later than its like a frame may come that goes its own way."""
STALE_EXCHANGE = 0.3
Hit = Callable[[str], None]
Pair = tuple[WitnessId, WitnessId]


class Side:
    """One process's end of a connection."""

    __slots__ = (
        "due_ns",
        "heard_ns",
        "held",
        "life",
        "number",
        "open",
        "other",
        "owner",
        "peer",
        "sent_ns",
        "up",
        "waiting",
    )

    def __init__(self, owner: WitnessId, peer: WitnessId, number: int, life: int, now_ns: int) -> None:
        self.owner = owner
        self.peer = peer
        self.number = number
        self.life = life
        """Which of its owner's processes."""
        self.other = self
        self.open = True
        self.up = False
        """Its owner has admitted the peer."""
        self.heard_ns = self.sent_ns = self.due_ns = now_ns
        self.waiting = 0
        """Bytes that have not arrived."""
        self.held: list[tuple[int, Any, int]] = []


class Kernels(Protocol):
    def has_power(self, name: WitnessId) -> bool: ...
    def arrived(self, side: Side, what: int, payload: Any) -> None:
        """At an open end, for its process."""


class Wire:
    def __init__(
        self, names: Iterable[WitnessId], events: Events, rng: random.Random, hit: Hit, kernels: Kernels
    ) -> None:
        self.names = tuple(sorted(names))
        self.paths: dict[Pair, Path] = {(one, two): Path() for one in self.names for two in self.names if one != two}
        self.digest = 0
        """Of all that was sent, and when."""
        self._events = events
        self._rng = rng
        self._hit = hit
        self._kernels = kernels

    def reachable(self, one: WitnessId, two: WitnessId) -> bool:
        """Both ways."""
        for pair in ((one, two), (two, one)):
            cuts = self.paths[pair].cuts
            if cuts:
                self._hit(cuts[-1])
                return False
        return True

    def delay_ns(self, sender: WitnessId, to: WitnessId) -> int:
        path = self.paths[sender, to]
        return path.delay_ns_min + int(self._rng.random() * (path.delay_ns_max - path.delay_ns_min))

    # -- sending ---------------------------------------------------------------------------------------------

    def frames(self, side: Side, frames: list[bytes]) -> None:
        path = self.paths[side.owner, side.peer]
        digest, size = zlib.crc32(b"%d" % self._events.now_ns, self.digest), 0
        for frame in frames:
            size += len(frame)
            digest = zlib.crc32(frame, digest)
        self.digest = digest
        if path.weather is CALM:
            self.post(side, FRAMES, frames, size)
            return
        for frame in frames:
            self._brave(side, path, path.weather, frame)

    def post(self, side: Side, what: int, payload: Any, size: int) -> None:
        """Onto the way, in order."""
        now_ns = self._events.now_ns
        path = self.paths[side.owner, side.peer]
        side.waiting += size
        side.sent_ns = now_ns
        if path.cuts:
            self._hit(path.cuts[-1])
            side.held.append((what, payload, size))
            return
        delay_ns = path.delay_ns_min + int(self._rng.random() * (path.delay_ns_max - path.delay_ns_min))
        side.due_ns = due_ns = max(path.transmitted_ns(size, now_ns) + delay_ns, side.due_ns)
        self._events.at(due_ns, partial(self._arrive, side, what, payload, size))

    def mended(self, side: Side) -> None:
        """The way of this end is open again."""
        held, side.held = side.held, []
        for what, payload, size in held:
            side.waiting -= size
            self.post(side, what, payload, size)

    def _brave(self, side: Side, path: Path, weather: Weather, frame: bytes) -> None:
        """One frame through bad weather."""
        chance = self._rng.random
        if weather.stale:
            self._stale(side, path, frame)
        if chance() < weather.loss:
            self._hit("loss")
            return
        if chance() < weather.slow:
            self._hit("delay")
            side.due_ns = max(side.due_ns, self._events.now_ns + int(chance() * weather.slow_ns))
        if weather.bytes_per_s:
            self._hit("bandwidth")
        if chance() < weather.double:
            self._hit("duplicate")
            self._stray(side, path, frame)
        if chance() < weather.overtake:
            self._hit("reorder")
            self._stray(side, path, frame)
        else:
            self.post(side, FRAMES, [frame], len(frame))

    def _stray(self, side: Side, path: Path, frame: bytes) -> None:
        """A frame that goes its own way."""
        if not path.cuts:
            late_ns = self.delay_ns(side.owner, side.peer) + int(self._rng.random() * STRAY_NS_MAX)
            self._events.after(late_ns, partial(self._arrive, side, FRAMES, [frame], 0))

    def _stale(self, side: Side, path: Path, frame: bytes) -> None:
        if path.past and self._rng.random() < path.weather.stale:
            number, old = self._rng.choice(path.past)
            if number != side.number:
                self._hit("old-bytes")
            self._stray(side, path, old)
        if len(path.past) < STALE_KEPT:
            path.past.append((side.number, frame))
        elif self._rng.random() < STALE_EXCHANGE:
            path.past[self._rng.randrange(STALE_KEPT)] = (side.number, frame)

    # -- arriving --------------------------------------------------------------------------------------------

    def _arrive(self, sender: Side, what: int, payload: Any, size: int) -> None:
        sender.waiting -= size
        side = sender.other
        if not self._kernels.has_power(side.owner):
            return
        if side.open:
            self._kernels.arrived(side, what, payload)
        elif what != CLOSE and sender.open and not self.paths[side.owner, side.peer].cuts:
            late_ns = self.delay_ns(side.owner, side.peer)
            self._events.after(late_ns, partial(self._arrive, side, CLOSE, None, 0))
