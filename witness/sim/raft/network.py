"""The witnesses' network: one connection a pair, dialled by the lower id, as witness.raft.peer_transport keeps it.

Rule: kernel and process are two things. A stopped process still has a kernel that takes connections and bytes; a
killed one has a kernel that hangs up for it; a machine without power says nothing, and its peers learn from the
silence. Who may connect is asked of the ends; what is carried is bytes. Nothing here knows schedules or checkers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from proto.errors import RemoteFault
from proto.units import NS_PER_S, WitnessId
from witness.raft.peer_link import SEND_BYTES_MAX
from witness.raft.peer_transport import DIAL_FIRST_S, DIAL_LONGEST_S, HANDSHAKE_S, PING_AFTER_S, SILENT_AFTER_S
from witness.sim.clock import Events
from witness.sim.raft.path import CALM, Weather
from witness.sim.raft.wire import CLOSE, FRAMES, HELLO, PING, Hit, Pair, Side, Wire

HANDSHAKE_NS = round(HANDSHAKE_S * NS_PER_S)
DIAL_FIRST_NS = round(DIAL_FIRST_S * NS_PER_S)
DIAL_LONGEST_NS = round(DIAL_LONGEST_S * NS_PER_S)
PING_AFTER_NS = round(PING_AFTER_S * NS_PER_S)
SILENT_AFTER_NS = round(SILENT_AFTER_S * NS_PER_S)
REDIAL_NS = (NS_PER_S, 2 * NS_PER_S)
"""A request to connect without answer is repeated after these (Linux), and given up with the handshake's time."""
CONNECTED_WITHIN_NS = SILENT_AFTER_NS + HANDSHAKE_NS + DIAL_LONGEST_NS * 3 // 2 + NS_PER_S
"""Two processes that can reach each other again are connected after this, refusals apart."""
CONTROL_BYTES = 200
"""An introduction or a ping on the way."""


class Endpoint(Protocol):
    """A machine with, at most, one process of a witness."""

    def do(self, action: Callable[[], None]) -> None:
        """Performs it in the process: now, or when it runs again and has time; never when it ends before."""

    def hello(self, peer: WitnessId) -> Any: ...
    def admit(self, peer: WitnessId, hello: Any) -> None:
        """Raises RemoteFault to refuse."""

    def peer_up(self, peer: WitnessId) -> None: ...
    def peer_down(self, peer: WitnessId) -> None: ...
    def peer_frames(self, peer: WitnessId, frames: list[bytes]) -> None:
        """Raises RemoteFault to have the connection closed."""

    def ping(self) -> Any: ...
    def pinged(self, peer: WitnessId, said: Any) -> None: ...


