"""The seam between the witness and consensus: propose bytes, receive the committed stream.

Two bodies keep this contract (tests/contract/test_consensus_port.py runs on both): the hardened PySyncObj
engine (witness.raft.syncobj) and an in-memory cluster (witness.raft.memory).

The port promises, in this order:
  1. `Replicated.apply` is called once per index, in index order, for entries that are committed; on a restarted
     node it is called again from the last snapshot on. Indexes may have gaps (the engine's own no-ops).
  2. `turn_synced` is called at the end of every turn in which something was applied or changed, after the
     turn's journal transaction is on disk; what `apply` caused may leave the node then, and not before.
  3. A proposal may be lost, and is never committed twice by one call; the proposer recognises its own entries
     by the session tag that it put into them. There is no other acknowledgement (RAFT-REVIEW D-17, D-18).
  4. `restore` replaces the whole state and is called before the first `apply` that follows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from proto.errors import ThirdsiteError
from proto.units import DurationNs, LogIndex, Term, WitnessId

ENTRY_BYTES_MAX = 256 * 1024
"""One proposal; well below the engine's batch of 1 MiB, so that it never splits an entry (D-22)."""
PROPOSALS_QUEUED_MAX = 256
"""Proposals that wait for a leader; more are refused at once rather than answered late."""


class ProposalRefused(ThirdsiteError):
    """The proposal was not taken: too large, queue full, or the node is stopping. Nothing was proposed."""


class SnapshotRefused(ThirdsiteError):
    """An image is damaged or of another cluster or version; the state before it stays."""


class Role(Enum):
    LEADER = "leader"
    FOLLOWER = "follower"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class CommittedEntry:
    """One committed entry.

    `age_bound_ns`: the entry was put into the log, and so committed, no longer ago than this by this node's clock;
    None when unknown (replay, catching up) or above a second. Entries of unknown age never make anything look
    fresh (DESIGN section 4). What waited in a log for a majority is as old as its append (witness.raft.age).
    """

    index: LogIndex
    term: Term
    data: bytes
    age_bound_ns: DurationNs | None


@dataclass(frozen=True, slots=True)
class ConsensusStatus:
    role: Role
    leader: WitnessId | None
    term: Term
    commit_index: LogIndex
    applied_index: LogIndex
    has_quorum: bool
    """As far as this node knows: it leads and heard a majority lately, or it heard a leader lately."""
    connected: frozenset[WitnessId]
    caught_up: bool
    """Everything known to be committed when the leader was last heard is applied here."""
    features: tuple[tuple[WitnessId, int], ...] = ()
    """The highest feature level of each connected witness, by its own word (proto.features)."""


class Replicated(Protocol):
    """What the port drives: the replicated state with its snapshots. Called on one thread, never re-entrantly."""

    def apply(self, entry: CommittedEntry) -> None:
        """Total: never raises for a bad entry. An InvariantViolation ends the process."""

    def snapshot(self) -> bytes:
        """The image of the state as of the last applied entry; versioned and hashed by its owner."""

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        """Replaces the state by one as of entry `last_index`. Raises SnapshotRefused and changes nothing when the image
        is not acceptable; one that claims later entries is not: they come next, and would be applied twice.
        """

    def turn_synced(self) -> None:
        """The turn that applied entries or changed the status is on disk: its effects may leave now."""

    def status_changed(self, status: ConsensusStatus) -> None:
        """Role, leader, term, quorum, connections or what the connected ones can do changed."""


class ConsensusPort(Protocol):
    @property
    def self_id(self) -> WitnessId: ...

    def propose(self, data: bytes) -> None:
        """Hands `data` to the leader, wherever it is. Raises ProposalRefused and then proposes nothing."""

    def status(self) -> ConsensusStatus: ...
