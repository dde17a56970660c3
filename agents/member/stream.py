"""The member's one stream to its lead, kept open: MemberHello, then asks, answers, and steps.

Rule: the stream carries, it decides nothing. Messages wait in a bounded queue; a lead that does not take them, or is
silent, loses the stream. What a lead says when it sends the member away is logged and shown word for word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from agents.client.reopen import keep_open
from agents.client.stream_status import StreamState, StreamStatus
from agents.client.together import until_one_ends
from agents.client.transport import Connection, ConnectionLost, Transport
from proto.errors import FrameRefused
from proto.member_codec import LEAD_MESSAGES, MEMBER_MESSAGES
from proto.member_messages import LeadGoodbye, LeadMessage, LeadWelcome, MemberHello, MemberMessage
from proto.units import WitnessId

LEAD = WitnessId("lead")
"""The one address of this transport."""
CONNECT_S = 3.0
SEND_S = 2.0
IDLE_S = 3.0
"""Every ask is answered, and there are two a second."""
QUEUE_FRAMES_MAX = 64
ANOTHER = "this member goes on as another instance"


class LeadEvents(Protocol):
    def stream_opened(self) -> None: ...

    def stream_closed(self) -> None: ...

    def received(self, message: LeadMessage) -> None: ...


class _SentAway(Exception):
    """Internal: the lead said goodbye."""


class LeadStream:
    """Owned by the member's process; `run` until cancelled."""

    def __init__(
        self,
        address: str,
        transport: Transport,
        hello: Callable[[], MemberHello],
        events: LeadEvents,
        jitter: Callable[[], float],
    ) -> None:
        self.status = StreamStatus(address)
        self._transport = transport
        self._hello = hello
        self._events = events
        self._jitter = jitter
        self._outbox: asyncio.Queue[MemberMessage] | None = None
        self._reopen = asyncio.Event()
        self._log = structlog.stdlib.get_logger("agents.member").bind(lead=address)

    def send(self, message: MemberMessage) -> bool:
        """False: not connected, or the lead does not take messages."""
        if self._outbox is None:
            return False
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    def reopen(self) -> None:
        """The present connection ends, and with it whatever waits to be sent; the next one's Hello is a new one."""
        self._outbox = None
        self._reopen.set()

    async def run(self) -> None:
        try:
            await keep_open(self._one_connection, self._jitter)
        finally:
            await self._transport.close()

    async def _one_connection(self) -> bool:
        """Until its end; True when the lead refuses us."""
        self.status.begins()
        refused, problem = False, ""
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await self._transport.connect(LEAD)
            try:
                await self._talk(connection)
            finally:
                await connection.close()
        except _SentAway as sent_away:
            refused, problem = True, f"sent away: {sent_away}"
        except (ConnectionLost, FrameRefused) as error:
            problem = str(error)
        except TimeoutError:
            problem = f"no connection, or nothing was heard, for {IDLE_S:g} s"
        if problem != self.status.problem:
            self._log.warning("lead.closed", why=problem)
        self.status.problem = problem
        self.status.state = StreamState.WAITING
        return refused

    async def _talk(self, connection: Connection) -> None:
        self._reopen.clear()
        hello = self._hello()
        await self._send(connection, hello)
        welcome = await self._receive(connection)
        if not isinstance(welcome, LeadWelcome) or (welcome.site, welcome.cluster) != (hello.site, hello.cluster):
            raise ConnectionLost("this address does not lead to the agent of this site")
        if self._reopen.is_set():
            raise ConnectionLost(ANOTHER)
        self.status.state, self.status.problem = StreamState.OPEN, ""
        self.status.opened += 1
        self._log.info("lead.open")
        outbox = self._outbox = asyncio.Queue(QUEUE_FRAMES_MAX)
        self._events.stream_opened()
        try:
            await until_one_ends(self._reading(connection), self._writing(connection, outbox), self._until_reopened())
        finally:
            self._outbox = None
            self._events.stream_closed()

    async def _until_reopened(self) -> None:
        await self._reopen.wait()
        raise ConnectionLost(ANOTHER)

    async def _reading(self, connection: Connection) -> None:
        while True:
            self._events.received(await self._receive(connection))

    async def _writing(self, connection: Connection, outbox: asyncio.Queue[MemberMessage]) -> None:
        while True:
            await self._send(connection, await outbox.get())

    async def _send(self, connection: Connection, message: MemberMessage) -> None:
        async with asyncio.timeout(SEND_S):
            await connection.send(MEMBER_MESSAGES.encode(message))
        self.status.frames_sent += 1

    async def _receive(self, connection: Connection) -> LeadMessage:
        async with asyncio.timeout(IDLE_S):
            frame = await connection.receive()
        self.status.frames_received += 1
        message = LEAD_MESSAGES.decode(frame)
        if isinstance(message, LeadGoodbye):
            raise _SentAway(message.text)
        return message
