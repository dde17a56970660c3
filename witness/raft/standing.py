"""Who may vote and acknowledge: a witness whose disk forgot something may not, until forgetting cannot hurt (D-25).

A blank, restored or damaged disk may have voted in a term, or acknowledged an entry, that it no longer knows. A
witness on such a disk is a LEARNER: it follows and applies, but grants no vote, never stands, and what it
acknowledges counts for nothing. It becomes a VOTER when all of these hold:
  (a) every other member answered, on the connection that it has now, that it has recorded this disk durably and
      refuses every earlier one; each names its own current term, and the highest of them is the *floor*;
  (b) it follows a leader of a term above the floor;
  (c) it has applied an entry of that very term that is committed.
Why that is enough. The old disk can have voted only for a candidate whose own term was at least as high, and that
candidate answered: so every old vote lies at or below the floor, and this disk votes only above it (one vote a
term). A leader above the floor was elected without this disk, by a majority of disks that forgot nothing, so it has
every entry that was ever committed with the old disk's help; an entry of its term that is committed proves that this
log has them too (Leader Completeness), and no acknowledgement of the old disk can count in that term, because the
members refused it before the term began. Becoming a voter is durable before the first vote or acknowledgement leaves.
An answer is void when its connection ends: a blank disk knows nobody, so what answered in a member's name may have been
a copy or an older state of that member's disk, which the others know and have refused since.
Rejected: a new id for the witness (dynamic membership of the library, D-31); trusting the operator's word alone.
Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from proto.units import NS_PER_MS, WitnessId

STANDING_MARK = "standing"
"""The store's mark; every store has it from its making."""
ASK_EVERY_NS = 250 * NS_PER_MS
RENEW_EVERY_NS = 2_000 * NS_PER_MS
"""A leader begins a new term for a learner at most this often."""
FLOOR_AHEAD_MAX = 1_000
"""A floor is a term that some member is in: whoever leads hears of a newer one, so one far above its own is a lie."""


class Standing(Enum):
    VOTER = "voter"
    LEARNER = "learner"


def standing_of(mark: bytes | None) -> Standing:
    return Standing.VOTER if mark is None else Standing(mark.decode())


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a readmission is, for people."""

    waiting_for: tuple[WitnessId, ...]
    floor: int
    """0 until every other member answered."""

    def words(self) -> str:
        if self.waiting_for:
            return f"waiting until {', '.join(self.waiting_for)} recorded this disk: they must be running and reachable"
        return f"waiting for a term above {self.floor} and its first committed entry"


class Readmission:
    """The learner's side."""

    def __init__(self, peers: Collection[WitnessId], disk: bytes) -> None:
        self._peers = tuple(sorted(peers))
        self._disk = disk
        self._terms: dict[WitnessId, int] = {}
        self._asked_ns: dict[WitnessId, int] = {}

    def due(self, linked: Collection[WitnessId], now_ns: int) -> list[WitnessId]:
        """Peers to ask now."""
        asked = [
            peer
            for peer in self._peers
            if peer in linked
            and peer not in self._terms
            and now_ns - self._asked_ns.get(peer, now_ns - ASK_EVERY_NS) >= ASK_EVERY_NS
        ]
        self._asked_ns |= dict.fromkeys(asked, now_ns)
        return asked

    def answered(self, peer: WitnessId, disk: bytes, term: int) -> None:
        if disk == self._disk and peer in self._peers:
            self._terms[peer] = max(term, self._terms.get(peer, 0))

    def forget(self, peer: WitnessId) -> None:
        """Its connection ended: whoever comes next under that name answers for itself."""
        self._terms.pop(peer, None)

    @property
    def floor(self) -> int:
        """Votes are allowed above this term only; 0 while it is not known."""
        return max(self._terms.values(), default=0) if len(self._terms) == len(self._peers) else 0

    def fulfilled(self, *, follows_term: int | None, applied_term: int | None) -> bool:
        """`follows_term`: of the leader that it follows; `applied_term`: of the newest committed, applied entry."""
        complete = len(self._terms) == len(self._peers)
        return complete and follows_term is not None and follows_term > self.floor and applied_term == follows_term

    def progress(self) -> Progress:
        return Progress(tuple(peer for peer in self._peers if peer not in self._terms), self.floor)


class Learners:
    """The leader's side: which peers do not count, and whether one of them needs a new term."""

    def __init__(self) -> None:
        self._floors: dict[WitnessId, tuple[int, int]] = {}
        self._renewed_ns: int | None = None

    def heard(self, peer: WitnessId, *, votes: bool, floor: int, next_index: int) -> None:
        if votes:
            self._floors.pop(peer, None)
        else:
            self._floors[peer] = floor, next_index

    def __contains__(self, peer: object) -> bool:
        return peer in self._floors

    def wants_new_term(self, term: int, commit_index: int, now_ns: int) -> bool:
        """A learner has caught up and every member answered it, but our term is not above its floor."""
        waiting = any(
            term <= floor < term + FLOOR_AHEAD_MAX and next_index > commit_index
            for floor, next_index in self._floors.values()
        )
        recent = self._renewed_ns is not None and now_ns - self._renewed_ns < RENEW_EVERY_NS
        if not waiting or recent:
            return False
        self._renewed_ns = now_ns
        return True
