"""The round before an election: nobody begins a new term unless a majority would vote for it (D-13).

Rule (Raft thesis, 9.6): a witness whose election timeout ended asks "would you vote for me in term t + 1?" and
changes nothing. A peer says yes when its log is not ahead, its term is below, and it has not heard a leader within
the shortest election timeout. Only a majority of yeses lets the engine stand. A witness behind a partial partition
thus never inflates terms, and a returning one never unseats a leader that the others hear.
An answer gives nothing but leave to stand, so that late or repeated ones are harmless. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from proto.units import WitnessId


@dataclass(slots=True)
class _Round:
    term: int
    began_ns: int
    yes: set[WitnessId] = field(default_factory=set)


class PreVotes:
    """The asking side: one round at a time."""

    def __init__(self, peers: Collection[WitnessId]) -> None:
        self._peers = frozenset(peers)
        self._round: _Round | None = None

    def begin(self, term: int, now_ns: int) -> None:
        """Asks for `term`; an earlier round is void."""
        self._round = _Round(term, now_ns)

    def answered(self, peer: WitnessId, term: int, *, granted: bool) -> None:
        if self._round is not None and granted and term == self._round.term and peer in self._peers:
            self._round.yes.add(peer)

    def take_win(self, term_now: int, leader_heard_ns: int | None) -> bool:
        """True once, when a majority said yes and nothing has happened since that makes the round void."""
        asked = self._round
        if asked is None:
            return False
        overtaken = leader_heard_ns is not None and leader_heard_ns >= asked.began_ns
        if overtaken or term_now + 1 != asked.term:
            self._round = None
            return False
        if 2 * (len(asked.yes) + 1) <= len(self._peers) + 1:
            return False
        self._round = None
        return True
