"""Connections between members and their lead, frame by frame over the simulated network.

Rule: what a machine's kernel does is here: it refuses where no process listens, says nothing where there is no power,
and closes what its process had open when that dies. Whoever talks at the two ends is the product's own code
(agents.member.stream, agents.members.endpoint). Frames of one connection keep their order, as TCP keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType

from agents.client.transport import ConnectionLost
from proto.units import NS_PER_MS, WitnessId

if TYPE_CHECKING:
    from witness.sim.machine import SimHost
    from witness.sim.members.lead import LeadHouse
    from witness.sim.members.loop import ProcessLoop

CLOSED = None
"""After the last frame."""
SENT_AGAIN_NS, SENT_AGAIN_MAX = 250 * NS_PER_MS, 12
"""By the kernel, for as long as a stream waits at least."""


class End:
    """One end of a connection; what arrives waits for the process at this end."""

    def __init__(self, host: SimHost, loop: ProcessLoop) -> None:
        self.host = host
        self.loop = loop
        self.other: End | None = None
        self.closed = False
        self.ready: asyncio.Future[bool] = loop.create_future()
        """True when the other machine accepted, False when it refused."""
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._sent = 0
        self._next = 0
        self._early: dict[int, bytes | None] = {}

    def put(self, frame: bytes | None) -> None:
        """Onto the wire. What is lost is sent again, and holds up what follows."""
        other = self.other
        if other is None or (self.loop.dead and frame is not CLOSED):
            return
        number, self._sent = self._sent, self._sent + 1
        self._carry(other, number, frame, SENT_AGAIN_MAX)

    def _carry(self, other: End, number: int, frame: bytes | None, left: int) -> None:
        if other.has(number) or other.closed or self.host.off:
            return
        self.host.network.carry(self.host.name, other.host.name, lambda: other.arrives(number, frame))
        if left:
            self.host.events.after(SENT_AGAIN_NS, lambda: self._carry(other, number, frame, left - 1))

    def has(self, number: int) -> bool:
        return number < self._next or number in self._early

    def arrives(self, number: int, frame: bytes | None) -> None:
        if number < self._next or self.host.off:
            return
        self._early[number] = frame
        while self._next in self._early:
            one = self._early.pop(self._next)
            self._next += 1
            self.loop.within(lambda one=one: self._incoming.put_nowait(one))  # type: ignore[misc]  # bound at once

    def broken(self) -> None:
        for end in (self, self.other):
            if end is not None:
                end.reset()

    def reset(self) -> None:
        self.closed = True
        self.loop.within(lambda: self._incoming.put_nowait(CLOSED))

    async def frame(self) -> bytes | None:
        return None if self.closed else await self._incoming.get()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.put(CLOSED)


class MemberLine:
    """The member's end. Implements agents.client.transport.Connection."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def send(self, frame: bytes) -> None:
        if self._end.closed:
            raise ConnectionLost("closed")
        self._end.put(frame)

    async def receive(self) -> bytes:
        frame = await self._end.frame()
        if frame is None:
            self._end.close()
            raise ConnectionLost("closed by the other end")
        return frame

    async def close(self) -> None:
        self._end.close()


class LeadLine:
    """The lead's end, as far as agents.members.endpoint.MemberStream uses a WebSocket."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def receive(self) -> Any:
        frame = await self._end.frame()
        if frame is None:
            return SimpleNamespace(type=WSMsgType.CLOSE, data=None)
        return SimpleNamespace(type=WSMsgType.BINARY, data=frame)

    async def send_bytes(self, frame: bytes) -> None:
        if self._end.closed:
            raise ConnectionResetError("closed")
        self._end.put(frame)

    async def close(self) -> None:
        self._end.close()


class Lines:
    """A member's way to its lead. Implements agents.client.transport.Transport; owned by one process."""

    def __init__(self, host: SimHost, loop: ProcessLoop, lead: Callable[[], LeadHouse]) -> None:
        self._host = host
        self._loop = loop
        self._lead = lead
        self.ends: list[End] = []

    async def connect(self, _lead: WitnessId) -> MemberLine:
        end = End(self._host, self._loop)
        self.ends = [one for one in self.ends if not one.closed]
        self.ends.append(end)
        house = self._lead()
        self._host.network.carry(self._host.name, house.host.name, lambda: house.knocked(end))
        if not await end.ready:
            raise ConnectionLost("connection refused")
        return MemberLine(end)

    async def close(self) -> None:
        """Its connections are closed by their owners."""

    def flap(self) -> bool:
        """A reset from somewhere in between, seen by both ends."""
        open_now = [end for end in self.ends if not end.closed and end.other is not None]
        for end in open_now:
            end.broken()
        return bool(open_now)

    def process_gone(self) -> None:
        """Its kernel closes what it had open."""
        for end in self.ends:
            end.close()
