"""One witness's consensus without sockets, tasks or clocks: messages and `now` in, messages and a deadline out.

A *turn*, always in this order: deliver what came, hand over proposals, tick the engine (which applies what is
committed), tell a changed status, commit the journal, and only then flush to the peers and let the owner's effects
go (`turn_synced`). Nothing leaves before the commit, with one exception that Raft allows (thesis, 10.2.1): a leader
whose term and own vote are on disk already may hand out its appends early, so that its followers sync beside it; it
counts its own copy of an entry in the next turn at the earliest, when its own sync is over. Whoever drives this
object (witness.raft.syncobj on asyncio, a simulator on its own time) ends the process on any exception out of `turn`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from proto.errors import DurabilityLost
from proto.features import FEATURE_FIRST
from proto.units import NS_PER_MS, InstantNs, LogIndex, Term, WitnessId
from witness.raft.engine_adapter import Engine
from witness.raft.inbox import Inbox
from witness.raft.journal import Journal
from witness.raft.message_filter import UNCOMMITTED_ENTRIES_MAX, MessageFilter
from witness.raft.messages import Message
from witness.raft.outbox import Outbox, TurnOutbox
from witness.raft.outlook import caught_up, has_quorum, same_shape
from witness.raft.pace import Pace
from witness.raft.port import (
    ENTRY_BYTES_MAX,
    PROPOSALS_QUEUED_MAX,
    CommittedEntry,
    ConsensusStatus,
    ProposalRefused,
    Replicated,
    Role,
    SnapshotRefused,
)
from witness.raft.snapshot_file import Snapshot, decode_snapshot
from witness.raft.snapshot_transfer import SnapshotTransfer
from witness.raft.space import Verdict
from witness.raft.stamps import Stamps
from witness.raft.standing import Progress, Standing
from witness.raft.store import SNAPSHOT_NAME, STAY_DOWN, Store, StoreRefused
from witness.raft.suffrage import Suffrage, standing_in
from witness.raft.timers import CompactionLimits, RaftTimers

UNCOMMITTED_BYTES_MAX = 32 * 1024 * 1024
PROPOSAL_AGE_MAX_NS = 2_000 * NS_PER_MS
"""A proposal that found no leader for this long is dropped: its proposer has given it up (the port allows losses)."""

READMISSION_KINDS = frozenset({"readmission_ask", "readmission_answer"})


@dataclass(frozen=True, slots=True)
class TurnResult:
    outbox: Outbox
    synced: bool
    """The owner's effects may go: call `finish`."""
    wrote: bool = True
    """Else nothing in it rests on this turn's sync, and answers may go before the outbox."""


