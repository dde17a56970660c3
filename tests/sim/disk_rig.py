"""A store's life as a script of turns, and what may be seen of it after it was cut short at any operation.

Rule to check: after a crash the store is exactly as after the last acknowledged turn, or as after the one that was
in flight, whole; the snapshot beside it may be one step ahead of the store (D-2) and never behind.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.messages import NUMBER_MAX
from witness.raft.snapshot_file import Snapshot, encode_snapshot
from witness.raft.store import RaftState, Store, create_store, open_store
from witness.sim.disk import SimDisk

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")


@cache
def _blank() -> SimDisk:
    disk = SimDisk(random.Random(0))
    create_store(disk, CLUSTER, ME)
    return disk


def blank(seed: int) -> SimDisk:
    return _blank().clone(random.Random(seed), f"seed {seed}")


@dataclass(frozen=True)
class Seen:
    state: RaftState
    log: tuple[tuple[bytes, int, int], ...]
    marks: tuple[tuple[str, bytes], ...]
    events: tuple[tuple[int, bytes], ...]
    snapshot: int


class Life:
    """One process on a disk."""

    def __init__(self, disk: SimDisk) -> None:
        self.store: Store = open_store(disk, CLUSTER, ME)
        self.journal = Journal(self.store, tail_entries=3)

    def append(self, count: int, term: int, size: int = 40) -> None:
        if term > self.journal.getCurrentTerm():
            self.journal.setCurrentTerm(term, "w1")
        last = self.journal[-1][1] if len(self.journal) else 0
        for index in range(last + 1, last + 1 + count):
            self.journal.add(b"\0" + f"{index}/{term}".encode().ljust(size, b"."), index, term)

    def entry(self, index: int) -> tuple[bytes, int, int]:
        return self.journal[index - self.journal[0][1]]

    def snapshot_at(self, index: int) -> None:
        self.store.save_snapshot(encode_snapshot(Snapshot(self.entry(index - 1), self.entry(index), b"image"), CLUSTER))

    def seen(self) -> Seen:
        snapshot = self.store.read_snapshot()
        return Seen(
            self.store.read_state(),
            tuple(self.store.read_entries()),
            tuple(sorted(self.store.marks().items())),
            tuple(self.store.read_events(1, 1_000)),
            snapshot.last_index if snapshot else 0,
        )


def _fold(life: Life) -> None:
    life.snapshot_at(20)
    life.journal.deleteEntriesTo(20 - life.journal[0][1])


def _conflict(life: Life) -> None:
    for index in range(6, 9):
        life.journal.add(b"\0other%d" % index, index, 2)


def _install(life: Life) -> None:
    previous, last = (b"\0p", 59, 3), (b"\0l", 60, 3)
    life.store.save_snapshot(encode_snapshot(Snapshot(previous, last, b"installed"), CLUSTER))
    life.journal.setCurrentTerm(3, None)
    life.journal.rebase(previous, last)


def _chores(life: Life) -> None:
    life.store.put_meta("peer-disk/w2", bytes(range(16)))
    life.store.append_events([(life.store.last_event_seq + n, b"event" * 30) for n in (1, 2, 3)])


SCRIPT: tuple[Callable[[Life], None], ...] = (
    lambda life: life.append(3, 1),
    lambda life: life.append(5, 1),
    _chores,
    lambda life: life.journal.setCurrentTerm(2, "w3"),
    _conflict,
    lambda life: life.append(20, 2, size=200),
    _fold,
    lambda life: life.append(4, 2),
    _install,
    lambda life: life.append(2, 3),
    _chores,
    *(lambda life: life.append(1, 3),) * 12,
    lambda life: life.journal.setCurrentTerm(NUMBER_MAX, None),
)


class Progress:
    """How far a life got; `turns` were acknowledged."""

    def __init__(self) -> None:
        self.turns = 0


def live(disk: SimDisk, progress: Progress, script: tuple[Callable[[Life], None], ...] = SCRIPT) -> None:
    """The rest of the script, from the turn that the store's owner was told of."""
    life = Life(disk)
    for turn in script[progress.turns :]:
        turn(life)
        life.journal.commit()
        progress.turns += 1
    life.store.close()


@cache
def history() -> tuple[Seen, ...]:
    """What is seen after no turn, after one, after two, ..."""
    disk = blank(0)
    life = Life(disk)
    seen = [life.seen()]
    for turn in SCRIPT:
        turn(life)
        life.journal.commit()
        seen.append(life.seen())
    life.store.close()
    return tuple(seen)


def check(disk: SimDisk, turns: int) -> int:
    """Opens what is left after `turns` acknowledged ones; returns how many it holds."""
    life = Life(disk)
    seen, before = life.seen(), history()[turns]
    after = history()[min(turns + 1, len(SCRIPT))]
    life.store.close()
    store_of = [(one.state, one.log, one.marks, one.events) for one in (before, after)]
    mine = (seen.state, seen.log, seen.marks, seen.events)
    assert mine in store_of, f"after {turns} turns"
    held = turns + store_of.index(mine)
    assert seen.snapshot == after.snapshot or (seen.snapshot == before.snapshot and mine == store_of[0])
    return held
