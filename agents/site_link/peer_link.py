"""One connection to one peer, kept open: our requests go out on it, its answers come back on it.

Rule: what is asked is queued up to a bound; a peer that does not take it loses the connection rather than our memory.
What waits when a connection ends is dropped: a request is asked again by the core, with a fresh nonce.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from agents.client.reopen import keep_open
from agents.client.together import until_one_ends
from agents.site_link.dial import Dialled, Peer, answer_of, dial
from agents.site_link.greeting import Ourselves
from agents.site_link.port import SiteAsk, SiteLinkEvents, SiteUnreachable
from agents.site_link.wire import Wire, words
from proto.clock import Clock
from proto.edge.identity import Identity
from proto.edge.pace import Pace
from proto.errors import FrameRefused
from proto.site_codec import SITE_REQUESTS
from proto.site_messages import HoldAnswer, HoldEndAnswer, SitePing, SitePong, SiteRequest
from proto.units import NS_PER_MS, TOKEN_BYTES, InstantNs, Nonce

PING_S = 1.0
IDLE_S = 5.0
QUEUE_FRAMES_MAX = 1_200
FRAMES_PER_S = 200
BURST_FRAMES = 1_200
"""As at the other end (agents/site_link/endpoint.py): answers come as fast as requests go."""


@dataclass(slots=True)
class PeerStatus:
    connected: bool = False
    problem: str = ""
    """Why the last attempt or connection ended, in the peer's own words when it said goodbye."""
    version: str = ""
    opened: int = 0
    rtt_ms: float | None = None


class PeerLink:
    """Owned by the link."""

    def __init__(
        self, peer: Peer, ours: Ourselves, events: SiteLinkEvents, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self.peer = peer
        self.status = PeerStatus()
        self._ours, self._events, self._clock, self._jitter = ours, events, clock, jitter
        self._log = structlog.stdlib.get_logger("agents.site_link").bind(site=peer.site, address=str(peer.address))
        self._identity: Identity | None = None
        self._outbox: asyncio.Queue[SiteRequest] | None = None
        self._full = asyncio.Event()
        self._pinged: tuple[Nonce, InstantNs] | None = None

    def words(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "site": self.peer.site,
            "address": str(self.peer.address),
            "connected": self.status.connected,
            "opened": self.status.opened,
            "rtt_ms": self.status.rtt_ms,
        }
        if self.status.version:
            shown["version"] = self.status.version
        if self.status.problem:
            shown["problem"] = self.status.problem
        return shown

    def ask(self, request: SiteAsk) -> bool:
        if self._outbox is None or self._identity is None or not self._identity.may_serve(request.group):
            return False
        try:
            self._outbox.put_nowait(request)
        except asyncio.QueueFull:
            self._full.set()
            return False
        return True

    async def keep_open(self) -> None:
        """Until cancelled."""
        await keep_open(self._one_connection, self._jitter)

    async def _one_connection(self) -> bool:
        """False: whatever ended it, another attempt may go better."""
        problem = await self._until_it_ends()
        if problem != self.status.problem:
            self._log.warning("site_link_closed", why=problem, remedy="none needed: the agent goes on trying")
        self.status.problem = problem
        return False

    async def _until_it_ends(self) -> str:
        """Why it ended."""
        try:
            dialled = await dial(self.peer, self._ours)
        except SiteUnreachable as error:
            return str(error)
        try:
            await self._talk(dialled)
        except (SiteUnreachable, FrameRefused, OSError, EOFError, RuntimeError) as error:
            return words(error)
        finally:
            dialled.wire.close()
        return "it ended"

    async def _talk(self, dialled: Dialled) -> None:
        self.status.connected, self.status.problem = True, ""
        self.status.version = dialled.welcome.version
        self.status.opened += 1
        self._identity = dialled.identity
        self._outbox = asyncio.Queue(QUEUE_FRAMES_MAX)
        self._full.clear()
        self._log.info("site_link_open", version=dialled.welcome.version)
        self._events.site_opened(self.peer.site)
        wire, outbox = dialled.wire, self._outbox
        try:
            await until_one_ends(self._read(wire), self._write(wire, outbox), self._ping(), self._overflow())
        finally:
            self._outbox = self._identity = self._pinged = None
            self.status.connected, self.status.rtt_ms = False, None
            self._events.site_closed(self.peer.site)

    async def _read(self, wire: Wire) -> None:
        pace = Pace(FRAMES_PER_S, BURST_FRAMES, self._clock.now())
        while True:
            async with asyncio.timeout(IDLE_S):
                answer = await answer_of(wire)
            if isinstance(answer, SitePong):
                self._ponged(answer.nonce)
            elif isinstance(answer, HoldAnswer | HoldEndAnswer):
                if self._identity is None or not self._identity.may_serve(answer.group):
                    raise FrameRefused(f"its certificate does not speak for {answer.group}")
                self._events.site_answered(self.peer.site, answer)
            else:
                raise FrameRefused(f"{type(answer).__name__} was not asked for")
            await asyncio.sleep(pace.taken(self._clock.now()))

    async def _write(self, wire: Wire, outbox: asyncio.Queue[SiteRequest]) -> None:
        while True:
            await wire.send(SITE_REQUESTS.encode(await outbox.get()))

    async def _ping(self) -> None:
        while self._outbox is not None:
            if not self._outbox.full():
                nonce = Nonce(secrets.token_bytes(TOKEN_BYTES))
                self._pinged = (nonce, self._clock.now())
                self._outbox.put_nowait(SitePing(nonce))
            await asyncio.sleep(PING_S)

    async def _overflow(self) -> None:
        await self._full.wait()
        raise SiteUnreachable(f"{QUEUE_FRAMES_MAX} requests wait to be sent: the peer does not take them")

    def _ponged(self, nonce: Nonce) -> None:
        if self._pinged is not None and self._pinged[0] == nonce:
            took_ns = self._clock.now() - self._pinged[1]
            self.status.rtt_ms = round(took_ns / NS_PER_MS, 1)
            self._pinged = None
            self._events.site_measured(self.peer.site, took_ns)
