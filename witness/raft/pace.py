"""Election timeouts that follow what round trips really take, above the configured floor (Raft, section 5.6).

Rule: broadcast time << election timeout. The leader measures its round trips as they count: from an append until the
acknowledgement that completes a majority was read, so both machines' syncs and queues are in it. It tells its
followers the shortest election timeout that fits, MULTIPLE times the worst second of late (but for the worst tenth);
they keep to it after it is gone. A slow disk or a loaded machine thus makes elections later instead of more frequent;
never later than CEILING times the floor, so that a witness whose disk hangs cannot hold up the others.
Nothing of safety rests on this. Rejected: each follower measuring for itself (it sees one way only), averages (an
election is started by the worst case), timeouts below the configured ones (a quiet hour says nothing of the next).
Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from proto.histogram import Histogram
from proto.units import NS_PER_MS, NS_PER_S, WitnessId
from witness.raft.timers import RaftTimers

MULTIPLE = 4
CEILING = 8
WINDOW_S = 60


class Pace:
    def __init__(self, timers: RaftTimers) -> None:
        self._floor = timers
        self._stretch_ms = timers.election_min_ms
        self._worst_ns: deque[tuple[int, int]] = deque(maxlen=WINDOW_S)
        self.seen = Histogram()
        """Everything that was measured as leader, for people; in the life of this process."""

    @property
    def election_min_ms(self) -> int:
        return self._stretch_ms

    @property
    def election_max_ms(self) -> int:
        return self._floor.election_max_ms * self._stretch_ms // self._floor.election_min_ms

    @property
    def leader_fallback_ms(self) -> int:
        """A leader that no majority answered for so long gives up; within two election timeouts (D-14)."""
        return self._floor.leader_fallback_ms * self._stretch_ms // self._floor.election_min_ms

    def measured(self, round_trip_ns: int, now_ns: int) -> None:
        """As leader: a majority answered an append after so long."""
        self.seen.add(round_trip_ns)
        second = now_ns // NS_PER_S
        if self._worst_ns and self._worst_ns[-1][0] == second:
            self._worst_ns[-1] = second, max(round_trip_ns, self._worst_ns[-1][1])
            return
        self._worst_ns.append((second, round_trip_ns))
        worst_ns = sorted(worst for _, worst in self._worst_ns)
        typical_ns = worst_ns[(len(worst_ns) - 1) * 9 // 10]
        self._set(-(-MULTIPLE * typical_ns // NS_PER_MS))

    def told(self, election_min_ms: int) -> None:
        """As follower: what the leader found."""
        self._worst_ns.clear()
        self._set(election_min_ms)

    def _set(self, wanted_ms: int) -> None:
        floor_ms = self._floor.election_min_ms
        self._stretch_ms = min(max(wanted_ms, floor_ms), floor_ms * CEILING)


def majority_round_trip_ns(round_trips_ns: Mapping[WitnessId, int], members: int) -> int | None:
    """Of the peer whose answer completes a majority with the leader; None while too few have answered."""
    needed = members // 2
    known = sorted(round_trips_ns.values())
    return known[needed - 1] if 0 < needed <= len(known) else None
