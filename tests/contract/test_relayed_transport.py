"""The way to a witness through another site: the stream's own WebSocket on a socket that a peer carries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from agents.client.transport import ConnectionLost
from agents.settings import Endpoint
from agents.site_link.port import SiteAsk, SiteSays, SiteUnreachable
from agents.site_link.relayed import RelayedTransport
from proto.units import SiteId, WitnessId

B, C = SiteId("dc-b"), SiteId("dc-c")
W1 = WitnessId("w1")


class Carried:
    """A site link whose tunnels end at a WebSocket server that says back what it hears."""

    def __init__(self, runner: web.AppRunner) -> None:
        self.dead: set[SiteId] = set()
        self.asked: list[SiteId] = []
        self.ends: list[socket.socket] = []
        self._runner = runner

    async def tunnel(self, site: SiteId, witness: WitnessId) -> socket.socket:
        self.asked.append(site)
        if site in self.dead:
            raise SiteUnreachable(f"{site} does not carry {witness}")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.ends.append(ours)
        assert self._runner.server is not None
        await asyncio.get_running_loop().connect_accepted_socket(self._runner.server, theirs)
        return ours

    async def start(self) -> None: ...
    async def run(self) -> None: ...
    async def close(self) -> None: ...
    def ask(self, _site: SiteId, _request: SiteAsk) -> bool:
        return False

    def answer(self, _site: SiteId, _answer: SiteSays) -> bool:
        return False

    def status(self) -> list[dict[str, Any]]:
        return []


@pytest.fixture
async def carried() -> AsyncIterator[Carried]:
    async def stream(request: web.Request) -> web.WebSocketResponse:
        there = web.WebSocketResponse()
        await there.prepare(request)
        async for message in there:
            assert message.type is WSMsgType.BINARY
            await there.send_bytes(message.data)
        return there

    app = web.Application()
    app.router.add_get("/v1/agent", stream)
    runner = web.AppRunner(app)
    await runner.setup()
    yield Carried(runner)
    await runner.cleanup()


def transport(carried: Carried) -> RelayedTransport:
    return RelayedTransport(lambda: carried, (B, C), {W1: Endpoint("w1.example.net", 7410)}, None)


async def test_frames_go_both_ways_and_the_socket_is_closed_with_the_connection(carried: Carried) -> None:
    connection, site = await transport(carried).connect(W1)
    assert site == B
    for frame in (b"x", b"y" * 100_000):
        await connection.send(frame)
        assert await connection.receive() == frame
    await connection.close()
    await connection.close()
    assert [end.fileno() for end in carried.ends] == [-1]
    with pytest.raises(ConnectionLost):
        await connection.receive()


async def test_after_a_failure_another_site_is_asked_and_one_that_carries_is_asked_again(carried: Carried) -> None:
    carried.dead.add(B)
    relays = transport(carried)
    with pytest.raises(ConnectionLost, match="through dc-b: dc-b does not carry w1"):
        await relays.connect(W1)
    for _ in range(2):
        connection, site = await relays.connect(W1)
        assert site == C
        await connection.close()
    carried.dead = {C}
    with pytest.raises(ConnectionLost, match="through dc-c"):
        await relays.connect(W1)
    connection, site = await relays.connect(W1)
    await connection.close()
    assert (site, carried.asked) == (B, [B, C, C, C, B])


async def test_before_the_link_is_up_nobody_is_asked() -> None:
    early = RelayedTransport(lambda: None, (B,), {W1: Endpoint("w1", 1)}, None)
    with pytest.raises(ConnectionLost, match="not up yet"):
        await early.connect(W1)
