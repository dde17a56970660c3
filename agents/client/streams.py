"""(4) One stream to every witness, kept open: Hello, then Welcome or Goodbye, then messages both ways.

Rule: the streams carry, they decide nothing. Messages that the core sends are queued per stream up to a bound; a
witness that does not take them loses its stream rather than our memory, and the core sends over another one. What
a witness says when it sends the agent away is logged and shown word for word. A stream through another site's agent
is connected in another way, is there only while the core wants it, and is otherwise the same.
Rejected: one stream with failover (the visibility matrix needs all, and a renewal must not wait for a handshake).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

import structlog

from agents.client.reopen import keep_open
from agents.client.stream_status import REMEDY, StreamState, StreamStatus
from agents.client.together import until_one_ends
from agents.client.transport import Connection, ConnectionLost, RelayTransport, Transport
from proto.codec import AGENT_MESSAGES, WITNESS_MESSAGES
from proto.errors import FrameRefused
from proto.messages import AgentMessage, Goodbye, GoodbyeCode, Hello, Welcome, WitnessMessage
from proto.units import SiteId, WitnessId

CONNECT_S = 3.0
WELCOME_S = 3.0
SEND_S = 2.0
IDLE_S = 5.0
"""The core pings every second; a stream that stays silent longer than this is dead."""
QUEUE_FRAMES_MAX = 64
LASTING = frozenset(
    {GoodbyeCode.WRONG_CLUSTER, GoodbyeCode.WRONG_IDENTITY, GoodbyeCode.SECOND_AGENT, GoodbyeCode.VERSION}
)
"""Goodbyes that a quick retry does not change."""


class StreamEvents(Protocol):
    """Where streams report; called on the loop, in order per witness, and never from within `send`."""

    def stream_opened(self, witness: WitnessId, leading: bool, via: SiteId | None = None) -> None: ...

    def stream_closed(self, witness: WitnessId, via: SiteId | None = None) -> None: ...

    def received(self, witness: WitnessId, message: WitnessMessage, via: SiteId | None = None) -> None: ...


class _SentAway(Exception):
    """Internal: the witness said goodbye."""

    def __init__(self, goodbye: Goodbye) -> None:
        super().__init__(f"sent away ({goodbye.code.value}): {goodbye.text}")
        self.goodbye = goodbye


class _Stream:
    """One witness's stream, over all its connections."""

    def __init__(
        self, witness: WitnessId, address: str, owner: WitnessStreams, relays: RelayTransport | None = None
    ) -> None:
        """`relays`: goes through another site's agent; None: directly."""
        self.witness = witness
        self.via: SiteId | None = None
        """Who carries the present connection."""
        self.status = StreamStatus(address)
        self._owner = owner
        self._relays = relays
        self._log = structlog.stdlib.get_logger("agents.stream").bind(witness=witness, address=address)
        self._outbox: asyncio.Queue[AgentMessage] | None = None
        self._end = asyncio.Event()
        self._end_why = ""

    async def keep_open(self) -> None:
        await keep_open(self._one_connection, self._owner.jitter)

    async def _one_connection(self) -> bool:
        """Until its end; True when the witness refuses us for a reason that lasts."""
        self.status.begins()
        goodbye: Goodbye | None = None
        try:
            connection = await self._connect()
            try:
                await self._talk(connection)
            finally:
                with contextlib.suppress(ConnectionLost):
                    await connection.close()
        except _SentAway as sent_away:
            goodbye = sent_away.goodbye
            problem = str(sent_away)
        except (ConnectionLost, FrameRefused) as error:
            problem = str(error)
        self._note(problem, goodbye)
        self.status.state = StreamState.WAITING
        return goodbye is not None and goodbye.code in LASTING

    def _note(self, problem: str, goodbye: Goodbye | None) -> None:
        """A log line when something changed; an unreachable witness does not fill the log."""
        code = goodbye.code if goodbye is not None else None
        if problem != self.status.problem or code is not self.status.goodbye:
            remedy = REMEDY[code] if code is not None else "none needed: the agent goes on trying"
            self._log.warning("stream.closed", why=problem, remedy=remedy)
        self.status.problem = problem
        self.status.goodbye = code

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_S):
                if self._relays is None:
                    return await self._owner.transport.connect(self.witness)
                connection, self.via = await self._relays.connect(self.witness)
                self.status.via = self.via
                return connection
        except TimeoutError:
            raise ConnectionLost(f"no connection within {CONNECT_S:g} s") from None

    async def _talk(self, connection: Connection) -> None:
        hello = self._owner.hello()
        await self._send(connection, hello)
        welcome = await self._receive(connection, WELCOME_S)
        if not isinstance(welcome, Welcome):
            raise ConnectionLost(f"{type(welcome).__name__} instead of Welcome")
        if (welcome.witness, welcome.cluster) != (self.witness, hello.cluster):
            says = f"this address leads to witness {welcome.witness} of cluster {welcome.cluster}"
            raise _SentAway(Goodbye(GoodbyeCode.WRONG_CLUSTER, says))
        if self._owner.hello().incarnation != hello.incarnation:
            raise ConnectionLost("the agent began a new incarnation")
        self.status.state, self.status.leading = StreamState.OPEN, welcome.leading
        self.status.problem, self.status.goodbye = "", None
        self.status.opened += 1
        self._log.info("stream.open", leading=welcome.leading, via=self.via)
        self._outbox = asyncio.Queue(QUEUE_FRAMES_MAX)
        self._end.clear()
        self._owner.events.stream_opened(self.witness, welcome.leading, self.via)
        try:
            await self._both_ways(connection, self._outbox)
        finally:
            self._outbox = None
            self.status.leading = False
            self._owner.events.stream_closed(self.witness, self.via)

    async def _both_ways(self, connection: Connection, outbox: asyncio.Queue[AgentMessage]) -> None:
        """Until the first of: end of the connection, goodbye, bad frame, silence, overflow."""
        await until_one_ends(self._reading(connection), self._writing(connection, outbox), self._ending())

    async def _reading(self, connection: Connection) -> None:
        while True:
            self._owner.events.received(self.witness, await self._receive(connection, IDLE_S), self.via)

    async def _writing(self, connection: Connection, outbox: asyncio.Queue[AgentMessage]) -> None:
        while True:
            await self._send(connection, await outbox.get())

    async def _ending(self) -> None:
        await self._end.wait()
        raise ConnectionLost(self._end_why)

    def end(self, why: str) -> None:
        """Closes the stream that is open; it is opened anew as after any loss."""
        self._end_why = why
        self._end.set()

    async def _send(self, connection: Connection, message: AgentMessage) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await connection.send(AGENT_MESSAGES.encode(message))
        except TimeoutError:
            raise ConnectionLost(f"a message was not taken within {SEND_S:g} s") from None
        self.status.frames_sent += 1

    async def _receive(self, connection: Connection, limit_s: float) -> WitnessMessage:
        try:
            async with asyncio.timeout(limit_s):
                frame = await connection.receive()
        except TimeoutError:
            raise ConnectionLost(f"nothing was heard for {limit_s:g} s") from None
        self.status.frames_received += 1
        message = WITNESS_MESSAGES.decode(frame)
        if isinstance(message, Goodbye):
            raise _SentAway(message)
        return message

    def send(self, message: AgentMessage) -> bool:
        if self._outbox is None:
            return False
        try:
            self._outbox.put_nowait(message)
        except asyncio.QueueFull:
            self.end(f"{QUEUE_FRAMES_MAX} messages wait to be sent: the witness does not take them")
            return False
        return True


