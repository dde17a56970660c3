"""The journal against a plain list: what an engine may do to it, in any order, with crashes between and within turns.

The rules are the remedies of the findings D-2, D-3, D-5 to D-8, D-10 and D-32: whatever was committed in a turn is
there after any crash, and nothing else is; duplicates and late repetitions change nothing; only a conflict of terms
truncates, never at or below the commit index; a snapshot replaces the log only when the log does not contain its end.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from disk_rig import CLUSTER, ME, blank

from proto.invariants import InvariantViolation
from witness.raft.journal import Journal
from witness.raft.snapshot_file import Snapshot, encode_snapshot
from witness.raft.store import Entry, open_store
from witness.sim.disk import CrashPoint

TAIL = 2
STEPS = 60


@dataclass
class Model:
    """What the journal must hold."""

    term: int = 0
    vote: str | None = None
    log: list[Entry] = field(default_factory=list)
    committed: int = 1
    snapshot: tuple[Entry, Entry] | None = None

    def copy(self) -> Model:
        return replace(self, log=list(self.log))

    def seen(self) -> tuple[int, str | None, list[Entry]]:
        return self.term, self.vote, self.log


class Run:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = blank(seed)
        self.hits = Counter[str]()
        self.model = Model()
        self.open()
        self.add((b"\0first", 1, 0))
        self.commit()

    def open(self) -> None:
        self.store = open_store(self.disk, CLUSTER, ME)
        self.journal = Journal(self.store, tail_entries=TAIL)
        self.durable = self.model.copy()

    # -- what an engine does ---------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        self.journal.add(*entry)
        at = entry[1] - self.model.log[0][1] if self.model.log else 0
        if self.model.log[at : at + 1] != [entry]:
            self.model.log[at:] = [entry]

    def lead(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            self.add((self.command(), self.model.log[-1][1] + 1, self.model.term))

    def follow(self) -> None:
        """Appends of a newer leader from somewhere above the commit index: truncates what it contradicts (D-3)."""
        start = self.rng.randint(self.floor() + 1, self.model.log[-1][1] + 1)
        self.elect()
        for index in range(start, start + self.rng.randint(1, 4)):
            self.add((self.command(), index, self.model.term))
        self.hits["conflict"] += 1

    def repeat(self) -> None:
        """A late or duplicated append, with the truncation that the library asks for each time (D-3, D-32)."""
        start = self.rng.randrange(len(self.model.log))
        self.journal.deleteEntriesFrom(start)
        for entry in self.model.log[start : start + 5]:
            self.add(entry)
        self.hits["repeated"] += 1

    def elect(self) -> None:
        self.model.term += self.rng.randint(1, 2)
        self.model.vote = self.rng.choice((None, "w1", "w2"))
        self.journal.setCurrentTerm(self.model.term, self.model.vote)

    def agree(self) -> None:
        self.model.committed = self.rng.randint(self.floor(), self.model.log[-1][1])
        self.journal.setRaftCommitIndex(self.model.committed)

    def fold(self) -> None:
        """The snapshot first, durable; then the log it covers may go (D-2, D-8)."""
        index = self.model.committed
        at = index - self.model.log[0][1]
        if at < 1:
            return
        self.save(self.model.log[at - 1], self.model.log[at])
        drop = max(0, at - 1 - TAIL)
        self.journal.deleteEntriesTo(at - 1)
        del self.model.log[:drop]
        self.hits["folded"] += 1

    def install(self) -> None:
        """A leader's snapshot: older than the log, within it, or beyond it (D-2, D-10)."""
        last_index = max(2, self.model.log[-1][1] + self.rng.randint(-4, 6))
        if last_index <= self.model.committed:
            return
        self.elect()
        ends = ((self.command(), last_index - 1, self.model.term), (self.command(), last_index, self.model.term))
        if self.rng.random() < 0.5 and last_index < self.model.log[-1][1] and self.model.log[0][1] < last_index:
            at = last_index - self.model.log[0][1]
            ends = (self.model.log[at - 1], self.model.log[at])
            self.hits["installed within"] += 1
        else:
            self.model.log = list(ends)
            self.hits["installed beyond"] += 1
        self.save(*ends)
        self.journal.rebase(*ends)
        self.model.committed = max(self.model.committed, last_index)
        self.journal.setRaftCommitIndex(self.model.committed)

    # -- turns and crashes -----------------------------------------------------------------------------------

    def commit(self) -> None:
        self.journal.commit()
        self.durable = self.model.copy()

    def crash(self) -> None:
        """Between turns: what was not committed is gone, but a snapshot was durable at once."""
        self.rng.choice((self.disk.power_loss, self.disk.kill))()
        self.recover(self.durable)

    def recover(self, *candidates: Model) -> None:
        self.store = open_store(self.disk, CLUSTER, ME)
        self.journal = Journal(self.store, tail_entries=TAIL)
        found = (self.journal.getCurrentTerm(), self.journal.getVotedForNodeId(), self.store.read_entries())
        self.durable = next(one for one in candidates if one.seen() == found)
        snapshot = self.store.read_snapshot()
        self.model = self.durable.copy()
        self.model.committed = self.journal.getRaftCommitIndex()
        assert self.model.committed == 1  # D-5: what a majority holds is found anew
        if snapshot is not None:
            assert self.journal[0][1] <= snapshot.last_index
            self.adopt(snapshot)

    def adopt(self, snapshot: Snapshot) -> None:
        """As a start does it."""
        if snapshot.last[2] > self.model.term:
            self.model.term, self.model.vote = snapshot.last[2], None
            self.journal.setCurrentTerm(snapshot.last[2], None)
        self.journal.rebase(snapshot.previous, snapshot.last)
        inside = [entry for entry in self.model.log if entry == snapshot.last]
        if not inside or self.model.log[0][1] >= snapshot.last_index:
            self.model.log = [snapshot.previous, snapshot.last]
        self.model.committed = snapshot.last_index
        self.journal.setRaftCommitIndex(snapshot.last_index)

    def turn(self) -> None:
        """A few operations and the commit; a crash may fall on any operation of the disk in it."""
        if self.rng.random() < 0.3:
            self.disk.faults.crash_in(self.rng.randint(1, 12))
        try:
            for _ in range(self.rng.randint(1, 3)):
                self.rng.choice(
                    (self.lead, self.lead, self.follow, self.repeat, self.elect, self.agree, self.fold, self.install)
                )()
            self.commit()
        except CrashPoint:
            self.hits["crashed"] += 1
            self.recover(self.durable, self.model)
        self.disk.faults.calm()

    def check(self) -> None:
        entries = [self.journal[at] for at in range(len(self.journal))]
        assert (self.journal.getCurrentTerm(), self.journal.getVotedForNodeId(), entries) == self.model.seen()
        assert self.journal.log_bytes == sum(len(entry[0]) for entry in entries)

    # -- inside ----------------------------------------------------------------------------------------------

    def command(self) -> bytes:
        return b"\0" + self.rng.randbytes(self.rng.choice((3, 30, 300)))

    def floor(self) -> int:
        return max(self.model.committed, self.model.log[0][1])

    def save(self, previous: Entry, last: Entry) -> None:
        self.store.save_snapshot(encode_snapshot(Snapshot(previous, last, b"image"), CLUSTER))


def test_what_a_turn_committed_is_there_after_any_crash_and_nothing_else() -> None:
    """D-2, D-3, D-5, D-6, D-7, D-8, D-10, D-32; P9, P10."""
    hits = Counter[str]()
    for seed in range(120):
        run = Run(seed)
        for _ in range(STEPS):
            if run.rng.random() < 0.1:
                run.crash()
            else:
                run.turn()
            run.check()
        hits += run.hits + run.disk.faults.hits
    assert min(hits[name] for name in ("conflict", "repeated", "folded", "installed within", "installed beyond")) > 100
    assert min(hits["crashed"], hits["power loss"], hits["kill"], hits["torn write"], hits["lost name"]) > 50


def test_a_committed_entry_is_neither_truncated_nor_replaced() -> None:
    """D-3."""
    run = Run(1)
    run.lead()
    run.model.committed = run.model.log[-1][1]
    run.agree()
    run.elect()
    committed = run.model.committed
    with pytest.raises(InvariantViolation, match=f"committed entry {committed} would be replaced"):
        run.journal.add(b"\0other", committed, run.model.term)
