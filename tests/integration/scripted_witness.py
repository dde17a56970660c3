"""A witness that follows a script: real WebSocket, no Raft, one lease that the test grants, revokes and refuses."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Self

from aiohttp import WSMsgType, web

from agents.settings import Endpoint
from proto.codec import AGENT_MESSAGES, REPORTS, WITNESS_MESSAGES
from proto.decisions import Reason
from proto.features import FEATURE_MAX
from proto.health import HealthReport, SiteState
from proto.messages import (
    GroupAnswer,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Notice,
    NoticeKind,
    Ping,
    Pong,
    Release,
    ReleaseAnswer,
    RevokePhase,
    Verdict,
    Welcome,
    WitnessMessage,
)
from proto.units import Claim, ClusterId, Epoch, GroupId, Incarnation, RenewalNo, WitnessId

TTL_MS = 2_000
NO_CLAIM = Claim(bytes(16))


@dataclass
class ScriptedLease:
    """Shared by the witnesses of one test: the part of the replicated machine that the agent sees."""

    group: GroupId
    ttl_ms: int = TTL_MS
    epoch: int = 0
    claim: Claim | None = None
    renewal: int = 0
    revoke: RevokePhase = RevokePhase.NONE
    refuse: Reason | None = None
    releases: list[Release] = field(default_factory=list)
    reports: list[HealthReport] = field(default_factory=list)

    def grant(self, epoch: int) -> None:
        self.epoch, self.claim, self.renewal, self.revoke, self.refuse = (
            epoch,
            None,
            0,
            RevokePhase.NONE,
            None,
        )

    def expire(self) -> None:
        self.epoch, self.claim = 0, None

    @property
    def state(self) -> SiteState | None:
        return self.reports[-1].state if self.reports else None

    def answer(self, beat: GroupHeartbeat) -> GroupAnswer:
        self.reports.append(REPORTS.decode(beat.report))
        verdict, reason = self._judge(beat)
        return GroupAnswer(
            group=self.group,
            verdict=verdict,
            epoch=Epoch(self.epoch),
            renewal=RenewalNo(self.renewal),
            ttl_ms=self.ttl_ms,
            drift_max_ppm=10_000,
            lock_delay_ms=0,
            revoke=self.revoke,
            group_version=1,
            reason=reason,
        )

    def _judge(self, beat: GroupHeartbeat) -> tuple[Verdict, Reason]:
        if beat.epoch == 0:
            return (Verdict.GRANTED if self.epoch and self.claim is None else Verdict.DORMANT), Reason.OK
        if self.refuse is not None:
            return Verdict.REFUSED, self.refuse
        if beat.epoch != self.epoch:
            return Verdict.REFUSED, Reason.NOT_HOLDER
        if self.claim is None:
            self.claim = beat.claim
        if beat.claim != self.claim:
            return Verdict.REFUSED, Reason.WRONG_CLAIM
        self.renewal += 1
        return Verdict.RENEWED, Reason.OK

    def release(self, release: Release) -> ReleaseAnswer:
        self.releases.append(release)
        ours = (release.epoch, release.claim) == (self.epoch, self.claim)
        if ours:
            self.expire()
        return ReleaseAnswer(release.nonce, release.group, release.epoch, Reason.OK if ours else Reason.NOT_HOLDER)


class ScriptedWitness:
    """Use as an async context manager."""

    def __init__(
        self,
        witness: str,
        cluster: ClusterId,
        lease: ScriptedLease,
        *,
        leading: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.id = WitnessId(witness)
        self.lease = lease
        self.silent = False
        """Heartbeats and releases stay unanswered; pings are answered (a witness without a majority)."""
        self.beats = 0
        self.ended: tuple[Incarnation, ...] = ()
        """Those that the newest heartbeat names."""
        self.features = FEATURE_MAX
        self.answered = 0
        self.hellos: list[Hello] = []
        self._cluster = cluster
        self._leading = leading
        self._tls = tls
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/agent", self._stream)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for socket in list(self._sockets):
            await socket.close()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def endpoint(self) -> Endpoint:
        assert self._runner is not None
        return Endpoint("127.0.0.1", self._runner.addresses[0][1])

    async def notice(self, kind: NoticeKind) -> None:
        for socket in self._sockets:
            await self._say(socket, Notice(self.lease.group, kind, Epoch(self.lease.epoch)))

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, timeout=0.5)
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    break
                await self._hear(socket, AGENT_MESSAGES.decode(message.data))
        finally:
            self._sockets.discard(socket)
        return socket

    async def _hear(self, socket: web.WebSocketResponse, message: object) -> None:
        if isinstance(message, Hello):
            self.hellos.append(message)
            await self._say(socket, Welcome(self.id, self._cluster, self._leading))
        elif isinstance(message, Ping):
            await self._say(socket, Pong(message.nonce, self._leading, has_quorum=True, features=self.features))
        elif isinstance(message, Heartbeat):
            self.beats += 1
            self.ended = message.ended
            if not self.silent:
                self.answered += 1
                answers = tuple(self.lease.answer(beat) for beat in message.groups)
                await self._say(socket, HeartbeatAnswer(message.nonce, answers))
        elif isinstance(message, Release) and not self.silent:
            await self._say(socket, self.lease.release(message))

    @staticmethod
    async def _say(socket: web.WebSocketResponse, message: WitnessMessage) -> None:
        try:
            await socket.send_bytes(WITNESS_MESSAGES.encode(message))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except RuntimeError:
            return  # closing
