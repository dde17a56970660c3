"""Which witness to ask: the state of the streams, the attempts in flight, and the choice of the best one.

A heartbeat goes over one stream only. When its answer stays out for `answer_wait_ns`, that stream is suspect and
the next attempt goes at once over another (a fresh nonce, counted from its own sending).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from proto import limits
from proto.clock import ClockReading
from proto.timing import ANSWER_WAIT_MS_MIN
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, Nonce, WitnessId

_RTT_UNKNOWN_NS = 50 * NS_PER_MS
_ANSWER_WAIT_MAX_NS = 1_000 * NS_PER_MS


@dataclass(frozen=True, slots=True)
class Attempt:
    """One heartbeat in flight: when it was about to be sent, over which stream, carrying which epochs."""

    seq: int
    sent: ClockReading
    witness: WitnessId
    carried: Mapping[GroupId, Epoch]


@dataclass(slots=True)
class Stream:
    leading: bool
    rtt_ns: int = _RTT_UNKNOWN_NS
    suspect: bool = False
    pings: OrderedDict[Nonce, InstantNs] = field(default_factory=OrderedDict)

    def measured(self, rtt_ns: int) -> None:
        """Smoothed as TCP does (RFC 6298: 1/8 of the new sample)."""
        self.rtt_ns = (7 * self.rtt_ns + rtt_ns) // 8
        self.suspect = False


class StreamTable:
    def __init__(self) -> None:
        self.open: dict[WitnessId, Stream] = {}
        self._attempts: OrderedDict[Nonce, Attempt] = OrderedDict()
        self.unanswered = 0
        """Attempts in a row without an answer."""

    def opened(self, witness: WitnessId, *, leading: bool) -> None:
        self.open[witness] = Stream(leading)

    def closed(self, witness: WitnessId) -> None:
        self.open.pop(witness, None)

    def best(self) -> WitnessId | None:
        """Trusted before suspect, the leader before others (one hop less), then the nearest."""
        if not self.open:
            return None

        def order(witness: WitnessId) -> tuple[bool, bool, int, str]:
            stream = self.open[witness]
            return (stream.suspect, not stream.leading, stream.rtt_ns, witness)

        return min(self.open, key=order)

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
        stream = self.open.get(attempt.witness)
        if stream is not None:
            stream.measured(now.boottime_ns - attempt.sent.boottime_ns)
        return attempt

    def overdue(self, witness: WitnessId) -> None:
        """No answer in time over this stream."""
        self.unanswered += 1
        stream = self.open.get(witness)
        if stream is not None:
            stream.suspect = True
            stream.leading = False

    def forget_all(self) -> None:
        """A new incarnation: what is in flight means nothing any more, and no stream knows it."""
        self._attempts.clear()
        self.open.clear()
        self.unanswered = 0

    def answer_wait_ns(self, witness: WitnessId) -> int:
        """Four round trips, at least ANSWER_WAIT_MS_MIN, doubling while nothing is answered at all."""
        stream = self.open.get(witness)
        rtt_ns = _RTT_UNKNOWN_NS if stream is None else stream.rtt_ns
        wait_ns = max(ANSWER_WAIT_MS_MIN * NS_PER_MS, 4 * rtt_ns)
        rounds = max(0, self.unanswered - max(1, len(self.open)) + 1)
        return min(wait_ns << min(rounds, 4), _ANSWER_WAIT_MAX_NS)
