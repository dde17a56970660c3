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
from typing import Protocol

from proto.units import NS_PER_MS, WitnessId
from witness.sim.clock import Events
from witness.sim.raft.path import CALM, STALE_KEPT, Path, Weather

DATA, STRAY, CLOSE = range(3)
STRAY_NS_MAX = 60 * NS_PER_MS
"""How much later than its like a frame may come that goes its own way."""
STALE_EXCHANGE = 0.3
Hit = Callable[[str], None]
Pair = tuple[WitnessId, WitnessId]
Frames = Callable[[bytes], list[tuple[bool, bytes]]]
"""Cuts what one end writes into frames; True for those that a lossy way may lose, double, or bring late."""


class Socket:
    """One process's end of a connection."""

    __slots__ = (
        "came_up",
        "dialled",
        "due_ns",
        "held",
        "life",
        "number",
        "open",
        "other",
        "owner",
        "peer",
        "up",
        "waiting",
    )

    def __init__(
        self, owner: WitnessId, peer: WitnessId, number: int, life: int, now_ns: int, *, dialled: bool
    ) -> None:
        self.owner = owner
        self.peer = peer
        """The machine at the other end; who speaks there is for the process to find out."""
        self.number = number
        self.life = life
        """Which of its owner's processes."""
        self.dialled = dialled
        self.other = self
        self.open = True
        self.up = False
        """Its process takes messages on it."""
        self.came_up = False
        """As the process says when it ends: it was of use."""
        self.due_ns = now_ns
        self.waiting = 0
        """Bytes that have not arrived."""
        self.held: list[tuple[int, bytes]] = []


class Kernels(Protocol):
    def has_power(self, name: WitnessId) -> bool: ...
    def arrived(self, socket: Socket, data: bytes) -> None:
        """At an open end, for its process."""

    def hung_up(self, socket: Socket) -> None:
        """The other end is closed, and this one hears of it."""


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

    def write(self, socket: Socket, data: bytes, frames: Frames) -> None:
        """What a process writes at once: a chunk of whole frames."""
        self.digest = zlib.crc32(data, zlib.crc32(b"%d" % self._events.now_ns, self.digest))
        path = self.paths[socket.owner, socket.peer]
        if path.weather is CALM:
            self.post(socket, DATA, data)
            return
        for may_stray, frame in frames(data):
            if may_stray:
                self._brave(socket, path, path.weather, frame)
            else:
                self.post(socket, DATA, frame)

    def post(self, socket: Socket, what: int, data: bytes) -> None:
        """Onto the way, in order."""
        now_ns = self._events.now_ns
        path = self.paths[socket.owner, socket.peer]
        size = len(data)
        socket.waiting += size
        if path.cuts:
            self._hit(path.cuts[-1])
            socket.held.append((what, data))
            return
        delay_ns = path.delay_ns_min + int(self._rng.random() * (path.delay_ns_max - path.delay_ns_min))
        socket.due_ns = due_ns = max(path.transmitted_ns(size, now_ns) + delay_ns, socket.due_ns)
        self._events.at(due_ns, partial(self._arrive, socket, what, data, size))

    def mended(self, socket: Socket) -> None:
        """The way of this end is open again."""
        held, socket.held = socket.held, []
        for what, data in held:
            socket.waiting -= len(data)
            self.post(socket, what, data)

    def _brave(self, socket: Socket, path: Path, weather: Weather, frame: bytes) -> None:
        """One frame through bad weather."""
        chance = self._rng.random
        if weather.stale:
            self._stale(socket, path, frame)
        if chance() < weather.loss:
            self._hit("loss")
            return
        if chance() < weather.slow:
            self._hit("delay")
            socket.due_ns = max(socket.due_ns, self._events.now_ns + int(chance() * weather.slow_ns))
        if weather.bytes_per_s:
            self._hit("bandwidth")
        if chance() < weather.double:
            self._hit("duplicate")
            self._stray(socket, path, frame)
        if chance() < weather.overtake:
            self._hit("reorder")
            self._stray(socket, path, frame)
        else:
            self.post(socket, DATA, frame)

    def _stray(self, socket: Socket, path: Path, frame: bytes) -> None:
        """A frame that goes its own way."""
        if not path.cuts:
            late_ns = self.delay_ns(socket.owner, socket.peer) + int(self._rng.random() * STRAY_NS_MAX)
            self._events.after(late_ns, partial(self._arrive, socket, STRAY, frame, 0))

    def _stale(self, socket: Socket, path: Path, frame: bytes) -> None:
        if path.past and self._rng.random() < path.weather.stale:
            number, old = self._rng.choice(path.past)
            if number != socket.number:
                self._hit("old-bytes")
            self._stray(socket, path, old)
        if len(path.past) < STALE_KEPT:
            path.past.append((socket.number, frame))
        elif self._rng.random() < STALE_EXCHANGE:
            path.past[self._rng.randrange(STALE_KEPT)] = (socket.number, frame)

    # -- arriving --------------------------------------------------------------------------------------------

    def _arrive(self, sender: Socket, what: int, data: bytes, size: int) -> None:
        sender.waiting -= size
        socket = sender.other
        if not self._kernels.has_power(socket.owner):
            return
        if not socket.open:
            if what != CLOSE and sender.open and not self.paths[socket.owner, socket.peer].cuts:
                late_ns = self.delay_ns(socket.owner, socket.peer)
                self._events.after(late_ns, partial(self._arrive, socket, CLOSE, b"", 0))
        elif what == CLOSE:
            self._kernels.hung_up(socket)
        elif what == DATA or socket.up:
            self._kernels.arrived(socket, data)
