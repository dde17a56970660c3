"""One suite for both bodies of agents.client.transport."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

import pytest
from aiohttp import WSMsgType, web

from agents.client.memory import MemoryTransport
from agents.client.transport import Connection, ConnectionLost, Transport
from agents.client.websocket import WebSocketTransport
from proto.edge.config_types import Address
from proto.limits import FRAME_BYTES_MAX
from proto.units import WitnessId

W1 = WitnessId("w1")


class WitnessEnd(Protocol):
    async def send(self, frame: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def close(self) -> None: ...


@dataclass
class Both:
    agent: Connection
    witness: WitnessEnd


class ServedEnd:
    """A witness's end of a real WebSocket."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.over = asyncio.Event()

    async def send(self, frame: bytes) -> None:
        await self.socket.send_bytes(frame)

    async def receive(self) -> bytes:
        message = await self.socket.receive()
        if message.type is not WSMsgType.BINARY:
            raise ConnectionLost(message.type.name)
        return bytes(message.data)

    async def close(self) -> None:
        await self.socket.close()
        self.over.set()


@contextlib.asynccontextmanager
async def websocket_pair() -> AsyncIterator[tuple[Transport, Both]]:
    ends: asyncio.Queue[ServedEnd] = asyncio.Queue()

    async def stream(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=4 * FRAME_BYTES_MAX)
        await socket.prepare(request)
        end = ServedEnd(socket)
        await ends.put(end)
        await end.over.wait()
        return socket

    app = web.Application()
    app.router.add_get("/v1/agent", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    transport = WebSocketTransport({W1: Address("127.0.0.1", runner.addresses[0][1])}, None)
    try:
        connection = await transport.connect(W1)
        end = await ends.get()
        yield transport, Both(connection, end)
        end.over.set()
        await connection.close()
    finally:
        await transport.close()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def memory_pair() -> AsyncIterator[tuple[Transport, Both]]:
    transport = MemoryTransport()
    connection = await transport.connect(W1)
    yield transport, Both(connection, await transport.accept(W1))
    await connection.close()


@pytest.fixture(params=[websocket_pair, memory_pair], ids=["websocket", "memory"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Transport, Both]]:
    async with request.param() as made:
        yield made


async def test_frames_arrive_whole_and_in_order(pair: tuple[Transport, Both]) -> None:
    _, both = pair
    frames = [bytes([n]) * (n * 400 + 1) for n in range(64)]
    for frame in frames:
        await both.agent.send(frame)
    assert [await both.witness.receive() for _ in frames] == frames
    for frame in frames:
        await both.witness.send(frame)
    assert [await both.agent.receive() for _ in frames] == frames


async def test_the_other_ends_close_is_told(pair: tuple[Transport, Both]) -> None:
    _, both = pair
    receiving = asyncio.create_task(both.agent.receive())
    await both.witness.close()
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(receiving, 10)
    with pytest.raises(ConnectionLost):
        await both.agent.send(b"too late")


async def test_close_may_be_said_twice(pair: tuple[Transport, Both]) -> None:
    _, both = pair
    await both.agent.close()
    await both.agent.close()
    with pytest.raises(ConnectionLost):
        await both.agent.receive()


async def test_an_oversized_frame_ends_the_connection(pair: tuple[Transport, Both]) -> None:
    _, both = pair
    await both.witness.send(b"x" * (FRAME_BYTES_MAX + 1))
    with pytest.raises(ConnectionLost):
        await asyncio.wait_for(both.agent.receive(), 10)


async def test_nobody_there_is_told_in_words() -> None:
    gone = WebSocketTransport({W1: Address("127.0.0.1", 1)}, None)
    with pytest.raises(ConnectionLost, match=r"^connection refused$"):
        await gone.connect(W1)
    await gone.close()
    memory = MemoryTransport()
    memory.down.add(W1)
    with pytest.raises(ConnectionLost, match="refused"):
        await memory.connect(W1)
