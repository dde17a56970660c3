"""The in-memory body of the consensus port: what Raft may do, on virtual time, from one seed.

Not Raft inside: one committed log that only grows, shared by all, and per node how much of it the node knows and
has applied. Whatever the port promises is what Raft could do, and everything unpleasant that Raft may do happens:
proposals are lost, or committed although their proposer saw the leader go; two nodes believe that they lead, of
which only one commits; followers lag; a crashed node starts from its last snapshot and is told the rest again; a
node that is far behind is given another's snapshot. A leader commits only after a round trip with a majority that
is reachable both ways, and only while no later term has begun.

The caller drives: `step(now)` performs everything due, `next_event_ns()` says when to come back. Randomness comes
from the `random.Random` handed in, nothing else varies: the same calls give the same run.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from proto.features import FEATURE_MAX
from proto.invariants import require
from proto.units import NS_PER_MS, NS_PER_S, DurationNs, InstantNs, LogIndex, Term, WitnessId
from witness.raft.memory_network import Appended, Delivery, Notice, Pending, Post, Proposal, Round
from witness.raft.outlook import same_shape
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
from witness.raft.timers import RaftTimers

AGE_MARGIN_PERCENT = 10
"""Bounds are stretched by this, so that they hold on a node whose clock runs that much faster."""
AGE_UNKNOWN_BEYOND_NS = NS_PER_S


@dataclass(slots=True)
class _Member:
    witness: WitnessId
    replicated: Replicated | None = None
    role: Role = Role.FOLLOWER
    term: int = 0
    leader: WitnessId | None = None
    commit: int = 0
    """Volatile, like the engine's: a restarted node is told it again."""
    applied: int = 0
    heard_ns: int = 0
    election_ns: int = 0
    heartbeat_ns: int = 0
    majority_ns: int = 0
    """As leader: when a majority was reachable last."""
    snapshot: tuple[int, bytes] | None = None
    replay_until: int = 0
    """What was committed when this node (re)started has unknown age."""
    queue: deque[bytes] = field(default_factory=deque)
    status: ConsensusStatus | None = None
    feature_max: int = FEATURE_MAX
    paused: bool = False
    """Its process stands still: it hears, sends and applies nothing, and still believes what it believed."""

    @property
    def alive(self) -> bool:
        return self.replicated is not None


class MemoryConsensus:
    """One node's port into the cluster."""

    def __init__(self, cluster: MemoryCluster, witness: WitnessId) -> None:
        self._cluster = cluster
        self._witness = witness

    @property
    def self_id(self) -> WitnessId:
        return self._witness

    def propose(self, data: bytes) -> None:
        self._cluster.propose(self._witness, data)

    def status(self) -> ConsensusStatus:
        return self._cluster.status(self._witness)


