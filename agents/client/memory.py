"""The in-memory body of the transport: both ends in one process, for tests and the simulator's streams."""

from __future__ import annotations

import asyncio

from agents.client.transport import Connection, ConnectionLost
from proto.limits import FRAME_BYTES_MAX
from proto.units import WitnessId

_END = b""
"""No frame is empty, so an empty one marks the end."""


class MemoryConnection:
    """One end; what is sent here is received at the other."""

    def __init__(self, incoming: asyncio.Queue[bytes], outgoing: asyncio.Queue[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._closed = False

    async def send(self, frame: bytes) -> None:
        if self._closed:
            raise ConnectionLost("closed")
        await self._outgoing.put(frame)

    async def receive(self) -> bytes:
        if self._closed:
            raise ConnectionLost("closed")
        frame = await self._incoming.get()
        if frame == _END or len(frame) > FRAME_BYTES_MAX:
            self._end()
            raise ConnectionLost("closed by the other end" if frame == _END else f"a frame of {len(frame)} bytes")
        return frame

    async def close(self) -> None:
        if not self._closed:
            self._end()

    def _end(self) -> None:
        self._closed = True
        self._outgoing.put_nowait(_END)
        self._incoming.put_nowait(_END)


class MemoryTransport:
    """`accept` gives a witness's end of each connection; `down` makes witnesses unreachable."""

    def __init__(self) -> None:
        self.down: set[WitnessId] = set()
        self._waiting: dict[WitnessId, asyncio.Queue[MemoryConnection]] = {}

    async def connect(self, witness: WitnessId) -> Connection:
        if witness in self.down:
            raise ConnectionLost("connection refused")
        up: asyncio.Queue[bytes] = asyncio.Queue()
        to_agent: asyncio.Queue[bytes] = asyncio.Queue()
        self._backlog(witness).put_nowait(MemoryConnection(up, to_agent))
        return MemoryConnection(to_agent, up)

    async def accept(self, witness: WitnessId) -> MemoryConnection:
        return await self._backlog(witness).get()

    async def close(self) -> None:
        """Holds nothing beside its connections."""

    def _backlog(self, witness: WitnessId) -> asyncio.Queue[MemoryConnection]:
        return self._waiting.setdefault(witness, asyncio.Queue())
