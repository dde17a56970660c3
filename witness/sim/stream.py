"""Streams between an agent and its witnesses: opened, said goodbye on, found dead, opened again.

The rules are those of the real ends (agents/client/streams.py, witness/http/stream.py and stream_table.py): the
same back-off and idle times, one stream a site on each witness, the incarnation of the Hello for the stream's
whole life. Below them lies the simulated network, message by message.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agents.client.backoff import Backoff
from agents.client.reopen import STABLE_S
from agents.client.streams import IDLE_S, WELCOME_S
from agents.core.streams import Route
from proto.messages import AgentMessage, WitnessMessage
from proto.units import NS_PER_S, Incarnation, SiteId, WitnessId, seconds

if TYPE_CHECKING:
    from witness.sim.site import SiteHost
    from witness.sim.witness import WitnessHost

WELCOME_NS = seconds(WELCOME_S)
IDLE_NS = seconds(IDLE_S)
STABLE_NS = seconds(STABLE_S)
RELAY_AGAIN_NS = NS_PER_S // 4
RESET, RESET_NS = 0.8, (1, NS_PER_S // 4)
"""How often, and how soon, a connection that only the copy believes in is reset."""


class Stream:
    """One connection. Each end has its own view of whether it is open."""

    def __init__(
        self,
        host: SiteHost,
        witness: WitnessHost,
        incarnation: Incarnation,
        now_ns: int,
        carrier: SiteHost | None = None,
    ) -> None:
        self.host = host
        self.witness = witness
        self.carrier = carrier
        """Whose agent carries it."""
        self.incarnation = incarnation
        self.began_ns = now_ns
        self.agent_open = False
        self.agent_over = False
        self.witness_open = False
        self.agent_heard_ns = now_ns
        self.witness_heard_ns = now_ns

    @property
    def via(self) -> SiteId | None:
        return None if self.carrier is None else self.carrier.settings.site

    def out(self, deliver: Callable[[], None]) -> None:
        """From the agent to the witness."""
        self._carry(self.host.name, self.witness.name, deliver)

    def back(self, deliver: Callable[[], None]) -> None:
        self._carry(self.witness.name, self.host.name, deliver)

    def _carry(self, sender: str, to: str, deliver: Callable[[], None]) -> None:
        network, carrier = self.host.network, self.carrier
        if carrier is None:
            network.carry(sender, to, deliver)
        else:
            onward = partial(network.carry, carrier.name, to, deliver)
            network.carry(sender, carrier.name, lambda: carrier.do(onward))

    def to_witness(self, message: AgentMessage) -> None:
        self.out(lambda: self.witness.arrives(self, message))

    def to_agent(self, message: WitnessMessage) -> None:
        self.back(lambda: self._arrived(message))

    def _arrived(self, message: WitnessMessage) -> None:
        self.host.do(lambda: self._take(message))

    def _take(self, message: WitnessMessage) -> None:
        if self.agent_open:
            self.agent_heard_ns = self.host.guest.own_ns()
            self.host.received(self.witness.id, message, self.via)

    def welcome(self, *, leading: bool) -> None:
        self.back(lambda: self.host.do(lambda: self.host.streams.opened(self, leading)))

    def goodbye(self, *, refused: bool) -> None:
        """The witness closes its end and says so, if it can."""
        self.witness_open = False
        self.back(lambda: self.host.do(lambda: self.host.streams.over(self, refused=refused)))

    def hang_up(self) -> None:
        """The agent's end is closed; its kernel says so."""
        if not self.agent_over:
            self.agent_open, self.agent_over = False, True
            self.out(lambda: self.witness.hung_up(self))