class MemoryCluster:
    def __init__(
        self,
        witness_ids: Iterable[WitnessId],
        rng: random.Random,
        timers: RaftTimers | None = None,
        *,
        tail_entries: int = 100,
    ) -> None:
        self._rng = rng
        self._timers = timers or RaftTimers()
        self._tail_entries = tail_entries
        self._now_ns = InstantNs(0)
        self._term = 0
        self._log: list[Appended] = []
        self._members = {witness: _Member(witness) for witness in sorted(witness_ids)}
        self._links = {frozenset((a, b)) for a in self._members for b in self._members if a != b}
        self._rounds: list[Round] = []
        self._stirred = True
        self.post = Post(rng, Delivery())

    # -- what the simulator calls ----------------------------------------------------------------------------

    def attach(self, witness: WitnessId, replicated: Replicated, feature_max: int = FEATURE_MAX) -> MemoryConsensus:
        """The node starts, from its last snapshot if it has one."""
        self._members[witness].feature_max = feature_max
        self.restart(witness, replicated)
        return MemoryConsensus(self, witness)

    def begin_from(self, index: int, image: bytes) -> None:
        """Before anybody is attached: every node has this snapshot and nothing else, as after a restore of all."""
        self._log = [Appended(0, None, self._now_ns)] * index
        for member in self._members.values():
            member.snapshot = (index, image)

    def set_links(self, pairs: Iterable[tuple[WitnessId, WitnessId]]) -> None:
        """From now on exactly these pairs reach each other; what is under way between others is lost."""
        self._links = {frozenset(pair) for pair in pairs}
        self._stirred = True

    def set_delivery(self, delivery: Delivery) -> None:
        self.post.delivery = delivery

    def crash(self, witness: WitnessId) -> None:
        """Power off: what was not committed and synced is gone, and so is the node's knowledge of the commit."""
        member = self._members[witness]
        member.replicated, member.status, member.paused = None, None, False
        member.queue.clear()
        self._rounds = [r for r in self._rounds if r.leader != witness or self._survives(r)]
        self._stirred = True

    def restart(self, witness: WitnessId, replicated: Replicated) -> None:
        member = self._members[witness]
        require(not member.alive, f"{witness} runs already")
        member.replicated = replicated
        member.role, member.leader = Role.FOLLOWER, None
        member.commit = member.applied = 0
        member.replay_until = len(self._log)
        if member.snapshot is not None:
            member.applied = member.commit = member.snapshot[0]
            replicated.restore(member.snapshot[1], LogIndex(member.applied))
        self._await_leader(member)
        self._stirred = True

    def pause(self, witness: WitnessId) -> None:
        """SIGSTOP: what is sent to it meanwhile is lost, which Raft repeats."""
        self._members[witness].paused = True
        self._stirred = True

    def resume(self, witness: WitnessId) -> None:
        self._members[witness].paused = False
        self._stirred = True

    def force_snapshot(self, witness: WitnessId) -> None:
        member = self._members[witness]
        if member.replicated is not None and member.applied > 0:
            member.snapshot = (member.applied, member.replicated.snapshot())

    def step(self, now_ns: InstantNs) -> None:
        """Performs everything due up to `now_ns`, each thing at its own instant, in order."""
        require(now_ns >= self._now_ns, "virtual time went backwards")
        while True:
            due_ns = self.next_event_ns()
            if due_ns > now_ns:
                break
            self._now_ns = InstantNs(max(self._now_ns, due_ns))
            self._stirred = False
            self._happen()
        self._now_ns = now_ns

    def next_event_ns(self) -> InstantNs:
        if self._stirred:
            return self._now_ns
        due = [r.due_ns for r in self._rounds]
        if self.post.pending:
            due.append(self.post.pending[0].due_ns)
        alive = [member for member in self._members.values() if member.alive and not member.paused]
        due += [m.heartbeat_ns if m.role is Role.LEADER else m.election_ns for m in alive]
        return InstantNs(max(self._now_ns, min(due))) if due else InstantNs(1 << 62)

    def committed(self) -> list[bytes]:
        """The whole committed stream, for checkers."""
        return [entry.data for entry in self._log if entry.data is not None]

    # -- the port --------------------------------------------------------------------------------------------

    def propose(self, witness: WitnessId, data: bytes) -> None:
        member = self._members[witness]
        if not member.alive:
            raise ProposalRefused("this witness is not running")
        if len(data) > ENTRY_BYTES_MAX:
            raise ProposalRefused(f"a proposal of {len(data)} bytes exceeds {ENTRY_BYTES_MAX}")
        if len(member.queue) >= PROPOSALS_QUEUED_MAX:
            raise ProposalRefused(f"{PROPOSALS_QUEUED_MAX} proposals wait already, most likely for a leader")
        member.queue.append(data)
        self._stirred = self._stirred or self._reaches_leader(member)

    def status(self, witness: WitnessId) -> ConsensusStatus:
        member = self._members[witness]
        recent_ns = self._timers.election_max_ms * NS_PER_MS
        since_ns = member.majority_ns if member.role is Role.LEADER else member.heard_ns
        led = member.leader is not None
        return ConsensusStatus(
            role=member.role,
            leader=member.leader,
            term=Term(member.term),
            commit_index=LogIndex(member.commit),
            applied_index=LogIndex(member.applied),
            has_quorum=led and self._now_ns - since_ns <= recent_ns,
            connected=frozenset(w for w in self._members if w != witness and self._linked(witness, w)),
            caught_up=led and member.applied == member.commit and member.commit >= member.replay_until,
            features=tuple((w, m.feature_max) for w, m in self._members.items() if self._linked(witness, w)),
        )

    # -- one instant -----------------------------------------------------------------------------------------

    def _happen(self) -> None:
        for letter in self.post.due(self._now_ns):
            self._receive(letter)
        finished = [r for r in self._rounds if r.due_ns <= self._now_ns]
        self._rounds = [r for r in self._rounds if r.due_ns > self._now_ns]
        for done in finished:
            self._finish_round(done)
        going = [member for member in self._members.values() if member.alive and not member.paused]
        for member in going:
            self._tend(member)
        for member in going:
            self._turn(member)

    def _tend(self, member: _Member) -> None:
        if member.role is Role.LEADER:
            if self._majority(member):
                member.majority_ns = self._now_ns
            elif self._now_ns - member.majority_ns > self._timers.leader_fallback_ms * NS_PER_MS:
                member.role, member.leader = Role.FOLLOWER, None
                self._await_leader(member)
            elif self._now_ns >= member.heartbeat_ns:
                self._notify(member)
            if member.role is Role.LEADER and self._now_ns >= member.heartbeat_ns:
                self._notify(member)
        elif self._now_ns >= member.election_ns:
            self._stand(member)
        self._forward(member)

    def _receive(self, letter: Pending) -> None:
        member = self._members[letter.to]
        if not member.alive or not self._linked(letter.sender, letter.to):
            return
        body = letter.body
        if isinstance(body, Proposal):
            if member.role is Role.LEADER:
                self._append(member, [body.data])
        elif body.term >= member.term:
            self._hear(member, letter.sender, body)

    def _hear(self, member: _Member, sender: WitnessId, notice: Notice) -> None:
        member.role, member.term, member.leader = Role.FOLLOWER, notice.term, sender
        member.heard_ns = self._now_ns
        self._await_leader(member)
        member.commit = max(member.commit, notice.commit)

    # -- leading ---------------------------------------------------------------------------------------------

    def _stand(self, member: _Member) -> None:
        """An election: won at once when a majority, reachable and without a leader of late, agrees."""
        self._await_leader(member)
        member.role, member.leader = Role.CANDIDATE, None
        sticky_ns = self._timers.election_min_ms * NS_PER_MS
        voters = [
            other
            for other in self._members.values()
            if other is member
            or (self._linked(member.witness, other.witness) and self._now_ns - other.heard_ns >= sticky_ns)
        ]
        voters = [other for other in voters if other is member or other.role is not Role.LEADER]
        if 2 * len(voters) <= len(self._members):
            return
        self._term = member.term = max(self._term, *(other.term for other in voters)) + 1
        for other in voters:
            other.term = self._term
            other.leader, other.heard_ns = None, self._now_ns
            self._await_leader(other)
        member.role, member.leader, member.majority_ns = Role.LEADER, member.witness, self._now_ns
        kept = [r for r in self._rounds if self._survives(r)]
        self._rounds = []
        for old in kept:
            self._log.extend(old.entries)
        self._append(member, [None])

    def _survives(self, old: Round) -> bool:
        """An entry that some follower has may outlive its leader, or not: nobody can know (D-18)."""
        return any(self._linked(old.leader, other) for other in self._members) and self._rng.random() < 0.5

    def _append(self, leader: _Member, data: Iterable[bytes | None]) -> None:
        entries = [Appended(leader.term, item, self._now_ns) for item in data]
        delay_ns = max(self.post.delay_ns(), self.post.delay_ns()) + self.post.delay_ns()
        alone = len(self._members) == 1
        due_ns = self._now_ns + (0 if alone else delay_ns)
        earlier_ns = [r.due_ns for r in self._rounds if r.leader == leader.witness]
        self._rounds.append(Round(leader.witness, leader.term, entries, max([due_ns, *earlier_ns])))
        self._stirred = self._stirred or alone

    def _finish_round(self, done: Round) -> None:
        leader = self._members[done.leader]
        leads = leader.alive and leader.role is Role.LEADER and leader.term == done.term == self._term
        if not leads:
            return
        if not self._majority(leader):
            again_ns = self._timers.append_period_ms * NS_PER_MS
            self._rounds.append(Round(done.leader, done.term, done.entries, self._now_ns + again_ns))
            return
        self._log.extend(done.entries)
        leader.commit = len(self._log)
        self._notify(leader)

    def _notify(self, leader: _Member) -> None:
        leader.heartbeat_ns = self._now_ns + self._timers.append_period_ms * NS_PER_MS
        for other in self._members:
            if other != leader.witness and self._linked(leader.witness, other):
                self.post.send(leader.witness, other, Notice(leader.term, leader.commit), self._now_ns)

    def _forward(self, member: _Member) -> None:
        if not self._reaches_leader(member) or member.leader is None:
            return
        waiting = [member.queue.popleft() for _ in range(len(member.queue))]
        if member.role is Role.LEADER:
            if waiting:
                self._append(member, waiting)
            return
        for data in waiting:
            self.post.send(member.witness, member.leader, Proposal(data), self._now_ns)

    # -- following -------------------------------------------------------------------------------------------

    def _turn(self, member: _Member) -> None:
        replicated = member.replicated
        if replicated is None:
            return
        worked = self._catch_up(member, replicated)
        status = self.status(member.witness)
        if member.status is None or not same_shape(member.status, status):
            member.status = status
            replicated.status_changed(status)
            worked = True
        if worked:
            replicated.turn_synced()

    def _catch_up(self, member: _Member, replicated: Replicated) -> bool:
        before = member.applied
        leader = self._members.get(member.leader) if member.leader is not None else None
        if leader is not None and leader.snapshot is not None:
            index, image = leader.snapshot
            if member.applied < index - self._tail_entries and index <= member.commit:
                try:
                    replicated.restore(image, LogIndex(index))
                except SnapshotRefused:
                    return False
                member.applied, member.snapshot = index, (index, image)
        while member.applied < member.commit:
            member.applied += 1
            entry = self._log[member.applied - 1]
            if entry.data is not None:
                age_ns = self._age_bound(member, entry)
                replicated.apply(CommittedEntry(LogIndex(member.applied), Term(entry.term), entry.data, age_ns))
        return member.applied > before

    def _age_bound(self, member: _Member, entry: Appended) -> DurationNs | None:
        age_ns = (self._now_ns - entry.appended_ns) * (100 + AGE_MARGIN_PERCENT) // 100
        if member.applied <= member.replay_until or age_ns > AGE_UNKNOWN_BEYOND_NS:
            return None
        return DurationNs(age_ns)

    # -- helpers ---------------------------------------------------------------------------------------------

    def _await_leader(self, member: _Member) -> None:
        span_ms = self._timers.election_max_ms - self._timers.election_min_ms
        wait_ms = self._timers.election_min_ms + span_ms * self._rng.random()
        member.election_ns = self._now_ns + round(wait_ms * NS_PER_MS)

    def _linked(self, a: WitnessId, b: WitnessId) -> bool:
        one, other = self._members[a], self._members[b]
        going = one.alive and other.alive and not one.paused and not other.paused
        return going and frozenset((a, b)) in self._links

    def _majority(self, member: _Member) -> bool:
        reach = sum(1 for other in self._members if self._linked(member.witness, other))
        return 2 * (reach + 1) > len(self._members)

    def _reaches_leader(self, member: _Member) -> bool:
        leader = member.leader
        return leader is not None and (leader == member.witness or self._linked(member.witness, leader))
