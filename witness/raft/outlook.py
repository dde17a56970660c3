"""What a witness may say of the cluster from where it stands: is there a majority, and does it know all of it.

Both are for people, load balancers and the leader's own decisions; no answer to a client and no lease rests on them.
"""

from __future__ import annotations

from typing import Protocol

from proto.units import WitnessId
from witness.raft.message_filter import MessageFilter
from witness.raft.port import ConsensusStatus, Role


class Outlook(Protocol):
    """What is needed of the engine."""

    @property
    def role(self) -> Role: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> WitnessId | None: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def applied_index(self) -> int: ...
    def term_at(self, index: int) -> int | None: ...
    def majority_heard(self, within_ns: int) -> bool: ...


def has_quorum(engine: Outlook, message_filter: MessageFilter, now_ns: int, window_ns: int) -> bool:
    """It leads and heard a majority lately, or it heard a leader lately."""
    if engine.role is Role.LEADER:
        return engine.majority_heard(window_ns)
    heard_ns = message_filter.leader_heard_ns
    return engine.leader is not None and heard_ns is not None and now_ns - heard_ns <= window_ns


def caught_up(engine: Outlook, message_filter: MessageFilter) -> bool:
    """Everything that was ever acknowledged is applied here, as of the leader's latest word.

    A new leader's commit index is behind what its predecessor acknowledged, until it has committed an entry of its
    own term: whatever it names before that proves nothing (D-37).
    """
    if engine.role is Role.LEADER:
        return engine.applied_index == engine.commit_index and engine.term_at(engine.commit_index) == engine.term
    commit = message_filter.leader_commit
    settled = engine.term_at(commit) == engine.term
    return engine.leader is not None and settled and engine.applied_index >= commit


def same_shape(one: ConsensusStatus, other: ConsensusStatus) -> bool:
    """Nothing differs that `status_changed` tells; indexes move all the time and are left out."""
    return _shape(one) == _shape(other)


def _shape(status: ConsensusStatus) -> tuple[object, ...]:
    told = status.role, status.leader, status.term, status.has_quorum, status.connected, status.caught_up
    return *told, status.features
