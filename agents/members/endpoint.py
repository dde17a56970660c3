"""Where members reach their lead: one stream each, over a WebSocket with mutual TLS.

Rules. Who speaks is what the certificate says: a member of this very site, by a name that the configuration has; Hello
and every ask must agree with it. A frame that is not understood ends this stream and concerns no other. Everything has
a bound: connections, with and without a certificate (proto/edge/listener.py), the size of a frame, asks a second (the
reader waits), what waits to be sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque

from aiohttp import WSMsgType, web

from agents.client.together import until_one_ends
from agents.members.desk import MemberDesk
from agents.settings import Endpoint
from proto.clock import Clock
from proto.edge.identity import Identity, PeerRefused, Role, member_certificate_name, require_role
from proto.edge.listener import Bounds, TlsListener
from proto.edge.logs import get_logger
from proto.edge.tls import identity_of
from proto.errors import FrameRefused, LocalFault, NotNow
from proto.limits import FRAME_BYTES_MAX
from proto.member_codec import LEAD_MESSAGES, MEMBER_MESSAGES
from proto.member_messages import (
    MEMBER_PROTOCOL,
    LeadGoodbye,
    LeadMessage,
    LeadWelcome,
    MemberAsk,
    MemberHello,
    MemberMessage,
    StepEnded,
)
from proto.units import NS_PER_S, ClusterId, SiteId

PATH = "/v1/member"
HELLO_S = 5.0
IDLE_S = 5.0
"""Members ask at least twice a second."""
CLOSE_S = 0.5
SHUTDOWN_S = 1.0
CONNECTIONS_MAX = 256
FRAMES_PER_S = 200
BURST_FRAMES = 400
OUTBOX_FRAMES_MAX = 256

log = get_logger("agents.members")


class MemberEndpoint:
    """Owned by the lead's supervisor."""

    def __init__(
        self, desk: MemberDesk, cluster: ClusterId, site: SiteId, listen: Endpoint, tls: ssl.SSLContext, clock: Clock
    ) -> None:
        self.desk, self.cluster, self.site, self.clock = desk, cluster, site, clock
        self._listen = listen
        self._tls = tls
        self._open = 0
        app = web.Application(client_max_size=1_024)
        app.router.add_get(PATH, self._stream)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        self._listener: TlsListener | None = None

    async def start(self) -> None:
        """Raises NotNow or LocalFault when it cannot listen."""
        await self._runner.setup()
        if self._runner.server is None:
            raise LocalFault("the members' endpoint was set up twice")
        server = self._runner.server
        self._listener = TlsListener(
            "members", self._tls, server, lambda: len(server.connections), Bounds(CONNECTIONS_MAX)
        )
        try:
            await self._listener.start(self._listen.host, self._listen.port)
        except OSError as error:
            rule = f"cannot listen there: {error.strerror or error}"
            remedy = "choose an address of this machine and a free port"
            raise NotNow("members_listen", str(self._listen), rule, remedy) from error

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
        for link in tuple(self.desk.links.values()):
            link.end("the lead agent stops")
        await self._runner.cleanup()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        try:
            ssl_object = None if transport is None else transport.get_extra_info("ssl_object")
            identity = require_role(identity_of(ssl_object), Role.MEMBER)
        except PeerRefused as refused:
            return web.json_response({"error": str(refused)}, status=403)
        if self._open >= CONNECTIONS_MAX:
            return web.json_response({"error": f"{CONNECTIONS_MAX} members are connected"}, status=503)
        self._open += 1
        try:
            socket = web.WebSocketResponse(max_msg_size=FRAME_BYTES_MAX, compress=False, timeout=CLOSE_S)
            await socket.prepare(request)
            await MemberStream(socket, identity, self).run()
        finally:
            self._open -= 1
        return socket


