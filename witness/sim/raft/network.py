"""The witnesses' machines and the connections between them: one a pair, dialled by the lower name.

Rule: kernel and process are two things. A stopped process still has a kernel that takes connections and bytes; a
killed one has a kernel that hangs up for it; a machine without power says nothing, and its peers learn from the
silence. Who may connect, and when a connection counts, is the processes' business (links.py, raft_links.py); what is
carried is bytes. Nothing here knows schedules or checkers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from proto.units import NS_PER_S, WitnessId
from witness.raft.peer_transport import DIAL_FIRST_S, DIAL_LONGEST_S, HANDSHAKE_S, PING_AFTER_S, SILENT_AFTER_S
from witness.sim.clock import Events
from witness.sim.raft.path import CALM, Weather
from witness.sim.raft.wire import CLOSE, Frames, Hit, Pair, Socket, Wire

HANDSHAKE_NS = round(HANDSHAKE_S * NS_PER_S)
DIAL_FIRST_NS = round(DIAL_FIRST_S * NS_PER_S)
DIAL_LONGEST_NS = round(DIAL_LONGEST_S * NS_PER_S)
UPKEEP_NS = round(PING_AFTER_S * NS_PER_S)
SILENT_AFTER_NS = round(SILENT_AFTER_S * NS_PER_S)
REDIAL_NS = (NS_PER_S, 2 * NS_PER_S)
"""A request to connect without answer is repeated after these (Linux), and given up with the handshake's time."""
CONNECTED_WITHIN_NS = SILENT_AFTER_NS + UPKEEP_NS + HANDSHAKE_NS + DIAL_LONGEST_NS * 3 // 2 + NS_PER_S
"""Two processes that can reach each other again are connected after this, refusals apart."""


class Endpoint(Protocol):
    """A machine with, at most, one process of a witness."""

    def do(self, action: Callable[[], None]) -> None:
        """Performs it in the process: now, or when it runs again and has time; never when it ends before."""

    def connected(self, socket: Socket) -> None: ...
    def received(self, socket: Socket, data: bytes) -> None: ...
    def hung_up(self, socket: Socket) -> None:
        """The last that is heard of it; says whether it was of use (`came_up`)."""

    def look_after(self, socket: Socket) -> None:
        """Twice a second: is it alive?"""


