"""Whether this witness stands, votes and counts: what one turn does for it.

Ties together the round before an election (elections.py), the standing of a disk that may have forgotten something
(standing.py) and the engine, which only counts votes. Everything it sends goes into the turn's outbox, and so leaves
after the turn is on disk; a learner that became a voter in a turn says so from the next turn on.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from proto.units import WitnessId
from witness.raft.heed import require_nothing_heeded
from witness.raft.message_filter import EngineView, MessageFilter
from witness.raft.messages import TERM_JUMP_MAX, Message
from witness.raft.port import Role
from witness.raft.standing import STANDING_MARK, Progress, Readmission, Standing, standing_of

Letter = tuple[WitnessId, Message]


class Marks(Protocol):
    """What is needed of the store."""

    incarnation: bytes

    def get_meta(self, name: str) -> bytes | None: ...
    def put_meta(self, name: str, value: bytes) -> None: ...


class Candidate(EngineView, Protocol):
    """What is needed of the engine beyond the filter's view."""

    @property
    def applied_index(self) -> int: ...
    @property
    def election_is_due(self) -> bool: ...
    def rearm_election(self) -> None: ...
    def stand(self) -> None: ...
    def resign(self) -> None: ...
    def majority_heard(self, within_ns: int) -> bool: ...


class Suffrage:
    def __init__(self, peers: Collection[WitnessId], store: Marks, message_filter: MessageFilter) -> None:
        self._peers = tuple(sorted(peers))
        self._store = store
        self._filter = message_filter
        self._led = False
        self._promoted = False
        self._readmission: Readmission | None = None
        if message_filter.standing is Standing.LEARNER:
            self._readmission = Readmission(self._peers, store.incarnation)

    @property
    def standing(self) -> Standing:
        return self._filter.standing

    def progress(self) -> Progress | None:
        """Of the readmission; None for a voter."""
        return None if self._readmission is None else self._readmission.progress()

    def stamps(self) -> Message:
        """What every acknowledgement says of its sender."""
        learner = self._readmission
        return {"votes": learner is None, "floor": 0 if learner is None else learner.floor}

    def handle(self, peer: WitnessId, message: Message, term: int) -> Message | None:
        """A readmission's question gets its answer; our record of the asker's disk is durable before it leaves."""
        if message["type"] == "readmission_ask":
            return {"type": "readmission_answer", "disk": message["disk"], "current": term}
        if self._readmission is not None and message["current"] <= term + TERM_JUMP_MAX:
            self._readmission.answered(peer, message["disk"], message["current"])
        return None

    def disconnected(self, peer: WitnessId) -> None:
        if self._readmission is not None:
            self._readmission.forget(peer)

    def before_tick(self, engine: Candidate, linked: Collection[WitnessId], now_ns: int) -> list[Letter]:
        self._notice_loss(engine)
        if self._readmission is not None:
            ask: Message = {"type": "readmission_ask", "disk": self._store.incarnation}
            return [(peer, ask) for peer in self._readmission.due(linked, now_ns)]
        if engine.role is Role.LEADER and self._filter.disk_low:
            engine.resign()
        if engine.role is Role.LEADER:
            self._renew_for_learner(engine, now_ns)
            return []
        if self._filter.disk_low:
            return []
        if self._filter.pre_votes.take_win(engine.term, self._filter.leader_heard_ns):
            engine.stand()
        elif engine.election_is_due:
            return self._ask_for_votes(engine, now_ns)
        return []

    def after_tick(self, engine: Candidate) -> None:
        self._notice_loss(engine)
        readmission = self._readmission
        if readmission is None:
            return
        follows = engine.term if engine.role is Role.FOLLOWER and engine.leader is not None else None
        applied = engine.term_at(engine.applied_index)
        if readmission.fulfilled(follows_term=follows, applied_term=applied):
            self._store.put_meta(STANDING_MARK, Standing.VOTER.value.encode())
            self._promoted = True

    def after_commit(self) -> None:
        """The turn is on disk: from here on a promoted learner votes and counts."""
        if self._promoted:
            self._promoted, self._readmission = False, None
            self._filter.standing = Standing.VOTER

    def _ask_for_votes(self, engine: Candidate, now_ns: int) -> list[Letter]:
        engine.rearm_election()
        if not self._peers:
            engine.stand()
            return []
        self._filter.pre_votes.begin(engine.term + 1, now_ns)
        last = engine.last_index
        ask: Message = {"type": "pre_vote", "term": engine.term + 1, "last_log_index": last}
        ask["last_log_term"] = engine.term_at(last) or 0
        return [(peer, ask) for peer in self._peers]

    def _renew_for_learner(self, engine: Candidate, now_ns: int) -> None:
        healthy = engine.majority_heard(self._filter.election_min_ns)
        if healthy and self._filter.learners.wants_new_term(engine.term, engine.commit_index, now_ns):
            engine.stand()

    def _notice_loss(self, engine: Candidate) -> None:
        """Who just ceased to lead waits a full timeout: the library would stand again at once (D-33)."""
        leads = engine.role is Role.LEADER
        if self._led and not leads:
            engine.rearm_election()
        self._led = leads


def standing_in(store: Marks) -> Standing:
    """Of the disk that a process starts on. Raises StoreRefused when it may have none any more."""
    require_nothing_heeded(store)
    return standing_of(store.get_meta(STANDING_MARK))