class RaftNode:
    def __init__(
        self,
        *,
        self_id: WitnessId,
        peers: Collection[WitnessId],
        store: Store,
        replicated: Replicated,
        timers: RaftTimers,
        compaction: CompactionLimits,
        now_ns: InstantNs,
        rng: random.Random,
    ) -> None:
        self.self_id = self_id
        self._store = store
        self._replicated = replicated
        self._timers = timers
        self._inbox = Inbox(peers)
        self._proposals: deque[tuple[int, bytes]] = deque()
        self._outbox = TurnOutbox(peers)
        self._linked: set[WitnessId] = set()
        self._unrecorded: set[WitnessId] = set()
        """Whose admission is not on disk yet: nothing leaves early for them."""
        self._features: dict[WitnessId, int] = {}
        self._installing = False
        self._leader_lost = False
        self._applied = False
        self._now_ns = now_ns
        self._status: ConsensusStatus | None = None
        self.filter = MessageFilter(peers, timers.election_min_ms * NS_PER_MS, standing_in(store))
        self._pace = Pace(timers)
        self._stamps = Stamps(peers, self._pace)
        self._suffrage = Suffrage(peers, store, self.filter)
        self.transfer = SnapshotTransfer(store.cluster_id, self._read_snapshot_file, self._fits)
        self._journal = Journal(store, compaction.tail_entries, compaction.tail_bytes)
        self._engine = Engine(
            self_id=self_id,
            peers=peers,
            journal=self._journal,
            transfer=self.transfer,
            hooks=self,
            timers=timers,
            compaction=compaction,
            now_ns=now_ns,
            rng=rng,
            pace=self._pace,
        )
        if self._engine.applied_index < self._engine.first_index:
            raise StoreRefused(
                f"{store.directory}: the log starts at {self._engine.first_index} but the snapshot that covers what "
                f"is before it is missing; {STAY_DOWN}"
            )

    # -- what the driver calls -------------------------------------------------------------------------------

    def unread_bytes(self, peer: WitnessId) -> int:
        return self._inbox.bytes_of(peer)

    def receive(self, peer: WitnessId, message: Message, size: int) -> None:
        """A message that passed check_message; it waits for the next turn."""
        self._inbox.put(peer, message, size)

    def link_up(self, peer: WitnessId, feature_max: int = FEATURE_FIRST) -> None:
        """`feature_max`: the highest feature level that the peer says it can work at."""
        self._linked.add(peer)
        self._unrecorded.add(peer)
        self._features[peer] = feature_max
        self._engine.link_up(peer)

    def link_down(self, peer: WitnessId) -> None:
        """What it sent and we did not read yet is void: its next connection starts afresh."""
        self._linked.discard(peer)
        self._features.pop(peer, None)
        self._engine.link_down(peer)
        self.filter.disconnected(peer)
        self._stamps.forget(peer)
        self._suffrage.disconnected(peer)
        if peer == self._engine.leader:
            self.filter.leader_lost()
            self._leader_lost = True
        self._inbox.drop(peer)

    def propose(self, data: bytes) -> None:
        if len(data) > ENTRY_BYTES_MAX:
            raise ProposalRefused(f"a proposal of {len(data)} bytes exceeds {ENTRY_BYTES_MAX}")
        if len(self._proposals) >= PROPOSALS_QUEUED_MAX:
            raise ProposalRefused(f"{PROPOSALS_QUEUED_MAX} proposals wait already, most likely for a leader")
        self._proposals.append((self._now_ns, data))

    @property
    def standing(self) -> Standing:
        return self._suffrage.standing

    def readmission(self) -> Progress | None:
        """How far it is; None for a voter."""
        return self._suffrage.progress()

    def turn(
        self,
        now_ns: InstantNs,
        unsent_bytes: dict[WitnessId, int],
        early_send: Callable[[Outbox], None] | None = None,
    ) -> TurnResult:
        """One turn; `unsent_bytes` says how much each peer's connection still holds.

        `early_send` gets what may leave before the turn is on disk; it is not in the result again.
        """
        self._now_ns = now_ns
        self._applied = False
        self._outbox.begin(unsent_bytes)
        self.filter.election_min_ns = self._pace.election_min_ms * NS_PER_MS
        self._engine.begin(now_ns)
        self._look_at_space(now_ns)
        if self._leader_lost:
            self._leader_lost = False
            self._engine.hurry_election(self.filter.election_min_ns // 2)
        self._deliver()
        self._hand_over_proposals()
        self._stamps.track(self._engine, now_ns)
        for peer, letter in self._suffrage.before_tick(self._engine, self._linked, now_ns):
            self.outgoing(peer, letter)
        self._engine.tick([peer for peer in self._linked if self._outbox.full(peer)])
        self._suffrage.after_tick(self._engine)
        changed = self._tell_status()
        if early_send is not None:
            self._send_early(early_send)
        wrote = self._journal.commit()
        self._unrecorded.clear()
        self._suffrage.after_commit()
        return TurnResult(self._outbox.take(), self._applied or changed or wrote, wrote)

    def took(self, duration_ns: int) -> None:
        """How long the last turn kept the process from everything else: syncs and snapshots slow elections down."""
        if self._engine.role is Role.LEADER:
            self._pace.measured(duration_ns, self._now_ns)

    def finish(self) -> None:
        self._replicated.turn_synced()

    def wants_turn(self) -> bool:
        """Another turn is due at once."""
        waiting = bool(self._proposals) and self._leader_reachable() and self._room() > 0
        return bool(self._inbox) or waiting or self._engine.wants_turn

    def next_deadline_ns(self) -> InstantNs:
        """The next turn at the latest. At least every second append period, since the status ages too."""
        period_ns = 2 * self._timers.append_period_ms * NS_PER_MS
        due_ns = self._engine.deadline_ns()
        if due_ns <= self._now_ns:  # an election that waits for a connection: nothing to hurry for
            return InstantNs(self._now_ns + period_ns)
        return InstantNs(min(due_ns, self._now_ns + period_ns))

    def force_snapshot(self) -> None:
        self._engine.force_snapshot()

    @property
    def pace(self) -> Pace:
        """What round trips took, and how far they stretch elections."""
        return self._pace

    def status(self) -> ConsensusStatus:
        engine, window_ns = self._engine, self._pace.election_max_ms * NS_PER_MS
        return ConsensusStatus(
            role=engine.role,
            leader=engine.leader,
            term=Term(engine.term),
            commit_index=LogIndex(engine.commit_index),
            applied_index=LogIndex(engine.applied_index),
            has_quorum=has_quorum(engine, self.filter, self._now_ns, window_ns),
            connected=frozenset(self._linked),
            caught_up=caught_up(engine, self.filter),
            features=tuple(sorted(self._features.items())),
        )

    # -- the turn's parts ------------------------------------------------------------------------------------

    def _send_early(self, early_send: Callable[[Outbox], None]) -> None:
        if self._engine.role is not Role.LEADER or not self._journal.term_is_durable or not self._journal.dirty:
            return
        early = self._outbox.take_appends(self._linked - self._unrecorded)
        if early:
            early_send(early)

    def _look_at_space(self, now_ns: InstantNs) -> None:
        """A full disk stops acknowledging before it stops writing."""
        space = self._store.space(now_ns)
        if space.verdict is Verdict.CRITICAL:
            raise DurabilityLost(
                f"{self._store.directory} has {space.free_bytes} bytes free, too few for one more turn: the process "
                "ends while everything that it promised is on disk; make room, then start the witness again"
            )
        self.filter.disk_low = space.verdict is Verdict.LOW

    def _deliver(self) -> None:
        for peer, message in self._inbox.take_turn():
            if message["type"] in READMISSION_KINDS:
                answer = self._suffrage.handle(peer, message, self._engine.term)
                if answer is not None:
                    self.outgoing(peer, answer)
                continue
            verdict = self.filter.inbound(peer, message, self._engine, self._now_ns)
            if verdict.deliver is not None:
                self._deliver_one(peer, verdict.deliver)
            if verdict.reply is not None:
                self.outgoing(peer, verdict.reply)

    def _deliver_one(self, peer: WitnessId, message: Message) -> None:
        kind = message["type"]
        if kind == "append_entries":
            self._stamps.took_append(peer, message, self._now_ns)
        elif kind == "next_node_idx":
            self.transfer.answered(peer, message["heard"])
            self._stamps.took_answer(peer, message, self._now_ns)
        self._installing = "serialized" in message
        self._engine.deliver(peer, message, counts=bool(message.get("votes", True)))
        self._installing = False

    def _hand_over_proposals(self) -> None:
        while self._proposals and self._now_ns - self._proposals[0][0] > PROPOSAL_AGE_MAX_NS:
            self._proposals.popleft()
        leader, room = self._engine.leader, self._room()
        while self._proposals and self._leader_reachable() and room > 0:
            _, data = self._proposals.popleft()
            self._engine.command(data)
            room -= 1
            if leader is not None and leader != self.self_id:
                self._outbox.promised(leader, len(data))
                room = self._room()

    def _room(self) -> int:
        """For how many proposals: a leader takes no more than it may hold without a commit (D-46)."""
        engine = self._engine
        if engine.leader != self.self_id:
            return 0 if self._outbox.full(engine.leader) else PROPOSALS_QUEUED_MAX
        if self._journal.bytes_above(engine.commit_index) >= UNCOMMITTED_BYTES_MAX:
            return 0
        return UNCOMMITTED_ENTRIES_MAX - (engine.last_index - engine.commit_index)

    def _leader_reachable(self) -> bool:
        leader = self._engine.leader
        return leader is not None and (leader == self.self_id or leader in self._linked)

    def _tell_status(self) -> bool:
        status, before = self.status(), self._status
        self._status = status
        if before is not None and same_shape(before, status):
            return False
        self._replicated.status_changed(status)
        return True

    # -- what the engine calls (EngineHooks) -----------------------------------------------------------------

    def outgoing(self, peer: WitnessId, message: Message) -> bool:
        if peer not in self._linked:
            return True
        kind, stop = message["type"], False
        if kind == "append_entries":
            chunk = message.get("serialized")
            stop = "serialized" in message and (chunk is None or bool(chunk[2]))
            message = self._stamps.on_append(peer, message, self._engine, self._now_ns)
        elif kind == "next_node_idx":
            answer = self._stamped_answer(peer, message)
            if answer is None:
                return False
            message = answer
        self._outbox.post(peer, message)
        return stop or self._outbox.full(peer)

    def _stamped_answer(self, peer: WitnessId, message: Message) -> Message | None:
        if message["success"] and self._installing:
            installed = self._engine.installed_index
            if installed is None:
                return None  # nothing was installed, so nothing is acknowledged (D-9)
            message = {**message, "next_node_idx": installed + 1}
        if message["reset"]:
            message = {**message, "next_node_idx": self._first_doubtful(message["next_node_idx"])}
        answer = {**message, **self._suffrage.stamps()}
        return self._stamps.on_answer(peer, answer, self._engine, self._now_ns)

    def _first_doubtful(self, index: int) -> int:
        """Where the leader should look next: a conflict dooms all entries of its term, not one at a time (D-44)."""
        engine = self._engine
        term = engine.term_at(index)
        while term is not None and index > engine.commit_index + 1 and engine.term_at(index - 1) == term:
            index -= 1
        return index

    def apply(self, data: bytes, index: int, term: int) -> None:
        self._applied = True
        age_ns = self._stamps.age_bound(index, term, self._now_ns)
        self._replicated.apply(CommittedEntry(LogIndex(index), Term(term), data, age_ns))

    def image(self) -> bytes:
        return self._replicated.snapshot()

    def save(self, data: bytes) -> None:
        self._store.save_snapshot(data)

    def install(self, snapshot: Snapshot, data: bytes) -> bool:
        if snapshot.last[2] > self._engine.term:  # ours is the sender's by now; no leader has an entry of a later one
            self.transfer.refused += 1
            words = f"{self._engine.leader} sends a snapshot of a term after its own"
            self.filter.alarm("snapshot_of_later_term", words)
            return False
        try:
            self._replicated.restore(snapshot.image, LogIndex(snapshot.last_index))
        except SnapshotRefused as refused:
            self.transfer.refused += 1
            self.filter.alarm("snapshot_of_no_use", f"{self._engine.leader} sends one: {refused}")
            return False
        self._store.save_snapshot(data)
        self._applied = True
        return True

    def load(self) -> Snapshot | None:
        try:
            snapshot = self._store.read_snapshot()
            if snapshot is not None and snapshot.last_index < self._journal[0][1]:
                raise SnapshotRefused(f"it ends at {snapshot.last_index}, before the log begins")
            if snapshot is not None:
                self._replicated.restore(snapshot.image, LogIndex(snapshot.last_index))
        except SnapshotRefused as refused:
            raise StoreRefused(f"{self._store.directory / SNAPSHOT_NAME}: {refused}; {STAY_DOWN}") from refused
        return snapshot

    def _fits(self, size: int) -> bool:
        return self._store.space(self._now_ns).fits(size)

    def _read_snapshot_file(self) -> bytes | None:
        try:
            data = self._store.snapshot_bytes()
            if data is not None:
                decode_snapshot(data, self._store.cluster_id)
        except SnapshotRefused as refused:
            path = self._store.directory / SNAPSHOT_NAME
            raise StoreRefused(f"{path}: {refused}; this witness's disk is damaged") from refused
        return data
