"""What every message between witnesses tells about time: sent, heard, echoed, and how long a round trip took.

Ties age.py (how old is an entry) and pace.py (how long may an election wait) to the engine's messages; the message
kinds themselves are in messages.py. No reading of another machine's clock is ever compared with ours: what comes
back to us is our own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from proto.units import DurationNs, WitnessId
from witness.raft.age import AgeBook, LeaderRounds
from witness.raft.messages import Message
from witness.raft.pace import Pace, majority_round_trip_ns
from witness.raft.port import Role


class Led(Protocol):
    """What is needed of the engine."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    def term_at(self, index: int) -> int | None: ...


class Stamps:
    def __init__(self, peers: Collection[WitnessId], pace: Pace) -> None:
        self._peers = tuple(peers)
        self._pace = pace
        self._heard: tuple[WitnessId, int] | None = None
        self._rounds: LeaderRounds | None = None
        self._ages = AgeBook()

    def took_append(self, peer: WitnessId, message: Message, now_ns: int) -> None:
        self._pace.told(message["pace"])
        self._heard = peer, message["sent"]
        if 0 < message["echo"] <= now_ns:  # a reading from the future was never ours
            self._ages.confirmed(message["last"], message["echo"])

    def took_answer(self, peer: WitnessId, message: Message, now_ns: int) -> None:
        """An acknowledgement; one that counts towards a majority also tells how long it took."""
        rounds = self._rounds
        if not message["votes"] or rounds is None or rounds.term != message["term"]:
            return
        rounds.answered(peer, message["heard"], message["stamp"], now_ns)
        round_trip_ns = majority_round_trip_ns(rounds.round_trips_ns, len(self._peers) + 1)
        if round_trip_ns is not None:
            self._pace.measured(round_trip_ns, now_ns)

    def track(self, engine: Led, now_ns: int) -> None:
        """Once a turn, before the engine's tick."""
        if engine.role is not Role.LEADER:
            self._rounds = None
            return
        if self._rounds is None or self._rounds.term != engine.term:
            self._rounds = LeaderRounds(engine.term, self._peers)
        self._ages.leading(engine.term, engine.last_index, now_ns)

    def forget(self, peer: WitnessId) -> None:
        if self._rounds is not None:
            self._rounds.forget(peer)

    def on_append(self, peer: WitnessId, message: Message, engine: Led, now_ns: int) -> Message:
        rounds = self._rounds
        committed_own = engine.term_at(engine.commit_index) == engine.term
        certain = rounds is not None and rounds.term == engine.term and committed_own
        echo_ns = rounds.echo(peer, now_ns) if rounds is not None and certain else 0
        pace_ms = self._pace.election_min_ms
        return {**message, "last": engine.last_index, "sent": now_ns, "echo": echo_ns, "pace": pace_ms}

    def on_answer(self, peer: WitnessId, message: Message, engine: Led, now_ns: int) -> Message:
        heard_ns = self._heard[1] if self._heard is not None and self._heard[0] == peer else 0
        return {**message, "term": engine.term, "heard": heard_ns, "stamp": now_ns}

    def age_bound(self, index: int, term: int, now_ns: int) -> DurationNs | None:
        return self._ages.bound(index, term, now_ns)
