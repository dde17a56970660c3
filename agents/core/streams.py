"""Which witness to ask: the state of the streams, the attempts in flight, and the choice of the best one.

A stream is direct, or relayed by another site's agent (agents/core/relay.py); at most one of each kind to a witness.
A heartbeat goes over one stream only. When its answer stays out for `answer_wait_ns`, that stream is suspect and
the next attempt goes at once over another (a fresh nonce, counted from its own sending). Where all are suspect they
take turns, and a witness that speaks of its own accord comes first: it is alive, and it has heard of a decision.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proto import limits
from proto.clock import ClockReading
from proto.features import FEATURE_FIRST
from proto.messages import LINK_TRIPS_MAX, LinkTrip, Ping, PingEcho, Pong
from proto.timing import answer_wait_ns
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, Nonce, SiteId, WitnessId

_RTT_UNKNOWN_NS = 50 * NS_PER_MS
_PINGS_KEPT = 4
_RATES_LEVEL = 2
"""From this feature level on a ping tells of its sender's clock."""


class Route(NamedTuple):
    """The way to a witness: direct, or through the agent of another site."""

    witness: WitnessId
    via: SiteId | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One heartbeat in flight: when it was about to be sent, over which stream, carrying which epochs."""

    seq: int
    sent: ClockReading
    route: Route
    carried: Mapping[GroupId, Epoch]


@dataclass(slots=True)
class Stream:
    leading: bool
    rtt_ns: int = _RTT_UNKNOWN_NS
    suspect: bool = False
    """Its witness does not answer in time, or says that it has no majority."""
    silent: bool = False
    """Its witness does not answer in time though it had a majority: the way itself may be cut."""
    has_quorum: bool = True
    """By its witness's last pong."""
    missed: int = 0
    """Attempts in a row that it left unanswered."""
    features: int = FEATURE_FIRST
    """What its witness can read, as its pongs say."""
    pings: OrderedDict[Nonce, InstantNs] = field(default_factory=OrderedDict)
    echo: PingEcho | None = None
    """Of the newest ping that was answered and not told of yet: by it the witness measures our clock."""
    links: dict[SiteId, int] = field(default_factory=dict)
    """Round trips to other sites that its witness was not told of yet, in nanoseconds."""

    def ping(self, nonce: Nonce, now: InstantNs) -> Ping:
        self.pings[nonce] = now
        while len(self.pings) > _PINGS_KEPT:
            self.pings.popitem(last=False)
        if self.features < _RATES_LEVEL:
            return Ping(nonce)
        echo, self.echo = self.echo, None
        links = tuple(LinkTrip(site, took_ns) for site, took_ns in sorted(self.links.items())[:LINK_TRIPS_MAX])
        self.links.clear()
        return Ping(nonce, now, echo, links)

    def ponged(self, pong: Pong, now: InstantNs) -> None:
        sent = self.pings.pop(pong.nonce, None)
        if sent is None:
            return
        self.measured(now - sent)
        self.leading, self.has_quorum, self.suspect = pong.leading, pong.has_quorum, not pong.has_quorum
        self.features, self.echo = pong.features, PingEcho(pong.nonce, now - sent)

    def measured(self, rtt_ns: int) -> None:
        """Smoothed as TCP does (RFC 6298: 1/8 of the new sample)."""
        self.rtt_ns = (7 * self.rtt_ns + rtt_ns) // 8
        self.suspect = self.silent = False
        self.missed = 0


class StreamTable:
    def __init__(self) -> None:
        self.open: dict[Route, Stream] = {}
        self._attempts: OrderedDict[Nonce, Attempt] = OrderedDict()
        self.unanswered = 0
        """Attempts in a row without an answer."""

    def opened(self, route: Route, *, leading: bool) -> None:
        self.open[route] = Stream(leading)

    def closed(self, route: Route) -> None:
        self.open.pop(route, None)

    def best(self) -> Route | None:
        """Trusted before suspect, then who missed least; direct before relayed, the leader first (one hop less), the
        nearest.
        """
        if not self.open:
            return None

        def order(route: Route) -> tuple[bool, int, bool, bool, int, str]:
            stream = self.open[route]
            relayed = route.via is not None
            return (stream.suspect, stream.missed, relayed, not stream.leading, stream.rtt_ns, route.witness)

        return min(self.open, key=order)

    def trusted(self) -> bool:
        return any(not stream.suspect for stream in self.open.values())

    def linked(self, site: SiteId, took_ns: int) -> None:
        """A round trip over the site link: each witness is told of it with the next ping."""
        for stream in self.open.values():
            stream.links[site] = took_ns

    def direct_open(self) -> bool:
        return any(route.via is None for route in self.open)

    def direct_trusted(self) -> bool:
        return any(route.via is None and not stream.suspect for route, stream in self.open.items())

    def reached_directly(self, witness: WitnessId) -> bool:
        """Also when it is suspect for want of a majority: a relay would not change that."""
        stream = self.open.get(Route(witness))
        return stream is not None and not stream.silent

    def sent(self, nonce: Nonce, attempt: Attempt) -> None:
        self._attempts[nonce] = attempt
        while len(self._attempts) > limits.NONCES_PENDING_MAX:
            self._attempts.popitem(last=False)

    def answered(self, nonce: Nonce, now: ClockReading) -> Attempt | None:
        """The attempt that this answer belongs to, once; None for nonces that are not ours or void."""
        attempt = self._attempts.pop(nonce, None)
        if attempt is None:
            return None
        self.unanswered = 0
        stream = self.open.get(attempt.route)
        if stream is not None:
            stream.measured(now.boottime_ns - attempt.sent.boottime_ns)
        return attempt

    def overdue(self, route: Route) -> None:
        """No answer in time over this stream."""
        self.unanswered += 1
        stream = self.open.get(route)
        if stream is not None:
            stream.suspect = True
            stream.silent = stream.has_quorum
            stream.missed += 1
            stream.leading = False

    def noticed(self, route: Route) -> None:
        """Its witness told of something that was just decided: it is alive and reaches who decides."""
        stream = self.open.get(route)
        if stream is not None:
            stream.suspect, stream.missed = False, 0
            self.unanswered = 0

    def forget_all(self) -> None:
        """A new incarnation: what is in flight means nothing any more, and no stream knows it."""
        self._attempts.clear()
        self.open.clear()
        self.unanswered = 0

    def answer_wait_ns(self, route: Route) -> int:
        """Four round trips, at least ANSWER_WAIT_MS_MIN, doubling while nothing is answered at all."""
        stream = self.open.get(route)
        rtt_ns = _RTT_UNKNOWN_NS if stream is None else stream.rtt_ns
        return answer_wait_ns(rtt_ns, max(0, self.unanswered - max(1, len(self.open)) + 1))