class StreamKeeper:
    """The agent's side: one stream to every witness, kept open, and those through other sites that its core wants."""

    def __init__(self, host: SiteHost) -> None:
        self._host = host
        self._streams: dict[Route, Stream] = {}
        self._backoff: dict[Route, Backoff] = {}
        self._relayed: frozenset[WitnessId] = frozenset()

    def begin(self) -> None:
        self._relayed = frozenset()
        for witness in self._host.witnesses:
            self._backoff[Route(witness)] = Backoff(self._host.rng.random)
            self._connect(Route(witness))

    def send(self, witness: WitnessId, message: AgentMessage, via: SiteId | None = None) -> None:
        stream = self._streams.get(Route(witness, via))
        if stream is not None and stream.agent_open:
            stream.to_witness(message)

    def keep_relays(self, witnesses: tuple[WitnessId, ...]) -> None:
        """Through the first of its peers that carries; those that are not wanted any more end."""
        wanted, before = frozenset(witnesses), self._relayed
        self._relayed = wanted
        for stream in [one for route, one in self._streams.items() if route.via is not None]:
            if stream.witness.id not in wanted:
                self.over(stream, refused=False)
        for witness in sorted(wanted - before):
            self._relay(witness)

    def _relay(self, witness: WitnessId) -> None:
        host = self._host
        if witness not in self._relayed or host.agent is None:
            return
        for site in host.settings.peers:
            peer, route = host.link.peers.get(site), Route(witness, site)
            if peer is None or route in self._streams:
                continue
            if peer.runs and peer.agent is not None and peer.agent.carries(peer.clock.read()):
                host.hit("relay-opened")
                self._backoff.setdefault(route, Backoff(host.rng.random))
                self._connect(route)
                return
        host.later(RELAY_AGAIN_NS, partial(self._relay, witness))

    def _connect(self, route: Route) -> None:
        host = self._host
        agent = host.agent
        if agent is None:
            return
        carrier = None if route.via is None else host.link.peers[route.via]
        stream = Stream(host, host.witnesses[route.witness], agent.incarnation, host.guest.own_ns(), carrier)
        self._streams[route] = stream
        stream.out(lambda: stream.witness.hello(stream))
        host.later(WELCOME_NS, lambda: self._unwelcome(stream))

    def _unwelcome(self, stream: Stream) -> None:
        if not stream.agent_open:
            self.over(stream, refused=False)

    def opened(self, stream: Stream, leading: bool) -> None:
        if stream.agent_over or stream.agent_open or self._streams.get(_route(stream)) is not stream:
            return
        stream.agent_open = True
        stream.agent_heard_ns = self._host.guest.own_ns()
        self._host.feed(lambda agent, now: agent.stream_opened(stream.witness.id, leading, now, stream.via))
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
        host, route = self._host, _route(stream)
        was_open = stream.agent_open
        stream.hang_up()
        if self._streams.get(route) is not stream:
            return
        if was_open:
            host.feed(lambda agent, now: agent.stream_closed(route.witness, now, route.via))
        backoff = self._backoff[route]
        if host.guest.own_ns() - stream.began_ns >= STABLE_NS:
            backoff.succeeded()
        wait_ns = round(backoff.next_s(refused=refused) * NS_PER_S)
        if route.via is None:
            host.later(wait_ns, partial(self._connect, route))
        else:
            del self._streams[route]
            host.later(wait_ns, partial(self._relay, route.witness))

    def flap(self, witness: WitnessId) -> bool:
        """A reset from somewhere in between, seen by the agent."""
        stream = self._streams.get(Route(witness))
        if stream is None or not stream.agent_open:
            return False
        self._host.do(lambda: self.over(stream, refused=False))
        return True

    def reopen(self) -> None:
        """A new incarnation: every stream ends, also one whose Hello is under way, and says Hello again."""
        for stream in list(self._streams.values()):
            self.over(stream, refused=False)

    def copied(self) -> None:
        """In a copy of the machine: the other ends know the original alone.

        What is said on them is lost; mostly a reset comes, or the idle time passes.
        """
        host = self._host
        for stream in self._streams.values():
            stream.witness_open = False
            if host.rng.random() < RESET:
                host.later(host.rng.randint(*RESET_NS), partial(self.over, stream, refused=False))

    def process_gone(self, *, told: bool) -> None:
        """The process ended: its kernel closes the connections, unless that is gone as well."""
        for stream in self._streams.values():
            if told:
                stream.hang_up()
            stream.agent_open, stream.agent_over = False, True
        self._streams.clear()


def _route(stream: Stream) -> Route:
    return Route(stream.witness.id, stream.via)
