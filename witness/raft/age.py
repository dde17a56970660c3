"""How old a committed entry can be, without comparing clocks of two machines.

Rule: an entry is younger than e when e is a reading of *this* machine's clock, and a node that was certainly
the leader at or after e did not yet have the entry in its log.

A follower puts its clock reading (`stamp`) in each acknowledgement; the leader returns it (`echo`) together with
its last index once a majority has answered something that the leader sent after it got the stamp. Then nobody
else can have led before e, so whatever lies beyond that last index was appended after e. A new leader echoes
nothing before it has committed an entry of its own term: only then can no older, longer log come back.
An entry is dated by its append, not by its commit: what waited an hour for a majority is an hour old.
Rejected: dating by the arrival of the append (it may have spent seconds in a buffer), and by wall clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from proto.units import NS_PER_S, DurationNs, WitnessId

UNKNOWN_BEYOND_NS = NS_PER_S
PAIRS_MAX = 4096
STAMPS_MAX = 256


class AgeBook:
    """Pairs (last index, instant): whatever lies beyond that index was appended after that instant."""

    def __init__(self) -> None:
        self._confirmed: deque[tuple[int, int]] = deque(maxlen=PAIRS_MAX)
        self._own: deque[tuple[int, int]] = deque(maxlen=PAIRS_MAX)
        self._own_term = -1

    def confirmed(self, last_index: int, instant_ns: int) -> None:
        """A certain leader's log ended at `last_index` at or after `instant_ns` of our clock."""
        _note(self._confirmed, last_index, instant_ns)

    def leading(self, term: int, last_index: int, now_ns: int) -> None:
        """We lead `term` and our log ends here now: dates only entries of that very term."""
        if term != self._own_term:
            self._own.clear()
            self._own_term = term
        _note(self._own, last_index, now_ns)

    def bound(self, index: int, term: int, now_ns: int) -> DurationNs | None:
        """Asked in index order: earlier pairs are forgotten on the way."""
        instant_ns = _latest(self._confirmed, index)
        if term == self._own_term:
            own_ns = _latest(self._own, index)
            if own_ns is not None and (instant_ns is None or own_ns > instant_ns):
                instant_ns = own_ns
        if instant_ns is None or not 0 <= now_ns - instant_ns <= UNKNOWN_BEYOND_NS:
            return None
        return DurationNs(now_ns - instant_ns)


def _note(pairs: deque[tuple[int, int]], last_index: int, instant_ns: int) -> None:
    while pairs and pairs[-1][0] >= last_index and pairs[-1][1] <= instant_ns:
        pairs.pop()  # a later leader's shorter log says more of the same entries
    if pairs and (pairs[-1][0] >= last_index or pairs[-1][1] > instant_ns):
        return  # an older message overtaken by a newer one says nothing new
    pairs.append((last_index, instant_ns))


def _latest(pairs: deque[tuple[int, int]], index: int) -> int | None:
    while len(pairs) > 1 and pairs[1][0] < index:
        pairs.popleft()
    return pairs[0][1] if pairs and pairs[0][0] < index else None


class LeaderRounds:
    """The leader's side: who answered what, and which stamp may be echoed to whom. One object per term led."""

    def __init__(self, term: int, peers: Iterable[WitnessId]) -> None:
        self.term = term
        self.round_trips_ns: dict[WitnessId, int] = {}
        """The latest of each peer that answered in this term."""
        self._heard_ns: dict[WitnessId, int] = dict.fromkeys(peers, 0)
        self._stamps: dict[WitnessId, deque[tuple[int, int]]] = {
            peer: deque(maxlen=STAMPS_MAX) for peer in self._heard_ns
        }

    def forget(self, peer: WitnessId) -> None:
        """Its connection ended: stamps of an earlier boot of that machine must never come back to it."""
        self._heard_ns[peer] = 0
        self._stamps[peer].clear()

    def answered(self, peer: WitnessId, heard_ns: int, stamp_ns: int, now_ns: int) -> None:
        """`heard_ns` is our own reading that came back; one from the future was never ours."""
        if 0 < heard_ns <= now_ns:
            self.round_trips_ns[peer] = now_ns - heard_ns
            self._heard_ns[peer] = max(self._heard_ns[peer], heard_ns)
        stamps = self._stamps[peer]
        if len(stamps) < STAMPS_MAX:
            stamps.append((now_ns, stamp_ns))

    def certain_ns(self, now_ns: int) -> int:
        """The latest own instant at which we certainly led: a majority answered something sent later."""
        heard_ns = sorted([*self._heard_ns.values(), now_ns], reverse=True)
        return heard_ns[len(heard_ns) // 2]

    def echo(self, peer: WitnessId, now_ns: int) -> int:
        """The latest stamp of `peer` that reached us while we certainly led; 0 for none."""
        stamps, certain_ns = self._stamps[peer], self.certain_ns(now_ns)
        while len(stamps) > 1 and stamps[1][0] <= certain_ns:
            stamps.popleft()
        return stamps[0][1] if stamps and stamps[0][0] <= certain_ns else 0