class MemberStream:
    """One connection, from Hello to its end. Implements agents.members.desk.MemberLink."""

    def __init__(self, socket: web.WebSocketResponse, identity: Identity, endpoint: MemberEndpoint) -> None:
        self._socket = socket
        self._identity = identity
        self._endpoint = endpoint
        self._hello: MemberHello | None = None
        self._outbox: deque[bytes] = deque()
        self._outgoing = asyncio.Event()
        self._end = asyncio.Event()
        self._why = ""
        self._allowance = float(BURST_FRAMES)
        self._counted_at = endpoint.clock.now()

    @property
    def hello(self) -> MemberHello:
        if self._hello is None:
            raise FrameRefused("MemberHello was expected first")
        return self._hello

    def send(self, message: LeadMessage) -> None:
        self._outbox.append(LEAD_MESSAGES.encode(message))
        self._outgoing.set()
        if len(self._outbox) > OUTBOX_FRAMES_MAX:
            self.end(f"{OUTBOX_FRAMES_MAX} messages wait to be sent: the member does not take them")

    def end(self, why: str) -> None:
        self._why = self._why or why
        self._end.set()

    async def run(self) -> None:
        """Until it is closed, whoever closed it. Raises nothing for what the member did."""
        try:
            async with asyncio.timeout(HELLO_S):
                self._greet(await self._message())
            await until_one_ends(self._read(), self._write(), self._ending())
        except (FrameRefused, PeerRefused) as refused:
            self._why = self._why or str(refused)
            await self._say_goodbye(self._why)
        except TimeoutError:
            self._why = self._why or "nothing was heard in time"
        except ConnectionError as error:
            self._why = self._why or str(error)
        finally:
            if self._hello is not None:
                self._endpoint.desk.closed(self, self._why)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self._socket.close()

    def _greet(self, hello: MemberMessage) -> None:
        """Raises FrameRefused or PeerRefused with what to do."""
        if not isinstance(hello, MemberHello):
            raise FrameRefused(f"MemberHello was expected first, not {type(hello).__name__}")
        if hello.protocol != MEMBER_PROTOCOL:
            raise FrameRefused(
                f"it speaks protocol {hello.protocol}, the lead {MEMBER_PROTOCOL}: install one version on all hosts"
            )
        mine = self._endpoint
        if (hello.cluster, hello.site) != (mine.cluster, mine.site):
            raise PeerRefused(f"this is site {mine.site} of cluster {mine.cluster}: check `lead`, `site` and `cluster`")
        require_role(self._identity, Role.MEMBER, name=member_certificate_name(hello.member, hello.site))
        spec = mine.desk.spec(hello.member)
        if spec is None:
            raise PeerRefused(f"the site's configuration has no member {hello.member}: add it under `members`")
        for offer in hello.groups:
            if offer.group not in spec.groups or not self._identity.may_serve(offer.group):
                raise PeerRefused(f"{hello.member} may not serve {offer.group}: see its certificate and `members`")
        self._hello = hello
        self.send(LeadWelcome(mine.site, mine.cluster))
        mine.desk.opened(self)

    async def _read(self) -> None:
        while True:
            async with asyncio.timeout(IDLE_S):
                message = await self._message()
            await self._pace()
            if isinstance(message, MemberAsk):
                self.send(self._endpoint.desk.asked(self, message))
            elif isinstance(message, StepEnded):
                self._endpoint.desk.step_ended(self, message)
            else:
                raise FrameRefused("MemberHello was said already")

    async def _pace(self) -> None:
        """A token bucket; a member that is too fast is read more slowly, which its own TCP feels."""
        now = self._endpoint.clock.now()
        gained = (now - self._counted_at) * FRAMES_PER_S / NS_PER_S
        self._counted_at = now
        self._allowance = min(self._allowance + gained, float(BURST_FRAMES)) - 1
        if self._allowance < 0:
            await asyncio.sleep(-self._allowance / FRAMES_PER_S)

    async def _message(self) -> MemberMessage:
        frame = await self._socket.receive()
        if frame.type is WSMsgType.BINARY:
            return MEMBER_MESSAGES.decode(bytes(frame.data))
        if frame.type is WSMsgType.TEXT:
            raise FrameRefused("text came where binary frames are spoken")
        raise ConnectionResetError("closed by the member")

    async def _write(self) -> None:
        while True:
            await self._outgoing.wait()
            self._outgoing.clear()
            while self._outbox:
                await self._socket.send_bytes(self._outbox.popleft())

    async def _ending(self) -> None:
        await self._end.wait()
        raise ConnectionResetError(self._why)

    async def _say_goodbye(self, why: str) -> None:
        log.warning("member_sent_away", member=self._identity.name, why=why)
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.send_bytes(LEAD_MESSAGES.encode(LeadGoodbye(why[:400])))
