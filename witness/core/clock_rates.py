"""The rates of the agents' clocks beside this witness's, as bounds that assume nothing of delays. Pure, not replicated.

Rule: a ping says what its agent's clock showed when it was sent, and a later one how long its answer took. This witness
noted, on its own clock, when it came: at that instant the agent's clock was between the two. Two such instants, a
window apart, bound how far the agent's clock went meanwhile, and so its rate: whatever was delayed, lost, overtaken
or asleep in between, the bounds hold; delays only make them wider. Over a window of 20 s and round trips of 2 ms they
lie 200 millionths apart.

A step is no rate: a guest that stood still for a second shows one slow window, a witness whose clock leapt shows one
fast window of everybody. So what counts are ROW windows in a row, by the weakest of their bounds: a clock that kept to
its drift bound in any one of them is not reported. A window ends with the instant that is known best of those that come
in its last five seconds. An agent's clock is one from boot to boot, so a stream that breaks changes nothing; another
incarnation, or a minute without an instant, begins anew.

Rejected: one way delays (they would have to be assumed), regression over many pings (an answer without a bound),
comparing wall clocks (NTP hides the oscillator, and steps).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from proto import limits
from proto.clock_rate import RATE_PPM_MAX, RateBounds
from proto.commands import ClockReport
from proto.messages import Ping, PingEcho
from proto.units import NS_PER_S, PPM, DurationNs, Incarnation, InstantNs, Nonce, SiteId, WitnessId
from witness.core import clock_rules
from witness.core.state import ClusterState

WINDOW_NS = 20 * NS_PER_S
WINDOW_ENDS_NS = 25 * NS_PER_S
"""A window takes at least the first and ends with what is known best until the second."""
WINDOW_MAX_NS = 60 * NS_PER_S
"""Of a longer one too little is known of now: the row begins anew."""
ROW = 3
VERDICT_WITHIN_NS = DurationNs(ROW * (WINDOW_ENDS_NS + 2 * limits.PING_INTERVAL_NS) + 2 * limits.PING_INTERVAL_NS)
"""A clock whose bounds lie beyond is reported within this, when no ping is lost and round trips are below a second."""
PINGS_KEPT = 8
SITES_MAX = limits.ITEMS_MAX
"""Sites whose clocks are measured; of more, those that were silent longest are forgotten."""
_TICK_NS = 1
"""A clock is read in whole nanoseconds, rounded down."""


@dataclass(frozen=True, slots=True)
class _Instant:
    at: InstantNs
    """On this witness's clock."""
    earliest: int
    latest: int
    """The agent's clock was between the two then."""

    @property
    def unsure_ns(self) -> int:
        return self.latest - self.earliest


def bounds_between(first: _Instant, last: _Instant) -> RateBounds:
    """`last` is later than `first`, on this witness's clock, by more than a nanosecond."""
    went_ns = last.at - first.at
    least_ns = max(0, last.earliest - first.latest - _TICK_NS)
    most_ns = max(0, last.latest - first.earliest + _TICK_NS)
    at_least = least_ns * PPM // (went_ns + _TICK_NS)
    at_most = -(-most_ns * PPM // (went_ns - _TICK_NS))
    return RateBounds(min(at_least, RATE_PPM_MAX), min(at_most, RATE_PPM_MAX))


@dataclass(slots=True)
class RateMeter:
    """One agent's clock, in the life of one incarnation."""

    incarnation: Incarnation
    _heard: OrderedDict[Nonce, tuple[InstantNs, int]] = field(default_factory=OrderedDict)
    """Pings of which nothing was said yet: when they came here, and what they said of their sender's clock."""
    _newest_ns: int = -1
    """What the newest of them said. One that came twice must not count from the second time."""
    _start: _Instant | None = None
    _best: _Instant | None = None
    """What the window would end with now."""
    _row: deque[RateBounds] = field(default_factory=lambda: deque(maxlen=ROW))

    def heard(self, ping: Ping, now: InstantNs) -> bool:
        """True when a window ended with it. `now`: read before the pong is sent."""
        ended = ping.earlier is not None and self._echo(ping.earlier)
        if ping.sent_ns <= self._newest_ns:
            return ended
        self._newest_ns = ping.sent_ns
        self._heard[ping.nonce] = now, ping.sent_ns
        while len(self._heard) > PINGS_KEPT:
            self._heard.popitem(last=False)
        return ended

    def bounds(self) -> RateBounds | None:
        """Of the newest windows in a row, by the weakest of each; None while there are too few."""
        if len(self._row) < ROW:
            return None
        return RateBounds(min(one.at_least_ppm for one in self._row), max(one.at_most_ppm for one in self._row))

    def _echo(self, echo: PingEcho) -> bool:
        heard = self._heard.pop(echo.nonce, None)
        if heard is None or echo.took_ns < 0:
            return False
        at, sent_ns = heard
        return self._known(_Instant(at, sent_ns, sent_ns + echo.took_ns))

    def _known(self, instant: _Instant) -> bool:
        start = self._start
        if start is None or instant.latest < start.earliest or instant.at - start.at > WINDOW_MAX_NS:
            self._begin(instant)
            return False
        age_ns = instant.at - start.at
        if age_ns < WINDOW_NS:
            return False
        best = self._best
        if best is None or (age_ns <= WINDOW_ENDS_NS and instant.unsure_ns <= best.unsure_ns):
            self._best = best = instant
        if age_ns < WINDOW_ENDS_NS:
            return False
        self._row.append(bounds_between(start, best))
        self._start, self._best = best, None
        return True

    def _begin(self, instant: _Instant) -> None:
        self._row.clear()
        self._start, self._best = instant, None


class ClockRates:
    """All agents that speak to this witness."""

    def __init__(self, self_id: WitnessId) -> None:
        self._self_id = self_id
        self._meters: OrderedDict[SiteId, RateMeter] = OrderedDict()
        self._ended: set[SiteId] = set()
        """A window of theirs ended, and nobody has looked at it yet."""

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping, now: InstantNs) -> None:
        """`now`: read before the pong is sent."""
        meter = self._meters.get(site)
        if meter is None or meter.incarnation != incarnation:
            meter = self._meters[site] = RateMeter(incarnation)
        self._meters.move_to_end(site)
        while len(self._meters) > SITES_MAX:
            self._meters.popitem(last=False)
        if meter.heard(ping, now):
            self._ended.add(site)

    def bounds(self, site: SiteId) -> RateBounds | None:
        meter = self._meters.get(site)
        return None if meter is None else meter.bounds()

    def due_reports(self, state: ClusterState) -> tuple[ClockReport, ...]:
        """What the others must be told, once for each window that ended; what is lost comes with the next one."""
        if not self._ended:
            return ()
        ended, self._ended = sorted(self._ended), set()
        measured: dict[SiteId, RateBounds] = {}
        for site in ended:
            bounds, agent = self.bounds(site), state.agents.get(site)
            meter = self._meters.get(site)
            known = meter is not None and agent is not None and meter.incarnation == agent.incarnation
            if bounds is not None and known:
                measured[site] = bounds
        changed = clock_rules.changed(state, self._self_id, measured)
        return tuple(
            ClockReport(self._self_id, site, self._meters[site].incarnation, measured[site]) for site in changed
        )
