"""Streams between an agent and its witnesses: opened, said goodbye on, found dead, opened again.

The rules are those of the real ends (agents/client/streams.py, witness/http/stream.py and stream_table.py): the
same back-off and idle times, one stream a site on each witness, the incarnation of the Hello for the stream's
whole life. Below them lies the simulated network, message by message.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agents.client.backoff import Backoff
from agents.client.streams import IDLE_S, STABLE_S, WELCOME_S
from proto.messages import AgentMessage, WitnessMessage
from proto.units import NS_PER_S, Incarnation, WitnessId, seconds

if TYPE_CHECKING:
    from witness.sim.site import SiteHost
    from witness.sim.witness import WitnessHost

WELCOME_NS = seconds(WELCOME_S)
IDLE_NS = seconds(IDLE_S)
STABLE_NS = seconds(STABLE_S)


class Stream:
    """One connection. Each end has its own view of whether it is open."""

    def __init__(self, host: SiteHost, witness: WitnessHost, incarnation: Incarnation, now_ns: int) -> None:
        self.host = host
        self.witness = witness
        self.incarnation = incarnation
        self.began_ns = now_ns
        self.agent_open = False
        self.agent_over = False
        self.witness_open = False
        self.agent_heard_ns = now_ns
        self.witness_heard_ns = now_ns

    def to_witness(self, message: AgentMessage) -> None:
        self.host.network.carry(self.host.name, self.witness.name, lambda: self.witness.arrives(self, message))

    def to_agent(self, message: WitnessMessage) -> None:
        self.host.network.carry(self.witness.name, self.host.name, lambda: self._arrived(message))

    def _arrived(self, message: WitnessMessage) -> None:
        self.host.do(lambda: self._take(message))

    def _take(self, message: WitnessMessage) -> None:
        if self.agent_open:
            self.agent_heard_ns = self.host.guest.own_ns()
            self.host.received(self.witness.id, message)

    def welcome(self, *, leading: bool) -> None:
        self.host.network.carry(
            self.witness.name,
            self.host.name,
            lambda: self.host.do(lambda: self.host.streams.opened(self, leading)),
        )

    def goodbye(self, *, refused: bool) -> None:
        """The witness closes its end and says so, if it can."""
        self.witness_open = False
        self.host.network.carry(
            self.witness.name,
            self.host.name,
            lambda: self.host.do(lambda: self.host.streams.over(self, refused=refused)),
        )

    def hang_up(self) -> None:
        """The agent's end is closed; its kernel says so."""
        if not self.agent_over:
            self.agent_open, self.agent_over = False, True
            self.host.network.carry(self.host.name, self.witness.name, lambda: self.witness.hung_up(self))


class StreamKeeper:
    """The agent's side: one stream to every witness, kept open."""

    def __init__(self, host: SiteHost) -> None:
        self._host = host
        self._streams: dict[WitnessId, Stream] = {}
        self._backoff: dict[WitnessId, Backoff] = {}

    def begin(self) -> None:
        for witness in self._host.witnesses:
            self._backoff[witness] = Backoff(self._host.rng.random)
            self._connect(witness)

    def send(self, witness: WitnessId, message: AgentMessage) -> None:
        stream = self._streams.get(witness)
        if stream is not None and stream.agent_open:
            stream.to_witness(message)

    def _connect(self, witness: WitnessId) -> None:
        host = self._host
        agent = host.agent
        if agent is None:
            return
        stream = Stream(host, host.witnesses[witness], agent.incarnation, host.guest.own_ns())
        self._streams[witness] = stream
        host.network.carry(host.name, stream.witness.name, lambda: stream.witness.hello(stream))
        host.later(WELCOME_NS, lambda: self._unwelcome(stream))

    def _unwelcome(self, stream: Stream) -> None:
        if not stream.agent_open:
            self.over(stream, refused=False)

    def opened(self, stream: Stream, leading: bool) -> None:
        if stream.agent_over or stream.agent_open or self._streams.get(stream.witness.id) is not stream:
            return
        stream.agent_open = True
        stream.agent_heard_ns = self._host.guest.own_ns()
        self._host.feed(lambda agent, now: agent.stream_opened(stream.witness.id, leading, now))
        self._host.later(IDLE_NS, lambda: self._watch(stream))

    def _watch(self, stream: Stream) -> None:
        if not stream.agent_open:
            return
        silent_ns = self._host.guest.own_ns() - stream.agent_heard_ns
        if silent_ns >= IDLE_NS:
            self._host.hit("stream-idle")
            self.over(stream, refused=False)
        else:
            self._host.later(IDLE_NS - silent_ns, lambda: self._watch(stream))

    def over(self, stream: Stream, *, refused: bool) -> None:
        """The stream has ended at this end; the next attempt follows."""
        if stream.agent_over:
            return
        host, witness = self._host, stream.witness.id
        was_open = stream.agent_open
        stream.hang_up()
        if self._streams.get(witness) is not stream:
            return
        if was_open:
            host.feed(lambda agent, now: agent.stream_closed(witness, now))
        backoff = self._backoff[witness]
        if host.guest.own_ns() - stream.began_ns >= STABLE_NS:
            backoff.succeeded()
        host.later(round(backoff.next_s(refused=refused) * NS_PER_S), partial(self._connect, witness))

    def flap(self, witness: WitnessId) -> bool:
        """A reset from somewhere in between, seen by the agent."""
        stream = self._streams.get(witness)
        if stream is None or not stream.agent_open:
            return False
        self._host.do(lambda: self.over(stream, refused=False))
        return True

    def reopen(self) -> None:
        """A new incarnation: every stream ends, also one whose Hello is under way, and says Hello again."""
        for stream in list(self._streams.values()):
            self.over(stream, refused=False)

    def process_gone(self, *, told: bool) -> None:
        """The process ended: its kernel closes the connections, unless that is gone as well."""
        for stream in self._streams.values():
            if told:
                stream.hang_up()
            stream.agent_open, stream.agent_over = False, True
        self._streams.clear()