class Network:
    def __init__(
        self,
        names: Iterable[WitnessId],
        events: Events,
        rng: random.Random,
        hit: Hit,
        copies: Mapping[WitnessId, WitnessId] | None = None,
    ) -> None:
        """`copies`: further machines, and of which ones they are copies."""
        self._copies = dict(copies or {})
        self.wire = Wire([*names, *self._copies], events, rng, hit, self)
        self.names = self.wire.names
        self._events = events
        self._rng = rng
        self._ends: dict[WitnessId, Endpoint] = {}
        self._life: dict[WitnessId, int] = dict.fromkeys(self.names, 0)
        self._alive: set[WitnessId] = set()
        self._powered: set[WitnessId] = set()
        self._sockets: dict[Pair, list[Socket]] = {pair: [] for pair in self.wire.paths}
        self._backoff_ns: dict[Pair, int] = {}
        self._connections = 0

    # -- machines and processes ------------------------------------------------------------------------------

    def attach(self, name: WitnessId, end: Endpoint) -> None:
        self._ends[name] = end

    def witness_at(self, name: WitnessId) -> WitnessId:
        """Whom one expects at a machine's address."""
        return self._copies.get(name, name)

    def has_power(self, name: WitnessId) -> bool:
        return name in self._powered

    def process_started(self, name: WitnessId) -> None:
        self._life[name] += 1
        self._alive.add(name)
        self._powered.add(name)
        for peer in self.names:
            if self.witness_at(name) < peer and peer not in self._copies:  # nobody knows a copy's address
                self._backoff_ns[name, peer] = DIAL_FIRST_NS
                self._dial(name, peer, self._life[name], REDIAL_NS)

    def process_ended(self, name: WitnessId, *, power: bool) -> None:
        """`power`: the machine stays on and its kernel hangs up; else there is silence."""
        self._life[name] += 1
        self._alive.discard(name)
        if not power:
            self._powered.discard(name)
        for peer in self.names:
            for socket in self._sockets.get((name, peer), ()):
                self._shut(socket, tell=power)
            self._sockets.get((name, peer), []).clear()

    # -- what a process asks ---------------------------------------------------------------------------------

    def write(self, socket: Socket, data: bytes, frames: Frames) -> None:
        if socket.open:
            self.wire.write(socket, data, frames)

    def close(self, socket: Socket) -> None:
        """Its own end; the other one hears of it behind what was written, when the way is open."""
        if not socket.open:
            return
        self._shut(socket, tell=True)
        self._ended(socket)

    # -- faults ----------------------------------------------------------------------------------------------

    def cut(self, name: WitnessId, peer: WitnessId, kind: str) -> None:
        """One way only; the other way is a cut of its own."""
        self.wire.paths[name, peer].cuts.append(kind)

    def mend(self, name: WitnessId, peer: WitnessId, kind: str) -> None:
        path = self.wire.paths[name, peer]
        if kind in path.cuts:
            path.cuts.remove(kind)
            self._mended(name, peer)

    def weather(self, name: WitnessId, peer: WitnessId, weather: Weather) -> None:
        self.wire.paths[name, peer].weather = weather

    def heal(self) -> None:
        """All faults end. What crawls along a narrow way would go on for hours: its connection starts afresh."""
        for (name, peer), path in self.wire.paths.items():
            if path.weather.bytes_per_s:
                self.reset(name, peer)
            path.weather = CALM
            path.cuts.clear()
            self._mended(name, peer)

    def reset(self, name: WitnessId, peer: WitnessId) -> bool:
        """The connection of a pair breaks, seen by both ends; True when there was one."""
        sockets = [socket for socket in self._sockets[name, peer] if socket.open]
        for socket in sockets:
            other = socket.other
            self.hung_up(socket)
            if other.open:
                self.hung_up(other)
        return bool(sockets)

    def open_socket(self, name: WitnessId, peer: WitnessId) -> Socket | None:
        """The connection that counts for the process of `name`."""
        return next((socket for socket in self._sockets[name, peer] if socket.open and socket.up), None)

    def forget_past(self, name: WitnessId) -> None:
        """What a machine said from another disk is never heard again: no Raft could bear it."""
        for (sender, _), path in self.wire.paths.items():
            if sender == name:
                path.past.clear()

    def _mended(self, name: WitnessId, peer: WitnessId) -> None:
        if not self.wire.paths[name, peer].cuts:
            for socket in self._sockets[name, peer]:
                self.wire.mended(socket)

    # -- connecting ------------------------------------------------------------------------------------------

    def _dial(self, name: WitnessId, peer: WitnessId, life: int, repeats: tuple[int, ...]) -> None:
        """A request to connect leaves the dialling machine."""
        if life != self._life[name]:
            return
        if peer not in self._powered or not self.wire.reachable(name, peer):
            waits_ns = repeats[0] if repeats else HANDSHAKE_NS - sum(REDIAL_NS)
            again = partial(self._dial, name, peer, life, repeats[1:]) if repeats else self._later(name, peer, life)
            self._events.after(waits_ns, again)
            return
        there_ns = self.wire.delay_ns(name, peer)
        back_ns = there_ns + self.wire.delay_ns(peer, name)
        if peer not in self._alive:
            self._events.after(back_ns, self._later(name, peer, life))
        else:
            self._events.after(back_ns, partial(self._connected, name, peer, life, self._life[peer]))

    def _later(self, name: WitnessId, peer: WitnessId, life: int) -> Callable[[], None]:
        """What dials again after the back-off, in the process's own time."""

        def wait() -> None:
            if life != self._life[name]:
                return
            backoff_ns = self._backoff_ns[name, peer]
            self._backoff_ns[name, peer] = min(backoff_ns * 2, DIAL_LONGEST_NS)
            wait_ns = int(backoff_ns * (0.5 + self._rng.random()))
            dial = partial(self._dial, name, peer, life, REDIAL_NS)
            self._events.after(wait_ns, partial(self._ends[name].do, dial))

        return wait

    def _connected(self, name: WitnessId, peer: WitnessId, life: int, peer_life: int) -> None:
        if life != self._life[name]:
            return
        if peer_life != self._life[peer]:
            self._later(name, peer, life)()
            return
        self._connections += 1
        now_ns, number = self._events.now_ns, self._connections
        one = Socket(name, peer, number, life, now_ns, dialled=True)
        two = Socket(peer, name, number, peer_life, now_ns, dialled=False)
        one.other, two.other = two, one
        for socket in (one, two):
            self._sockets[socket.owner, socket.peer].append(socket)
        for socket in (one, two):
            self._events.after(UPKEEP_NS, partial(self._upkeep, socket))
            end = self._ends[socket.owner]
            end.do(partial(end.connected, socket))

    # -- connections -----------------------------------------------------------------------------------------

    def arrived(self, socket: Socket, data: bytes) -> None:
        self._ends[socket.owner].do(partial(self._read, socket, data))

    def _read(self, socket: Socket, data: bytes) -> None:
        if socket.open:
            self._ends[socket.owner].received(socket, data)

    def hung_up(self, socket: Socket) -> None:
        self._ends[socket.owner].do(partial(self._lost, socket))

    def _lost(self, socket: Socket) -> None:
        if socket.open:
            self._shut(socket, tell=True)
            self._ended(socket)

    def _ended(self, socket: Socket) -> None:
        """This end is closed, by whomever: its process hears of it, and dials again when it was the one that did."""
        pair = (socket.owner, socket.peer)
        self._sockets[pair].remove(socket)
        self._ends[socket.owner].hung_up(socket)
        if socket.dialled and socket.life == self._life[socket.owner]:
            if socket.came_up:
                self._backoff_ns[pair] = DIAL_FIRST_NS
            self._later(*pair, socket.life)()

    def _upkeep(self, socket: Socket) -> None:
        """Like the process itself, it waits while that is stopped."""
        if socket.open:
            self._ends[socket.owner].do(partial(self._look_after, socket))

    def _look_after(self, socket: Socket) -> None:
        if socket.open:
            self._ends[socket.owner].look_after(socket)
        if socket.open:
            self._events.after(UPKEEP_NS, partial(self._upkeep, socket))

    def _shut(self, socket: Socket, *, tell: bool) -> None:
        socket.open = socket.up = False
        socket.held.clear()
        if tell and not self.wire.paths[socket.owner, socket.peer].cuts:
            self.wire.post(socket, CLOSE, b"")
