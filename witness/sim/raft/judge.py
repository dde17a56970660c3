"""Everything that is told by hosts and replicas of one schedule, handed to the checkers that it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proto.units import NS_PER_MS
from witness.raft.port import CommittedEntry, ConsensusStatus, Role
from witness.raft.snapshot_transfer import RESTART_LONGEST_NS
from witness.sim.clock import Events
from witness.sim.raft.checkers import (
    AgeChecker,
    Findings,
    KeepsTermChecker,
    LeaderChecker,
    LogChecker,
    StandingChecker,
    SyncChecker,
    VoteChecker,
    WorkChecker,
)
from witness.sim.raft.faults import STALE_KINDS
from witness.sim.raft.setup import Setup
from witness.sim.raft.subject import Member, Outbox, View

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.raft.replica import Replica

CHUNKS_APART = 64
IMAGE_HEADER_BYTES = 500


class Judge:
    def __init__(self, setup: Setup, events: Events) -> None:
        self.findings = Findings(lambda: events.now_ns)
        self._setup = setup
        self._now = lambda: events.now_ns
        self._ages_hold = "old-bytes" not in setup.kinds
        """Stamps of an earlier boot of a machine come back with old frames: the connections forbid it, not Raft."""
        self.begin()

    def begin(self) -> None:
        """Nothing was heard of this cluster yet; also when all its witnesses begin anew, restored from a backup."""
        found = self.findings.found
        self.log = LogChecker(found)
        self.leaders = LeaderChecker(found, self.log)
        self.votes = VoteChecker(found)
        self.sync = SyncChecker(found)
        self.standing = StandingChecker(found)
        self.learners: set[str] = set()
        """Readmitted witnesses that may not vote yet, as far as is known."""
        self.ages = AgeChecker(found, self._now)
        self.work = WorkChecker(found)
        hears_ns = self._setup.timers.election_min_ms * NS_PER_MS
        self.keeps = KeepsTermChecker(found, self._now, len(self._setup.witnesses), hears_ns)
        if STALE_KINDS & set(self._setup.kinds):
            self.log.allow_twice()

    # -- what a host tells -----------------------------------------------------------------------------------

    def sent_early(self, host: Host, outbox: Outbox, now_ns: int) -> None:
        """Appends alone, of a term and a vote that are on disk."""
        if host.member is not None:
            self.sync.sent_early(str(host.witness), list(outbox.items()))
            self._sent(host, host.member, outbox, now_ns)

    def turned(self, host: Host, outbox: Outbox, began_ns: int) -> None:
        member = host.member
        if outbox and member is not None:
            self.sync.sent(str(host.witness), list(outbox.items()), host.drive.unsynced())
            self._sent(host, member, outbox, began_ns)

    def _sent(self, host: Host, member: Member, outbox: Outbox, began_ns: int) -> None:
        who, sent = str(host.witness), list(outbox.items())
        self.votes.sent(who, sent)
        if who in self.learners:
            if member.view().votes:
                self.learners.discard(who)
            else:
                self.standing.sent(who, sent)
        count = 0
        for _, messages in sent:
            count += len(messages)
            if messages[0]["type"] == "append_entries":
                self._leads(host, messages[0]["term"])
        self.ages.sent(sent, began_ns)
        if count > WorkChecker.MESSAGES_FEW:
            self.work.sent(who, count, self._messages_allowed(member.view()))
        tuning = self._setup.tuning
        one_more = tuning.batch_bytes + self._setup.entry_bytes + tuning.chunk_bytes
        self.work.payload(who, sent, tuning.queue_bytes + one_more)
        self.work.most = max(self.work.most, count)

    def _leads(self, host: Host, term: int) -> None:
        if self.leaders.leads(str(host.witness), term) and host.member is not None:
            said = host.member.view()
            if said.leads and said.term == term:
                self.leaders.complete(str(host.witness), term, said.last_index)

    def _messages_allowed(self, view: View) -> int:
        """Answers to what came in one turn; for each peer the whole log, or an image, in the smallest pieces."""
        tuning = self._setup.tuning
        entries = view.last_index // tuning.entries_per_message
        entries += view.last_index * self._setup.entry_bytes // tuning.batch_bytes
        chunks = (self._setup.ballast_bytes + 2 * self._setup.entry_bytes + IMAGE_HEADER_BYTES) // tuning.chunk_bytes
        return 512 + len(self._setup.witnesses) * (entries + chunks + CHUNKS_APART)

    def started(self, host: Host) -> None:
        if host.member is not None:
            self.votes.starts(str(host.witness), host.member.view().term)

    # -- what a replica tells --------------------------------------------------------------------------------

    def applied(self, host: Host, replica: Replica, entry: CommittedEntry, before: int) -> None:
        who = str(replica.witness)
        if int(entry.index) > self.log.highest and host.member is not None:
            self.log.committed(int(entry.index), host.member.view().term)
        self.log.applied(who, int(entry.index), entry.data, before, replica.digest)
        if self._ages_hold:
            self.ages.applied(who, int(entry.index), int(entry.term), entry.age_bound_ns, host.clock.rate_ppm)

    def restored(self, replica: Replica) -> None:
        self.log.restored(str(replica.witness), replica.index, replica.digest)

    def status(self, host: Host, status: ConsensusStatus) -> None:
        if status.role is Role.LEADER:
            self._leads(host, int(status.term))

    def found(self, kind: str, text: str) -> None:
        self.findings.found(kind, text)


def liveness_bound_ns(setup: Setup, connected_ns: int, slow_ns: int) -> int:
    """Within this, all healed, one leader leads and all have caught up.

    Frames still under way (`slow_ns`) and dead connections must go and new ones come (`connected_ns`), a leader
    without a majority must give up, then elections: each fails by a split at odds below one half as long as the spread
    of the timeouts is several round trips, so that 24 in a row fail once in sixteen millions. An image may have to be
    sent twice, with the longest wait between two attempts (witness.raft.snapshot_transfer).
    """
    timers = setup.timers
    elections_ms = 24 * timers.election_max_ms
    images_ns = RESTART_LONGEST_NS + 3_000 * NS_PER_MS
    return slow_ns + connected_ns + (timers.leader_fallback_ms + elections_ms) * NS_PER_MS + images_ns
