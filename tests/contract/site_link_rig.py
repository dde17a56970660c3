"""Two sites and a witness that echoes, over both bodies of the site link."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agents.settings import Endpoint
from agents.site_link.dial import Peer
from agents.site_link.greeting import Ourselves, accept_peers
from agents.site_link.link import Surroundings, TlsSiteLink
from agents.site_link.memory import MemoryNetwork, MemorySiteLink
from agents.site_link.port import SiteAsk, SiteLink, SiteSays, SiteUnreachable
from proto.clock import SystemClock
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate, server_context
from proto.site_messages import HoldAnswer, HoldEnd, HoldRequest, HoldVerdict
from proto.units import Chain, Claim, ClusterId, Epoch, GroupId, Incarnation, Nonce, SiteId, WitnessId
from witness.pki.store import create_ca, issue

INTEGRATION = str(Path(__file__).resolve().parents[1] / "integration")
if INTEGRATION not in sys.path:
    sys.path.append(INTEGRATION)  # there are no packages in tests/
from free_ports import free_ports  # noqa: E402  # after the line above

A, B = SiteId("dc-a"), SiteId("dc-b")
W1 = WitnessId("w1")
G = GroupId("shop")
WAIT_S = 20


def request(number: int = 1, *, site: SiteId = A, group: GroupId = G) -> HoldRequest:
    nonce, chain = Nonce(number.to_bytes(16, "big")), Chain(bytes(16))
    incarnation, claim = Incarnation(b"i" * 16), Claim(b"c" * 16)
    return HoldRequest(nonce, group, site, incarnation, Epoch(7), claim, 10_000, 10_000, 0, number, chain, 1)


def end(*, site: SiteId = A) -> HoldEnd:
    return HoldEnd(Nonce(b"e" * 16), G, site, Incarnation(b"i" * 16), Epoch(7), Claim(b"c" * 16), 1)


def held(asked: SiteAsk) -> HoldAnswer:
    assert isinstance(asked, HoldRequest)
    return HoldAnswer(asked.nonce, asked.group, asked.epoch, asked.number, HoldVerdict.HELD)


@dataclass
class Events:
    """What one site was told."""

    hears: bool = True
    open: set[SiteId] = field(default_factory=set)
    asked: list[tuple[SiteId, SiteAsk]] = field(default_factory=list)
    answered: list[tuple[SiteId, SiteSays]] = field(default_factory=list)
    trips: list[tuple[SiteId, int]] = field(default_factory=list)

    def site_opened(self, site: SiteId) -> None:
        assert site not in self.open
        self.open.add(site)

    def site_closed(self, site: SiteId) -> None:
        self.open.remove(site)

    def site_asked(self, site: SiteId, request: SiteAsk) -> None:
        self.asked.append((site, request))

    def site_answered(self, site: SiteId, answer: SiteSays) -> None:
        self.answered.append((site, answer))

    def site_measured(self, site: SiteId, took_ns: int) -> None:
        self.trips.append((site, took_ns))

    def carries(self) -> bool:
        return self.hears


class Cut(Protocol):
    async def __call__(self) -> None: ...


@dataclass
class World:
    links: dict[SiteId, SiteLink]
    events: dict[SiteId, Events]
    cut: Cut
    """B goes away for good."""
    running: dict[SiteId, asyncio.Task[None]] = field(default_factory=dict)

    async def both_open(self) -> None:
        await until(lambda: self.events[A].open == {B} and self.events[B].open == {A})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - sockets and other tasks have no event for it
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(world: World) -> AsyncIterator[World]:
    for site, link in world.links.items():
        await link.start()
        world.running[site] = asyncio.create_task(link.run())
    try:
        yield world
    finally:
        for site in world.links:
            await stop(world, site)


async def stop(world: World, site: SiteId) -> None:
    task = world.running.pop(site, None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.links[site].close()


# -- a witness that says back what it hears -------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(64 * 1024):
            writer.write(data)
            await writer.drain()
    writer.close()


class EchoServer:
    """On loopback."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.server: asyncio.Server | None = None

    async def start(self) -> Endpoint:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return Endpoint("127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        await echo(reader, writer)

    def close(self) -> None:
        if self.server is not None:
            self.server.close()
        for writer in self.writers:
            writer.close()


# -- bodies ---------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def memory_world(_pki: Path) -> AsyncIterator[World]:
    tasks: list[asyncio.Task[None]] = []

    async def serve(end: socket.socket) -> None:
        await echo(*await asyncio.open_unix_connection(sock=end))

    def witness(name: WitnessId, end: socket.socket) -> None:
        if name != W1:
            raise SiteUnreachable(f"the agent asked knows no witness {name}")
        tasks.append(asyncio.create_task(serve(end)))

    network = MemoryNetwork(witness)
    events = {A: Events(), B: Events()}
    links: dict[SiteId, SiteLink] = {
        A: MemorySiteLink(A, (B,), events[A], network),
        B: MemorySiteLink(B, (A,), events[B], network),
    }
    world = World(links, events, cut=lambda: stop(world, B))
    async with running(world):
        yield world
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def make_pki(directory: Path) -> Path:
    create_ca(directory)
    for site, groups in (("dc-a", ["shop"]), ("dc-b", ["shop"]), ("dc-c", ["shop"])):
        issue(directory, "agent", site, groups=groups, hosts=["127.0.0.1"])
    issue(directory, "witness", "w1", hosts=["127.0.0.1"])
    return directory


def files(pki: Path, name: str) -> TlsFiles:
    where = pki / name
    return TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")


def cluster_of(pki: Path) -> ClusterId:
    return own_certificate(files(pki, "agent-dc-a")).identity.cluster_id


def ourselves(pki: Path, site: SiteId, groups: tuple[GroupId, ...] = (G,)) -> Ourselves:
    return Ourselves(site, cluster_of(pki), "1", groups)


def peer(pki: Path, me: SiteId, other: SiteId, port: int) -> Peer:
    own = files(pki, f"agent-{me}")
    accept = accepting(own_certificate(own).identity, Role.AGENT, name=other)
    return Peer(other, Endpoint("127.0.0.1", port), client_context(own, accept, check_hostname=False))


def tls_link(
    pki: Path, me: SiteId, other: SiteId, ports: dict[SiteId, int], events: Events, witness: Endpoint
) -> TlsSiteLink:
    context = server_context(files(pki, f"agent-{me}"), accept_peers(cluster_of(pki), {other}))
    listen = Endpoint("127.0.0.1", ports[me])
    around = Surroundings(ourselves(pki, me), listen, context, {W1: witness}, SystemClock(), lambda: 0.0)
    return TlsSiteLink((peer(pki, me, other, ports[other]),), events, around)


@contextlib.asynccontextmanager
async def tls_world(pki: Path) -> AsyncIterator[World]:
    echoing = EchoServer()
    witness = await echoing.start()
    ports = dict(zip((A, B), free_ports(2), strict=True))
    events = {A: Events(), B: Events()}
    links: dict[SiteId, SiteLink] = {
        A: tls_link(pki, A, B, ports, events[A], witness),
        B: tls_link(pki, B, A, ports, events[B], witness),
    }
    world = World(links, events, cut=lambda: stop(world, B))
    async with running(world):
        yield world
    echoing.close()
