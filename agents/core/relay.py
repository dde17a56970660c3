"""(4) When another site's agent is to carry our streams to the witnesses, and when we may carry another one's.

Rule: a relayed stream is an ordinary stream whose bytes go through the other site; nothing that is said on it means
anything else (docs/adr/0017-relay-by-tunnel.md). It is wanted while no direct stream is trusted, and until one has
been trusted for KEEP_NS; and only to witnesses that are not reached directly, because a witness keeps one stream a
site and the newer one replaces the older. This site carries for others only while it hears the witnesses itself over
a direct stream, so no chain of relays can come about; without that it may give a hold instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from agents.core.streams import StreamTable
from proto.timing import ANSWER_WAIT_MS_MIN
from proto.units import NS_PER_MS, NS_PER_S, DurationNs, InstantNs, SiteId, WitnessId

GRACE_NS_MAX = 250 * NS_PER_MS
"""Streams that were closed are open anew within this, or a quarter of a renewal interval where that is less. Streams
that are open and answer nothing were waited for long enough."""
START_GRACE_NS = 1 * NS_PER_S
"""For the first streams of a process, which has names to look up and handshakes to make beside its other work."""
KEEP_NS = 5 * NS_PER_S
"""A direct stream that is trusted this long is taken for lasting."""
HEARD_SLACK_NS = ANSWER_WAIT_MS_MIN * NS_PER_MS
"""Beyond a renewal interval, for the answer itself. Not more: a holder whose last renewal is an interval old when the
witnesses are lost has another interval and a quarter until its stop, and by then the others must give their holds."""
CARRY_SLACK_NS_MAX = 1 * NS_PER_S
"""For tunnels the answer may come later, by half an interval at most: to end them costs more than to keep them."""


class Relays:
    """Owned by the SiteAgent."""

    def __init__(self, peers: tuple[SiteId, ...]) -> None:
        self.relaying = False
        self.wanted: frozenset[WitnessId] = frozenset()
        """Witnesses to be reached through another site."""
        self._peers = peers
        self._reached = False
        """A witness was reached directly since the start."""
        self._lost_at: InstantNs | None = None
        self._back_at: InstantNs | None = None
        self._answered_at: InstantNs | None = None
        """When a witness last answered over a direct stream."""

    def answered(self, now: InstantNs, via: SiteId | None) -> None:
        if via is None:
            self._answered_at = now

    def hears(self, now: InstantNs, table: StreamTable, interval_ns: DurationNs) -> bool:
        """Within one renewal period this site had an answer itself, and nothing says that there will be no other: it
        gives no hold, because it carries.
        """
        doubt = table.unanswered or not table.direct_trusted()
        return not doubt and self._answered_within(now, interval_ns + HEARD_SLACK_NS)

    def carries(self, now: InstantNs, interval_ns: DurationNs) -> bool:
        """Tunnels are opened, and go on."""
        return self._answered_within(now, interval_ns + min(CARRY_SLACK_NS_MAX, interval_ns // 2))

    def _answered_within(self, now: InstantNs, span_ns: int) -> bool:
        return self._answered_at is not None and now - self._answered_at <= span_ns

    def forget(self) -> None:
        """A new incarnation: what was answered was answered to another."""
        self._answered_at = None

    def look(self, now: InstantNs, table: StreamTable, witnesses: Iterable[WitnessId], interval_ns: DurationNs) -> bool:
        """True when `wanted` changed."""
        if not self._peers:
            return False
        if table.direct_trusted():
            self._reached = True
            self._lost_at = None
            self._back_at = now if self._back_at is None else self._back_at
        else:
            self._back_at = None
            self._lost_at = now if self._lost_at is None else self._lost_at
        if self._lost_at is not None and (table.direct_open() or now - self._lost_at >= self._grace_ns(interval_ns)):
            self.relaying = True
        elif self._back_at is not None and now - self._back_at >= KEEP_NS:
            self.relaying = False
        cut = (witness for witness in witnesses if not table.reached_directly(witness))
        wanted = frozenset(cut) if self.relaying else frozenset()
        changed, self.wanted = wanted != self.wanted, wanted
        return changed

    def next_deadline(self, interval_ns: DurationNs) -> InstantNs | None:
        if not self.relaying and self._lost_at is not None:
            return InstantNs(self._lost_at + self._grace_ns(interval_ns))
        if self.relaying and self._back_at is not None:
            return InstantNs(self._back_at + KEEP_NS)
        return None

    def _grace_ns(self, interval_ns: DurationNs) -> DurationNs:
        return DurationNs(min(GRACE_NS_MAX, interval_ns // 4) if self._reached else START_GRACE_NS)
