"""Where other sites' agents reach this one: requests and their answers, or one tunnel to a witness, a connection each.

Rules. Everything has a bound: connections and handshakes (proto/edge/listener.py), the time to say Hello, silence, the
size of a frame, frames a second (the reader waits), what waits to be sent. The first request decides what a connection
is for. A site has one connection for requests; a newer one replaces the older. What is not understood, or not the
speaker's to say, ends this connection with words and concerns no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from agents.client.together import until_one_ends
from agents.site_link.carrier import Carrier, NotCarried
from agents.site_link.greeting import Ourselves, SentAway, greet, require_speaker
from agents.site_link.port import SiteLinkEvents, SiteSays
from agents.site_link.wire import ENDS, Wire, words
from proto.clock import Clock
from proto.edge.identity import Identity, PeerRefused, Role, require_role
from proto.edge.logs import get_logger
from proto.edge.pace import Pace
from proto.edge.tls import identity_of
from proto.errors import FrameRefused
from proto.site_codec import SITE_ANSWERS, SITE_REQUESTS
from proto.site_messages import (
    HoldEnd,
    HoldRequest,
    RelayOpen,
    SiteAnswer,
    SiteGoodbye,
    SiteGoodbyeCode,
    SiteHello,
    SitePing,
    SitePong,
    SiteRequest,
)
from proto.units import SiteId

HELLO_S = 3.0
IDLE_S = 5.0
"""Peers ping every second."""
CLOSE_S = 0.5
FRAMES_PER_S = 200
BURST_FRAMES = 1_200
"""A round of requests for 512 groups, twice."""
OUTBOX_FRAMES_MAX = 1_200

log = get_logger("agents.site_link")


class SiteEndpoint:
    """What all served connections share. Owned by the link."""

    def __init__(self, ours: Ourselves, events: SiteLinkEvents, carrier: Carrier, clock: Clock) -> None:
        self.ours, self.events, self.carrier, self.clock = ours, events, carrier, clock
        self.links: dict[SiteId, Served] = {}
        """Of each site the connection over which it asks."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open_now(self) -> int:
        return len(self._tasks)

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """For the listener: one for each connection past its handshake."""
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._opened)

    def _opened(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Wire(reader, writer)), name="site link, served")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, wire: Wire) -> None:
        try:
            identity = require_role(identity_of(wire.writer.get_extra_info("ssl_object")), Role.AGENT)
            await Served(wire, identity, self).run()
        except PeerRefused as refused:  # judged in the handshake already; twice, because everything rests on it
            log.warning("site_refused", why=str(refused))
        finally:
            wire.close()

    def answer(self, site: SiteId, answer: SiteSays) -> bool:
        link = self.links.get(site)
        return link is not None and link.send(answer)

    async def close(self) -> None:
        self.carrier.end_all()
        for link in tuple(self.links.values()):
            link.end(SiteGoodbyeCode.STOPPING, f"the agent of {self.ours.site} stops")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2 * CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Served:
    """One connection that a peer dialled, from Hello to its end."""

    def __init__(self, wire: Wire, identity: Identity, endpoint: SiteEndpoint) -> None:
        self.site = SiteId(identity.name)
        self._wire = wire
        self._identity = identity
        self._endpoint = endpoint
        self._outbox: deque[bytes] = deque()
        self._outgoing = asyncio.Event()
        self._end = asyncio.Event()
        self._goodbye: SiteGoodbye | None = None
        self._pace = Pace(FRAMES_PER_S, BURST_FRAMES, endpoint.clock.now())

    def send(self, message: SiteAnswer) -> bool:
        if self._end.is_set():
            return False
        self._outbox.append(SITE_ANSWERS.encode(message))
        self._outgoing.set()
        if len(self._outbox) > OUTBOX_FRAMES_MAX:
            self.end(SiteGoodbyeCode.OVERLOADED, f"{OUTBOX_FRAMES_MAX} answers wait and are not read")
        return True

    def end(self, code: SiteGoodbyeCode, text: str) -> None:
        self._goodbye = self._goodbye or SiteGoodbye(code, text)
        self._end.set()

    async def run(self) -> None:
        """Until it is closed, whoever closed it. Raises nothing for what the peer did."""
        try:
            await self._greet()
            first = await self._request()
            if isinstance(first, RelayOpen):
                await self._endpoint.carrier.carry(self.site, first.witness, self._wire)
            else:
                await self._talk(first)
        except NotCarried as refused:
            await self._last(SITE_ANSWERS.encode(refused.refused))
        except SentAway as sent_away:
            self._goodbye = sent_away.goodbye
        except FrameRefused as refused:
            self._goodbye = SiteGoodbye(SiteGoodbyeCode.BAD_FRAME, str(refused)[:400])
        except TimeoutError:
            log.info("site_silent", site=self.site)
        except ENDS as error:
            log.info("site_lost", site=self.site, why=words(error))
        if self._goodbye is not None:
            log.warning("site_sent_away", site=self.site, code=self._goodbye.code.value, why=self._goodbye.text)
            await self._last(SITE_ANSWERS.encode(self._goodbye))

    async def _greet(self) -> None:
        async with asyncio.timeout(HELLO_S):
            hello = SITE_REQUESTS.decode(await self._wire.receive())
        if not isinstance(hello, SiteHello):
            raise FrameRefused(f"SiteHello was expected first, not {type(hello).__name__}")
        welcome = greet(hello, self._identity, self._endpoint.ours)
        await self._wire.send(SITE_ANSWERS.encode(welcome))

    async def _request(self) -> SiteRequest:
        async with asyncio.timeout(IDLE_S):
            frame = await self._wire.receive()
        wait_s = self._pace.taken(self._endpoint.clock.now())
        if wait_s:
            await asyncio.sleep(wait_s)
        return SITE_REQUESTS.decode(frame)

    async def _talk(self, first: SiteRequest) -> None:
        links = self._endpoint.links
        former = links.get(self.site)
        links[self.site] = self
        if former is not None:
            former.end(SiteGoodbyeCode.STOPPING, "the same agent connected anew")
        log.info("site_asks_here", site=self.site)
        try:
            await until_one_ends(self._read(first), self._write(), self._ended())
        finally:
            if links.get(self.site) is self:
                del links[self.site]

    async def _ended(self) -> None:
        await self._end.wait()

    async def _read(self, request: SiteRequest) -> None:
        while True:
            self._take(request)
            request = await self._request()

    def _take(self, request: SiteRequest) -> None:
        if isinstance(request, SitePing):
            self.send(SitePong(request.nonce))
        elif isinstance(request, HoldRequest | HoldEnd):
            require_speaker(self._identity, request.site, (request.group,))
            self._endpoint.events.site_asked(self.site, request)
        else:
            raise FrameRefused(f"{type(request).__name__} has no place on a connection that asks")

    async def _write(self) -> None:
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            while self._outbox:
                await self._wire.send(self._outbox.popleft())

    async def _last(self, frame: bytes) -> None:
        """The last frame, and then time for the other end to read it before the connection goes."""
        with contextlib.suppress(*ENDS):
            async with asyncio.timeout(CLOSE_S):
                await self._wire.send(frame)
                self._wire.writer.close()
                await self._wire.writer.wait_closed()
