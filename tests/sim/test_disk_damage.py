"""D6: one bit of what lies on the disk is another. It is refused, or it changed nothing; never is it believed.

Refused may also mean later: a ledger row proves itself when it is read. After a start that found nothing wrong the
store works on, and another start must find all of that work, or refuse.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from disk_rig import SCRIPT, Life, Progress, Seen, blank, live

from proto.errors import DurabilityLost
from witness.raft.port import SnapshotRefused
from witness.raft.store import NOTE_NAME, SNAPSHOT_NAME, STORE_NAME, WAL_NAME, StoreRefused
from witness.sim.disk import SimDisk

LOUD = (DurabilityLost, StoreRefused, SnapshotRefused)
MORE = 12


def work_on(life: Life) -> None:
    for _ in range(MORE):
        life.append(2, 4, size=100)
        life.store.append_events([(life.store.last_event_seq + 1, b"later" * 9)])
        life.store.put_meta("mark", life.entry(life.journal[-1][1])[0])
        life.journal.commit()


def outcome(origin: SimDisk, seen: Seen, later: Seen, where: tuple[str, int, int]) -> str:
    disk = origin.clone(random.Random(1))
    disk.flip_bit(*where)
    try:
        life = Life(disk)
        assert life.seen() == seen, where
        work_on(life)
        life.store.close()
        assert Life(disk).seen() == later, where
    except LOUD:
        return "refused"
    return "harmless"


def seen_and_later(origin: SimDisk) -> tuple[Seen, Seen]:
    disk = origin.clone(random.Random(1))
    life = Life(disk)
    seen = life.seen()
    work_on(life)
    life.store.close()
    return seen, Life(disk).seen()


def stopped(turns: int, *, clean: bool) -> SimDisk:
    disk = blank(1)

    def end(_life: Life) -> None:
        raise StopIteration

    if clean:
        live(disk, Progress(), SCRIPT[:turns])
    else:
        with pytest.raises(StopIteration):
            live(disk, Progress(), (*SCRIPT[:turns], end))
        disk.kill()
    return disk


def flips(disk: SimDisk, name: str, step: int) -> list[tuple[str, int, int]]:
    rng = random.Random(name)
    return [(name, at, rng.randrange(8)) for at in range(0, disk.size(name), step)]


@pytest.mark.parametrize(
    ("turns", "clean", "name", "step", "refused_share"),
    [
        (11, True, STORE_NAME, 7, 0.1),
        (6, False, WAL_NAME, 5, 0.2),
        (11, False, WAL_NAME, 5, 0.2),
        (11, True, SNAPSHOT_NAME, 1, 1.0),
        (11, True, NOTE_NAME, 1, 0.0),
    ],
)
def test_a_flipped_bit_is_refused_or_harmless(
    turns: int, clean: bool, name: str, step: int, refused_share: float
) -> None:
    disk = stopped(turns, clean=clean)
    seen, later = seen_and_later(disk)
    outcomes = Counter(outcome(disk, seen, later, where) for where in flips(disk, name, step))
    assert outcomes["refused"] >= refused_share * outcomes.total()
    assert outcomes.total() >= disk.size(name) // step
