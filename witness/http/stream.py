"""(4) An agent's stream: frames in, committed answers and notices out, over one WebSocket with mutual TLS.

Rules. Who speaks is what the certificate says; Hello, every heartbeat and every release must agree with it. A frame
that is not understood ends this stream with Goodbye, and concerns no other. Everything has a bound: the size of a
frame, frames a second (the reader waits), answers pending (more heartbeats are dropped: the agent sends again),
what waits to be sent (a client that does not read is dropped). An answer exists only for what was committed or
refused by the machine; where nobody knows, silence: the agent's own clock is the safe judge of that.

Rejected: JSON (four times the bytes), compression (the frames are small and it costs a core), HTTP requests per
heartbeat (no push, and a handshake when a connection was dropped).
"""

from __future__ import annotations

import asyncio
from collections import deque

from aiohttp import WSMsgType, web

from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES, NewerFrame
from proto.commands import PutEscrow, ReleaseLease
from proto.decisions import Reason
from proto.edge.identity import Identity
from proto.edge.logs import get_logger
from proto.errors import FrameRefused, ThirdsiteError
from proto.features import FEATURE_FIRST
from proto.limits import FRAME_BYTES_MAX, TEXT_CHARS_MAX
from proto.messages import (
    AgentMessage,
    EscrowPut,
    EscrowPutAnswer,
    Goodbye,
    GoodbyeCode,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Notice,
    Ping,
    Pong,
    Release,
    ReleaseAnswer,
    Welcome,
    WitnessMessage,
)
from proto.units import NS_PER_S, GroupId, Incarnation, InstantNs, SiteId
from witness.core.effects import Outcome
from witness.core.holds_rules import HOLDS_LEVEL
from witness.http.keys import Services
from witness.http.stream_table import StreamRefused

HELLO_S = 5.0
PING_S = 2.0
"""A stream whose end does not answer a WebSocket ping within half of this again is dead."""
CLOSE_S = 1.0
BURST_S = 2
OUTBOX_FRAMES_MAX = 1_024
UNDECIDED = frozenset({Reason.NO_QUORUM, Reason.OUTCOME_UNKNOWN, Reason.OVERLOADED})
"""Outcomes that say nothing about the command: they are not answered."""

log = get_logger(__name__)


