"""A witness's TLS port over a scripted cluster, on real sockets on loopback, with a PKI made once a session."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from proto.clock import SystemClock
from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES
from proto.commands import Author, Command, PutEscrow, ReleaseLease
from proto.decisions import Reason
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate, server_context
from proto.events import Event, EventKind
from proto.groups import GroupConfig
from proto.lease import LeaseConstants
from proto.license import LicenseSpec
from proto.messages import AgentMessage, Hello, Ping, WitnessMessage
from proto.units import NS_PER_MS, ClusterId, Epoch, GroupId, Incarnation, LogIndex, Nonce, SiteId, WallMs, WitnessId
from witness.core.effects import Outcome
from witness.http.app import build_app
from witness.http.keys import Services
from witness.http.stream_table import StreamTable
from witness.pki.store import create_ca, issue
from witness.runtime.telemetry import Telemetry
from witness.settings import LimitSettings

SHOP = GroupId("shop")
ANSWER_S = 5.0


class Pki:
    """One CA with a witness, agents and operators of every role."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = ClusterId(create_ca(directory).cluster_id)
        issue(directory, "witness", "w1", hosts=["127.0.0.1"])
        issue(directory, "agent", "dc-a", groups=["shop"])
        issue(directory, "agent", "dc-b", groups=["*"])
        for role in ("viewer", "operator", "admin"):
            issue(directory, "operator", role, role=role)

    def files(self, name: str) -> TlsFiles:
        where = self.directory / name
        return TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")


@dataclass
class FakeCluster:
    """Answers what it is told to; records what it was asked."""

    outcome: Outcome = field(default_factory=lambda: Outcome(Reason.OK))
    commands: list[Command] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    speakers: list[object] = field(default_factory=list)
    withdrawn: list[object] = field(default_factory=list)
    pings: list[tuple[SiteId, Incarnation, Ping]] = field(default_factory=list)
    unanswered: list[Callable[[Outcome], None]] = field(default_factory=list)
    hold_answers: bool = False
    plan: Command | Outcome | None = None
    fails: bool = False
    quorum: bool = True
    licenses: tuple[LicenseSpec, ...] = ()
    level: int = 1

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping) -> None:
        self.pings.append((site, incarnation, ping))

    def heartbeat(self, frame: bytes, on_outcome: Callable[[Outcome], None], speaker: object) -> None:
        self.frames.append(frame)
        self.speakers.append(speaker)
        if self.hold_answers:
            self.unanswered.append(on_outcome)
        else:
            on_outcome(self.outcome)

    def withdraw(self, speaker: object) -> None:
        self.withdrawn.append(speaker)

    def release(self, command: ReleaseLease, on_outcome: Callable[[Outcome], None]) -> None:
        self.commands.append(command)
        on_outcome(self.outcome)

    def put_escrow(self, command: PutEscrow, on_outcome: Callable[[Outcome], None]) -> None:
        self.commands.append(command)
        on_outcome(self.outcome)

    async def submit(self, command: Command) -> Outcome:
        if self.fails:
            raise RuntimeError("the secret is 4711")
        self.commands.append(command)
        return self.outcome

    def plan_switchover(self, group: GroupId, to: SiteId, author: Author) -> Command | Outcome:
        return self.plan or Outcome(Reason.NO_CANDIDATE, f"{group} {to} {author.name}")

    def place(self) -> tuple[bool, bool, bool]:
        return True, self.quorum, True

    def feature_level(self) -> int:
        return self.level

    def summary(self) -> dict[str, Any]:
        return {"witness": "w1", "leader": "w1", "groups": 1}

    def timing(self) -> dict[str, Any]:
        return {"witness": "w1", "leader_changes": 0, "sites": {}}

    def group_names(self) -> list[GroupId]:
        return [GroupId("billing"), GroupId("mail"), SHOP]

    def group_status(self, group: GroupId) -> dict[str, Any] | None:
        return {"group": group, "epoch": 7, "version": 3} if group in self.group_names() else None

    def group_config(self, group: GroupId) -> tuple[GroupConfig, int] | None:
        sites = (SiteId("dc-a"), SiteId("dc-b"))
        return GroupConfig(group, sites, LeaseConstants(3_000, 10_000, 0), licenses=self.licenses), 3

    def events(self, after_seq: int, limit: int) -> list[Event]:
        numbers = range(after_seq + 1, min(after_seq + limit, self.events_head()) + 1)
        return [
            Event(seq, LogIndex(seq), EventKind.MODE, SHOP, None, Epoch(0), "ann", "t", WallMs(0), b"\1")
            for seq in numbers
        ]

    def events_head(self) -> int:
        return 5


@dataclass
class Running:
    """A served port and the ways in."""

    pki: Pki
    cluster: FakeCluster
    services: Services
    port: int

    def session(self, name: str) -> aiohttp.ClientSession:
        files = self.pki.files(name)
        accept = accepting(own_certificate(files).identity, Role.WITNESS)
        connector = aiohttp.TCPConnector(ssl=client_context(files, accept))
        return aiohttp.ClientSession(f"https://127.0.0.1:{self.port}", connector=connector)

    @contextlib.asynccontextmanager
    async def agent(self, name: str = "agent-dc-a", **socket: Any) -> AsyncIterator[Agent]:
        async with self.session(name) as session, session.ws_connect("/v1/agent", compress=0, **socket) as ws:
            yield Agent(self, ws)

    async def call(self, who: str, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self.session(f"operator-{who}") as session, session.request(method, path, json=body, **more) as got:
            return got.status, await got.json()


@dataclass
class Agent:
    """A scripted agent's end of a stream."""

    running: Running
    socket: aiohttp.ClientWebSocketResponse
    incarnation: Incarnation = field(default_factory=lambda: Incarnation(os.urandom(16)))

    async def say(self, message: AgentMessage) -> None:
        await self.socket.send_bytes(AGENT_MESSAGES.encode(message))

    async def hear(self) -> WitnessMessage:
        message = await self.socket.receive(timeout=ANSWER_S)
        if message.type is not WSMsgType.BINARY:
            raise ConnectionError(f"{message.type!r} {message.data!r}")
        return WITNESS_MESSAGES.decode(message.data)

    async def closed(self) -> bool:
        message = await self.socket.receive(timeout=ANSWER_S)
        return message.type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING)

    async def hello(self, **changed: Any) -> WitnessMessage:
        hello = {
            "site": SiteId("dc-a"),
            "incarnation": self.incarnation,
            "agent_version": "1",
            "cluster": self.running.pki.cluster,
            "groups": (SHOP,),
        }
        await self.say(Hello(**{**hello, **changed}))
        return await self.hear()


def nonce() -> Nonce:
    return Nonce(os.urandom(16))


@contextlib.asynccontextmanager
async def serve(pki: Pki, limits: LimitSettings | None = None) -> AsyncIterator[Running]:
    limits = limits or LimitSettings()
    cluster, clock = FakeCluster(), SystemClock()
    streams = StreamTable(limits.streams_max, limits.idle_timeout_ms * NS_PER_MS, clock.now)
    services = Services(pki.cluster, WitnessId("w1"), cluster, streams, Telemetry(), limits, clock)
    files = pki.files("witness-w1")
    context = server_context(files, accepting(own_certificate(files).identity, Role.AGENT, Role.OPERATOR))
    runner = web.AppRunner(build_app(services), access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield Running(pki, cluster, services, runner.addresses[0][1])
    finally:
        await runner.cleanup()
