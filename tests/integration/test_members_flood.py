"""S6 at the members' port: sockets that say nothing, and steps that end in words that nobody knows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_process import make_pki
from member_process import add_member
from members_door import Door, said, works

from agents.members import endpoint as endpoint_module
from proto.edge.listener import Bounds
from proto.member_codec import MEMBER_MESSAGES
from proto.member_messages import LeadGoodbye, LeadWelcome, StepEnded
from proto.units import Epoch, GroupId

IDLE = 200


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_member(make_pki(tmp_path_factory.mktemp("pki")))


@pytest.fixture
async def door(pki: Path, tmp_path: Path) -> AsyncIterator[Door]:
    made = Door(pki, tmp_path)
    await made.endpoint.start()
    yield made
    await made.endpoint.close()


async def idle(door: Door) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", door.port))
    return made


async def ended(one: socket.socket) -> None:
    """The other side has closed it, in order or not."""
    async with asyncio.timeout(20):
        try:
            assert await asyncio.get_running_loop().sock_recv(one, 1) == b""
        except ConnectionResetError:
            return


async def test_a_flood_of_sockets_that_say_nothing_keeps_no_member_out(
    pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds = Bounds(endpoint_module.CONNECTIONS_MAX, handshake_s=60.0)
    monkeypatch.setattr(endpoint_module, "Bounds", lambda _open_max: bounds)
    door = Door(pki, tmp_path)
    await door.endpoint.start()
    flood = [await idle(door) for _ in range(IDLE)]
    try:
        await works(door)
        dropped = IDLE - bounds.handshakes_max
        await asyncio.gather(*(ended(one) for one in flood[:dropped]))
        assert door.endpoint._listener is not None
        assert door.endpoint._listener.turned_away >= dropped
        with pytest.raises(BlockingIOError):
            flood[-1].recv(1)
    finally:
        for one in flood:
            one.close()
        await door.endpoint.close()


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_handshake_that_is_not_finished_in_time_is_over(
    pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    monkeypatch.setattr(endpoint_module, "Bounds", lambda open_max: Bounds(open_max, handshake_s=0.2))
    door = Door(pki, tmp_path)
    await door.endpoint.start()
    one = await idle(door)
    one.sendall(first) if first else None
    try:
        async with asyncio.timeout(20):
            while await asyncio.get_running_loop().sock_recv(one, 1_000):
                continue  # an alert
    except ConnectionResetError:
        pass
    finally:
        one.close()
    await door.endpoint.close()


async def test_open_connections_are_bounded_with_those_that_have_a_certificate(
    pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_module, "CONNECTIONS_MAX", 1)
    door = Door(pki, tmp_path)
    await door.endpoint.start()
    async with door.stream() as first:
        await first.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
        assert isinstance(await said(first), LeadWelcome)
        one = await idle(door)
        await ended(one)
        one.close()
        assert not first.closed
    await door.endpoint.close()


async def test_an_end_of_a_step_that_nobody_knows_ends_its_connection_with_words(door: Door) -> None:
    async with door.stream() as one:
        await one.send_bytes(MEMBER_MESSAGES.encode(door.hello()))
        assert isinstance(await said(one), LeadWelcome)
        wrong = StepEnded(GroupId("shop"), Epoch(7), "1-start-0", "exploded", 0, -1, "")
        await one.send_bytes(MEMBER_MESSAGES.encode(wrong))
        goodbye = await said(one)
        assert isinstance(goodbye, LeadGoodbye)
        assert "step '1-start-0' ended as 'exploded'; known is cancelled, exited" in goodbye.text
    await works(door)