class AgentStream:
    """One connection, from Hello to its end. Implements stream_table.LiveStream."""

    def __init__(
        self, socket: web.WebSocketResponse, identity: Identity, services: Services, address: str | None = None
    ) -> None:
        """`address`: where the agent, or the one that carries its streams, dials from; for the log."""
        self._address = address
        self._socket = socket
        self._identity = identity
        self._services = services
        self._outbox: deque[bytes] = deque()
        self._outgoing = asyncio.Event()
        self._pending = 0
        self._goodbye: Goodbye | None = None
        self._over = False
        self._features = FEATURE_FIRST
        """What the agent can read."""
        self._allowance = float(services.limits.frames_per_s * BURST_S)
        self.site = SiteId(identity.name)
        self.incarnation = Incarnation(b"")
        self.heard_at = services.clock.now()

    # -- life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Returns when the stream is closed, whoever closed it. Raises nothing for what the agent did."""
        writer: asyncio.Task[None] | None = None
        try:
            await self._greet()
            writer = asyncio.create_task(self._write())
            log.info("stream_opened", site=self.site, incarnation=self.incarnation.hex()[:8], address=self._address)
            await self._read()
        except StreamRefused as refused:
            self._refuse(refused.code, str(refused))
        except NewerFrame as error:
            text = f"{error}: the witnesses are upgraded before the agents; see `witnessctl status`"
            self._refuse(GoodbyeCode.VERSION, text)
        except FrameRefused as error:
            self._refuse(GoodbyeCode.BAD_FRAME, str(error))
        except TimeoutError:
            self._refuse(GoodbyeCode.BAD_FRAME, f"no Hello within {HELLO_S:.0f} s")
        except ConnectionError as error:
            log.info("stream_lost", site=self.site, error=str(error))
        finally:
            self._over = True
            self._services.cluster.withdraw(self)
            self._services.streams.leave(self.site, self)
            if writer is not None:
                self._outgoing.set()
                await asyncio.wait({writer}, timeout=CLOSE_S)
                writer.cancel()
            await self._close()

    async def _greet(self) -> None:
        async with asyncio.timeout(HELLO_S):
            hello = AGENT_MESSAGES.decode(await self._frame())  # it does not enter the log
        if not isinstance(hello, Hello):
            raise FrameRefused(f"Hello was expected first, not {type(hello).__name__}")
        own = self._services.cluster_id
        if hello.cluster != own:
            text = f"this is cluster {own}, the agent is bound to {hello.cluster:.40}: check its configuration"
            raise StreamRefused(GoodbyeCode.WRONG_CLUSTER, text)
        self._require_site(hello.site)
        for group in hello.groups:
            self._require_group(group)
        self.incarnation, self._features = hello.incarnation, hello.features
        self._services.streams.admit(self.site, self)
        leading, _, _ = self._services.cluster.place()
        self._send(Welcome(self._services.witness, own, leading))

    async def _read(self) -> None:
        while True:
            frame = await self._frame()
            self._account()
            if self._allowance < 0:
                await asyncio.sleep(-self._allowance / self._services.limits.frames_per_s)
            message = self._decode(frame)
            if isinstance(message, Heartbeat):
                self._heartbeat(frame, message)
            elif isinstance(message, Ping):
                self._ping(message)
            elif isinstance(message, Release):
                self._release(message)
            elif isinstance(message, EscrowPut):
                self._escrow_put(message)
            else:
                raise FrameRefused("Hello was said already")

    def _decode(self, frame: bytes) -> AgentMessage:
        """Read at the cluster's level: what not every witness can read must not enter the log."""
        return AGENT_MESSAGES.decode(frame, self._services.cluster.feature_level())

    async def _frame(self) -> bytes:
        """The next binary frame; ConnectionError when the stream is over."""
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            if len(data) > FRAME_BYTES_MAX:
                raise FrameRefused(f"{len(data)} bytes, at most {FRAME_BYTES_MAX} are taken")
            return data
        if message.type is WSMsgType.TEXT:
            raise FrameRefused("text came where binary frames are spoken")
        if message.type is WSMsgType.ERROR:
            raise ConnectionError(f"broken: {message.data!r:.80}")
        raise ConnectionResetError("closed here" if self._over else "closed by the agent")

    def _account(self) -> None:
        """A token bucket; an agent that is too fast is read more slowly, which its own TCP feels."""
        rate = self._services.limits.frames_per_s
        now = self._services.clock.now()
        gained = (now - self.heard_at) * rate / NS_PER_S
        self.heard_at = InstantNs(now)
        self._allowance = min(self._allowance + gained, float(rate * BURST_S)) - 1

    # -- what the agent says --------------------------------------------------------------------------------

    def _heartbeat(self, frame: bytes, beat: Heartbeat) -> None:
        self._require_speaker(beat.site, beat.incarnation)
        if not self._identity.all_groups:
            for entry in beat.groups:
                self._require_group(entry.group)
        telemetry = self._services.telemetry
        telemetry.heartbeats.labels(self.site).inc()
        telemetry.group_heartbeats.labels(self.site).inc(len(beat.groups))
        nonce = beat.nonce

        def answer(outcome: Outcome) -> None:
            self._pending -= 1
            if outcome.reason not in UNDECIDED and (outcome.ok or outcome.answers):
                self._send(HeartbeatAnswer(nonce, outcome.answers))
                for told in outcome.after if self._features >= HOLDS_LEVEL else ():
                    self._send(told)

        if self._take_place():
            try:
                self._services.cluster.heartbeat(frame, answer, self)
            except ThirdsiteError:
                self._drop("overloaded")

    def _ping(self, ping: Ping) -> None:
        """It is noted before it is answered: what the witness measures rests on that order."""
        cluster = self._services.cluster
        cluster.pinged(self.site, self.incarnation, ping)
        leading, has_quorum, _ = cluster.place()
        level = min(self._features, cluster.feature_level())
        self._send(Pong(ping.nonce, leading, has_quorum, level))

    def _release(self, release: Release) -> None:
        self._require_speaker(release.site, release.incarnation)
        self._require_group(release.group)

        def answer(outcome: Outcome) -> None:
            self._pending -= 1
            if outcome.reason not in UNDECIDED:
                self._send(ReleaseAnswer(release.nonce, release.group, release.epoch, outcome.reason))

        if self._take_place():
            try:
                self._services.cluster.release(ReleaseLease.asked(release), answer)
            except ThirdsiteError:
                self._drop("overloaded")

    def _escrow_put(self, put: EscrowPut) -> None:
        self._require_speaker(put.site, put.incarnation)
        self._require_group(put.group)

        def answer(outcome: Outcome) -> None:
            self._pending -= 1
            if outcome.reason not in UNDECIDED:
                said = (outcome.reason, outcome.stored, outcome.version_next)
                self._send(EscrowPutAnswer(put.nonce, put.group, put.license, *said))

        if self._take_place():
            command = PutEscrow(put.group, put.site, put.incarnation, put.claim, put.license, put.sealed)
            try:
                self._services.cluster.put_escrow(command, answer)
            except ThirdsiteError:
                self._drop("overloaded")

    def _take_place(self) -> bool:
        if self._pending >= self._services.limits.answers_pending_max:
            self._services.telemetry.dropped.labels("answers-pending").inc()
            return False
        self._pending += 1
        return True

    def _drop(self, why: str) -> None:
        self._pending -= 1
        self._services.telemetry.dropped.labels(why).inc()

    def _require_speaker(self, site: SiteId, incarnation: Incarnation) -> None:
        self._require_site(site)
        if incarnation != self.incarnation:
            raise StreamRefused(GoodbyeCode.WRONG_IDENTITY, "the incarnation is not the one that said Hello")

    def _require_site(self, site: SiteId) -> None:
        if site != self._identity.name:
            text = f"the certificate is of site {self._identity.name}, the message of {site}"
            raise StreamRefused(GoodbyeCode.WRONG_IDENTITY, text)

    def _require_group(self, group: GroupId) -> None:
        if not self._identity.may_serve(group):
            text = f"the certificate of {self._identity.name} does not name the group {group}: issue it with it"
            raise StreamRefused(GoodbyeCode.WRONG_IDENTITY, text)

    # -- what the agent is told -----------------------------------------------------------------------------

    def notify(self, notice: Notice) -> None:
        if self._identity.may_serve(notice.group):
            self._send(notice)

    def end(self, code: GoodbyeCode, text: str) -> None:
        if not self._over:
            self._over = True
            self._goodbye = Goodbye(code, text[:TEXT_CHARS_MAX])
            self._outgoing.set()

    def _refuse(self, code: GoodbyeCode, text: str) -> None:
        log.warning("stream_refused", site=self.site, code=code.value, text=text, address=self._address)
        self._services.telemetry.refused.labels(code.value).inc()
        self._goodbye = Goodbye(code, text[:TEXT_CHARS_MAX])

    def _send(self, message: WitnessMessage) -> None:
        if self._over:
            return
        if len(self._outbox) >= OUTBOX_FRAMES_MAX:
            self.end(GoodbyeCode.OVERLOADED, f"{OUTBOX_FRAMES_MAX} frames wait and are not read")
            return
        try:
            self._outbox.append(WITNESS_MESSAGES.encode(message))
        except FrameRefused as error:
            # Called by the driver too: what one site makes too large must not end the process for all.
            self.end(GoodbyeCode.BAD_FRAME, f"the answer does not fit a frame: {error}")
            return
        self._outgoing.set()

    async def _write(self) -> None:
        """Sends what waits; closes the socket once goodbye is to be said, which ends the reader too."""
        try:
            while not self._over:
                await self._outgoing.wait()
                self._outgoing.clear()
                while self._outbox and not self._over:
                    await self._socket.send_bytes(self._outbox.popleft())
            await self._close()
        except ConnectionError:
            return  # the reader sees the same end and tells it

    async def _close(self) -> None:
        """Goodbye, if there is one to say, then the close frame; bounded, for the other end may be frozen."""
        goodbye, self._goodbye = self._goodbye, None
        try:
            async with asyncio.timeout(CLOSE_S):
                if goodbye is not None and not self._socket.closed:
                    await self._socket.send_bytes(WITNESS_MESSAGES.encode(goodbye))
                await self._socket.close()
        except (ConnectionError, TimeoutError):
            return


def open_socket() -> web.WebSocketResponse:
    """Frames somewhat above the limit are still read, so that their sender is told what is wrong."""
    return web.WebSocketResponse(
        heartbeat=PING_S, compress=False, max_msg_size=2 * FRAME_BYTES_MAX, timeout=CLOSE_S, autoclose=True
    )