class Network:
    def __init__(self, names: Iterable[WitnessId], events: Events, rng: random.Random, hit: Hit) -> None:
        self.wire = Wire(names, events, rng, hit, self)
        self.names = self.wire.names
        self._events = events
        self._rng = rng
        self._hit = hit
        self._ends: dict[WitnessId, Endpoint] = {}
        self._life: dict[WitnessId, int] = dict.fromkeys(self.names, 0)
        self._alive: set[WitnessId] = set()
        self._powered: set[WitnessId] = set()
        self._sides: dict[Pair, list[Side]] = {pair: [] for pair in self.wire.paths}
        self._current: dict[Pair, Side] = {}
        self._backoff_ns: dict[Pair, int] = {}
        self._connections = 0

    # -- machines and processes ------------------------------------------------------------------------------

    def attach(self, name: WitnessId, end: Endpoint) -> None:
        self._ends[name] = end

    def has_power(self, name: WitnessId) -> bool:
        return name in self._powered

    def process_started(self, name: WitnessId) -> None:
        self._life[name] += 1
        self._alive.add(name)
        self._powered.add(name)
        for peer in self._peers(name):
            if name < peer:
                self._backoff_ns[name, peer] = DIAL_FIRST_NS
                self._dial(name, peer, self._life[name], REDIAL_NS)

    def process_ended(self, name: WitnessId, *, power: bool) -> None:
        """`power`: the machine stays on and its kernel hangs up; else there is silence."""
        self._life[name] += 1
        self._alive.discard(name)
        if not power:
            self._powered.discard(name)
        for peer in self._peers(name):
            self._current.pop((name, peer), None)
            for side in self._sides[name, peer]:
                self._shut(side, tell=power)
            self._sides[name, peer].clear()

    def _peers(self, name: WitnessId) -> list[WitnessId]:
        return [peer for peer in self.names if peer != name]

    # -- what a process asks ---------------------------------------------------------------------------------

    def send(self, name: WitnessId, peer: WitnessId, frames: list[bytes]) -> None:
        side = self._current.get((name, peer))
        if side is not None:
            self.wire.frames(side, frames)
            if side.waiting > SEND_BYTES_MAX:
                self._abort(side)

    def unsent_bytes(self, name: WitnessId) -> dict[WitnessId, int]:
        current = self._current
        return {peer: current[name, peer].waiting for peer in self.names if (name, peer) in current}

    def connected(self, name: WitnessId, peer: WitnessId) -> bool:
        """Both ends have admitted each other."""
        side = self._current.get((name, peer))
        return side is not None and side.other.up and side.other.open

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
        """The connection of a pair breaks; True when there was one."""
        side = self._current.get((name, peer))
        if side is None:
            return False
        self._ends[name].do(partial(self._abort, side))
        return True

    def forget_past(self, name: WitnessId) -> None:
        """What a machine said from another disk is never heard again: no Raft could bear it."""
        for (sender, _), path in self.wire.paths.items():
            if sender == name:
                path.past.clear()

    def _mended(self, name: WitnessId, peer: WitnessId) -> None:
        if not self.wire.paths[name, peer].cuts:
            for side in self._sides[name, peer]:
                self.wire.mended(side)

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
        one, two = Side(name, peer, number, life, now_ns), Side(peer, name, number, peer_life, now_ns)
        one.other, two.other = two, one
        for side in (one, two):
            self._sides[side.owner, side.peer].append(side)
            self._ends[side.owner].do(partial(self._introduce, side))
            self._events.after(PING_AFTER_NS, partial(self._upkeep, side))

    def _introduce(self, side: Side) -> None:
        if side.open:
            self.wire.post(side, HELLO, self._ends[side.owner].hello(side.peer), CONTROL_BYTES)

    def _introduced(self, side: Side, hello: Any) -> None:
        end, pair = self._ends[side.owner], (side.owner, side.peer)
        end.admit(side.peer, hello)
        old = self._current.get(pair)
        if old is not None:
            lively = self._events.now_ns - old.heard_ns < PING_AFTER_NS * 2 and old.open
            if lively and old.other.life != side.other.life:
                self._hit("second-process")
                raise RemoteFault(f"two processes claim to be {side.peer}; the second one is refused")
            self._abort(old)
        side.up = True
        if side.owner < side.peer:
            self._backoff_ns[pair] = DIAL_FIRST_NS
        self._current[pair] = side
        end.peer_up(side.peer)

    # -- connections -----------------------------------------------------------------------------------------

    def arrived(self, side: Side, what: int, payload: Any) -> None:
        self._ends[side.owner].do(partial(self._read, side, what, payload))

    def _read(self, side: Side, what: int, payload: Any) -> None:
        if not side.open:
            return
        side.heard_ns = self._events.now_ns
        end = self._ends[side.owner]
        try:
            if what == FRAMES:
                if side.up:
                    end.peer_frames(side.peer, payload)
            elif what == HELLO:
                self._introduced(side, payload)
            elif what == PING:
                if side.up:
                    end.pinged(side.peer, payload)
            else:
                self._abort(side)
        except RemoteFault:
            self._hit("refused-connection")
            self._abort(side)

    def _upkeep(self, side: Side) -> None:
        """Pings an idle connection, ends a silent one; like the process itself, it waits while that is stopped."""
        if side.open:
            self._ends[side.owner].do(partial(self._check_alive, side))

    def _check_alive(self, side: Side) -> None:
        if not side.open:
            return
        now_ns = self._events.now_ns
        if now_ns - side.heard_ns > (SILENT_AFTER_NS if side.up else HANDSHAKE_NS):
            self._abort(side)
            return
        if side.up and now_ns - side.sent_ns >= PING_AFTER_NS:
            self.wire.post(side, PING, self._ends[side.owner].ping(), CONTROL_BYTES)
        self._events.after(PING_AFTER_NS, partial(self._upkeep, side))

    def _abort(self, side: Side) -> None:
        """This end closes; the other one hears of it when the way is open, or falls silent."""
        if not side.open:
            return
        pair = (side.owner, side.peer)
        self._shut(side, tell=True)
        self._sides[pair].remove(side)
        if self._current.get(pair) is side:
            del self._current[pair]
            self._ends[side.owner].peer_down(side.peer)
        if side.owner < side.peer:
            self._later(side.owner, side.peer, side.life)()

    def _shut(self, side: Side, *, tell: bool) -> None:
        side.open = False
        side.held.clear()
        if tell and not self.wire.paths[side.owner, side.peer].cuts:
            self.wire.post(side, CLOSE, None, 0)
