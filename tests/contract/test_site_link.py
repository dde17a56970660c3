"""One suite for both bodies of agents.site_link.port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from site_link_rig import W1, A, B, World, end, held, make_pki, memory_world, request, tls_world, until

from agents.site_link.port import SiteUnreachable
from proto.units import SiteId, WitnessId


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[tls_world, memory_world], ids=["tls", "memory"])
async def world(request: pytest.FixtureRequest, pki: Path) -> AsyncIterator[World]:
    async with request.param(pki) as made:
        await made.both_open()
        yield made


async def test_requests_arrive_in_order_and_answers_come_back(world: World) -> None:
    a, b = world.events[A], world.events[B]
    asked = [request(number) for number in range(1, 100)]
    assert all(world.links[A].ask(B, one) for one in asked)
    await until(lambda: len(b.asked) == len(asked))
    assert b.asked == [(A, one) for one in asked]
    answers = [held(one) for _, one in b.asked]
    assert all(world.links[B].answer(A, one) for one in answers)
    await until(lambda: len(a.answered) == len(answers))
    assert a.answered == [(B, one) for one in answers]


async def test_both_sites_ask_at_once(world: World) -> None:
    assert world.links[A].ask(B, end())
    assert world.links[B].ask(A, request(site=B))
    await until(lambda: bool(world.events[A].asked and world.events[B].asked))
    assert world.events[B].asked == [(A, end())]
    assert world.events[A].asked == [(B, request(site=B))]


async def test_who_is_gone_is_told_and_not_asked(world: World) -> None:
    await world.cut()
    await until(lambda: world.events[A].open == set())
    assert not world.links[A].ask(B, request())
    assert not world.links[A].answer(B, held(request()))
    with pytest.raises(SiteUnreachable):
        await world.links[A].tunnel(B, W1)


async def test_a_site_that_is_no_peer_is_not_there(world: World) -> None:
    nowhere = SiteId("dc-x")
    assert not world.links[A].ask(nowhere, request())
    assert not world.links[A].answer(nowhere, held(request()))
    with pytest.raises(SiteUnreachable):
        await world.links[A].tunnel(nowhere, W1)


async def stream(end_: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(sock=end_)


async def test_a_tunnel_carries_bytes_both_ways_and_ends_with_its_socket(world: World) -> None:
    reader, writer = await stream(await world.links[A].tunnel(B, W1))
    said = bytes(range(256)) * 4_096
    writer.write(said)
    async with asyncio.timeout(20):
        assert await reader.readexactly(len(said)) == said
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    again, writer = await stream(await world.links[A].tunnel(B, W1))
    writer.write(b"x")
    async with asyncio.timeout(20):
        assert await again.readexactly(1) == b"x"
    writer.close()


async def test_a_site_that_hears_no_witness_carries_nothing(world: World) -> None:
    world.events[B].hears = False
    with pytest.raises(SiteUnreachable, match="not-heard"):
        await world.links[A].tunnel(B, W1)


async def test_a_witness_that_the_other_site_does_not_know(world: World) -> None:
    with pytest.raises(SiteUnreachable, match="knows no witness w9"):
        await world.links[A].tunnel(B, WitnessId("w9"))


async def test_the_status_names_every_peer(world: World) -> None:
    (row,) = world.links[A].status()
    assert (row["site"], row["connected"]) == (B, True)