class WitnessStreams:
    """All streams; owned by the supervisor, sent to by the driver."""

    def __init__(
        self,
        addresses: Mapping[WitnessId, object],
        transport: Transport,
        hello: Callable[[], Hello],
        events: StreamEvents,
        jitter: Callable[[], float],
        relays: RelayTransport | None = None,
    ) -> None:
        """`relays` None: this site has no other one to ask."""
        self.transport = transport
        self.hello = hello
        self.events = events
        self.jitter = jitter
        self._relays = relays
        self._addresses = addresses
        self._streams = {witness: _Stream(witness, str(address), self) for witness, address in addresses.items()}
        self._relayed: dict[WitnessId, _Stream] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._keeping: dict[WitnessId, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for witness, stream in self._streams.items():
                    tasks.create_task(stream.keep_open(), name=f"stream {witness}")
        finally:
            self._tasks = None
            await self.transport.close()

    def send(self, witness: WitnessId, message: AgentMessage, via: SiteId | None = None) -> bool:
        """False when the stream is not open or was too full; the core has its own way to notice."""
        stream = self._streams[witness] if via is None else self._relayed.get(witness)
        return stream is not None and stream.via == via and stream.send(message)

    def keep_relays(self, witnesses: Collection[WitnessId]) -> None:
        """Streams through another site to these witnesses, and to no other."""
        if self._relays is None or self._tasks is None:
            return
        for witness in self._relayed.keys() - set(witnesses):
            del self._relayed[witness]
            self._keeping.pop(witness).cancel()
        for witness in witnesses:
            if witness not in self._relayed:
                stream = _Stream(witness, str(self._addresses[witness]), self, self._relays)
                self._relayed[witness] = stream
                self._keeping[witness] = self._tasks.create_task(stream.keep_open(), name=f"relayed stream {witness}")

    def reopen(self) -> None:
        """Every stream ends and says Hello again, with whatever is to be said by then."""
        for stream in (*self._streams.values(), *self._relayed.values()):
            stream.end("the agent began a new incarnation")

    def status(self) -> dict[str, dict[str, object]]:
        return {witness: stream.status.words() for witness, stream in self._streams.items()}

    def relayed_status(self) -> list[dict[str, object]]:
        """Streams that are kept, or tried, through another site."""
        return [{"witness": witness, **stream.status.words()} for witness, stream in self._relayed.items()]
