"""The store on a failing disk: what was acknowledged is there, a turn is there whole or not at all, or it is loud."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
from disk_rig import CLUSTER, ME, SCRIPT, Life, Progress, blank, check, history, live

from proto.errors import DurabilityLost
from proto.units import NS_PER_MS, NS_PER_S, InstantNs
from witness.raft.port import SnapshotRefused
from witness.raft.space import LOOK_EVERY_NS, SpaceLimits, Verdict
from witness.raft.store import (
    NOTE_NAME,
    SNAPSHOT_NAME,
    STORE_NAME,
    WAL_NAME,
    StoreRefused,
    create_store,
    move_aside,
    open_store,
)
from witness.sim.disk import CrashPoint, SimDisk

LOUD = (DurabilityLost, StoreRefused, SnapshotRefused)
FOLD, INSTALL = 6, 8
"""Turns of the script that write a snapshot."""


def grown(turns: int, seed: int = 1) -> SimDisk:
    """A disk after so many turns whose process was killed."""
    disk, progress = blank(seed), Progress()
    with pytest.raises(StopIteration):
        live(disk, progress, (*SCRIPT[:turns], _stop))
    disk.kill()
    return disk


def _stop(_life: Life) -> None:
    raise StopIteration


def struck(seed: int, arm: Callable[[SimDisk], None]) -> tuple[SimDisk, Progress, BaseException | None]:
    """A life with an armed fault, until that ends it."""
    disk, progress = blank(seed), Progress()
    arm(disk)
    try:
        live(disk, progress)
    except (CrashPoint, *LOUD) as end:
        return disk, progress, end
    return disk, progress, None


def every(arm: Callable[[SimDisk, int], None], seeds: int = 1) -> Counter[str]:
    """The fault at the first chance, the second, ... until it strikes no more; the store is checked after each."""
    hits = Counter[str]()
    for seed in range(seeds):
        count = 0
        while True:
            count += 1
            disk, progress, end = struck(1_000 * seed + count, lambda disk, count=count: arm(disk, count))
            hits += disk.faults.hits
            disk.faults.calm()
            if not disk.faults.hits:
                break
            hits[f"ended by {type(end).__name__}"] += 1
            if end is not None and not isinstance(end, CrashPoint):
                disk.kill()
            progress.turns = check(disk, progress.turns)
            if seed % 2:
                disk.power_loss()
            live(disk, progress)  # it goes on from there, and another power loss finds all of it
            disk.power_loss()
            assert check(disk, len(SCRIPT)) == len(SCRIPT)
    return hits


def test_a_power_loss_at_any_operation() -> None:
    """P1, P9, P10, D4, D5, D11: torn, lost and late pages and names, in the log, the database and the snapshot."""
    hits = every(lambda disk, count: disk.faults.crash_in(count), seeds=3)
    assert hits["crash point"] > 600
    assert min(hits["lost writes"], hits["torn write"], hits["lost name"]) > 20


def test_a_power_loss_while_recovering_from_one() -> None:
    """P1, P2, D5: also the second and third time."""
    crashes = Counter[int]()
    for seed in range(150):
        rng, progress = random.Random(seed), Progress()
        disk = blank(seed)
        for blow in range(4):
            disk.faults.crash_in(rng.randint(1, 90 if blow == 0 else 25))
            try:
                live(disk, progress)
            except CrashPoint:
                crashes[blow] += 1
            disk.faults.calm()
            progress.turns = check(disk, progress.turns)
    assert min(crashes.values()) > 50
    assert len(crashes) == 4


def test_a_full_disk() -> None:
    """D1: on the log, the database and the snapshot; the process ends, and goes on when there is room again."""
    hits = every(lambda disk, count: disk.faults.limit(disk.used_bytes() + 700 * (count - 1)))
    assert hits["no space"] > 40
    assert hits["ended by DurabilityLost"] > 40


@pytest.mark.parametrize("kind", ["read", "write", "resize", "create", "rename", "names"])
def test_an_operation_that_fails_once(kind: str) -> None:
    """D2: EIO on each of them in turn."""
    hits = every(lambda disk, count: disk.faults.fail(kind, skip=count - 1))
    assert hits[f"{kind} error"] > 0


def test_a_sync_that_fails_once() -> None:
    """D3: the pages are dropped and the next sync succeeds; nothing was acknowledged, the process ended."""
    hits = every(lambda disk, count: disk.faults.fail("sync", skip=count - 1), seeds=6)
    ended = hits["ended by DurabilityLost"] + hits["ended by StoreRefused"]
    assert hits["sync error"] == ended + hits["ended by NoneType"]  # the last few struck in a clean stop
    assert ended > 150


@pytest.mark.parametrize(("turns", "over_old"), [(3, False), (7, True), (9, True)])
def test_a_record_torn_at_any_byte(turns: int, over_old: bool) -> None:
    """D4: the last transaction, cut anywhere, behind others or where the log begins anew: gone, or there, whole."""
    disk = blank(1)
    life = Life(disk)
    for turn in SCRIPT[:turns]:
        turn(life)
        life.journal.commit()
    before = disk.clone(random.Random(1))
    SCRIPT[turns](life)
    life.journal.commit()
    after = disk.clone(random.Random(1))
    old, new = before.content(WAL_NAME), after.content(WAL_NAME)
    assert over_old is (len(old) >= len(new))
    old = old.ljust(len(new), b"\0") if over_old else old
    start = next(at for at in range(len(new)) if old[at : at + 1] != new[at : at + 1])
    end = len(new) if len(old) < len(new) else max(at for at in range(len(new)) if old[at] != new[at]) + 1
    assert end - start > 1_000
    for cut in range(start, end):
        disk = after.clone(random.Random(1))
        disk.put(WAL_NAME, new[:cut] + old[cut:])
        disk.put(NOTE_NAME, before.content(NOTE_NAME))
        assert check(disk, turns) == turns, cut
    assert check(after, turns) == turns + 1


def test_files_of_different_times() -> None:
    """D7: the store, its log and its snapshot, each of any time: refused, or exactly as at one of these times."""
    times = [grown(turns) for turns in (3, 5, 6, 7, 8, 10, 14, 20)]
    outcomes = Counter[str]()
    for one in times:
        for two in times:
            for three in (one, two):
                disk = one.clone(random.Random(1))
                disk.put(WAL_NAME, two.content(WAL_NAME))
                for name in (SNAPSHOT_NAME, NOTE_NAME):
                    if three.exists(name):
                        disk.put(name, three.content(name))
                    elif disk.exists(name):
                        disk.lose(name)
                outcomes[_outcome(disk)] += 1
    assert outcomes["refused"] > outcomes["of one time"] >= len(times)
    assert set(outcomes) == {"refused", "of one time"}


def _outcome(disk: SimDisk) -> str:
    try:
        life = Life(disk)
        seen = life.seen()
    except LOUD:
        return "refused"
    if seen.snapshot and (not seen.log or seen.snapshot < seen.log[0][1]):
        return "refused"  # by the node: the log begins after the snapshot ends
    stores = [(one.state, one.log, one.marks, one.events) for one in history()]
    assert (seen.state, seen.log, seen.marks, seen.events) in stores
    return "of one time"


def test_a_snapshot_beside_an_older_store_is_refused() -> None:
    """D7, O5: the store was copied back, the snapshot was not."""
    old, new = grown(4), grown(7)
    old.put(SNAPSHOT_NAME, new.content(SNAPSHOT_NAME))
    with pytest.raises(SnapshotRefused, match=r"beside turn 6 .* ends at turn 4: the store is of an earlier time"):
        Life(old).seen()


def test_a_snapshot_of_another_disk_is_refused() -> None:
    """D7, O4."""
    disk, other = grown(7), SimDisk(random.Random(9))
    create_store(other, CLUSTER, ME)
    live(other, Progress())
    disk.put(SNAPSHOT_NAME, other.content(SNAPSHOT_NAME))
    with pytest.raises(SnapshotRefused, match="written on another disk"):
        Life(disk).seen()


@pytest.mark.parametrize("name", [STORE_NAME, SNAPSHOT_NAME])
def test_a_file_that_is_empty(name: str) -> None:
    """D8: refused, never taken for a fresh one."""
    disk = grown(10)
    disk.put(name, b"")
    with pytest.raises(LOUD):
        Life(disk).seen()


def test_a_log_or_a_note_that_is_empty_or_missing() -> None:
    """D8: without its log the store is of an earlier turn than was noted; without its note it is as it is."""
    for damage in (lambda disk, name: disk.put(name, b""), SimDisk.lose):
        disk = grown(10)
        damage(disk, WAL_NAME)
        with pytest.raises(StoreRefused, match=r"turn 10 was on the disk, the last one found is \d"):
            Life(disk)
        disk = grown(10)
        damage(disk, NOTE_NAME)
        assert check(disk, 10) == 10


def test_a_store_that_is_missing() -> None:
    """D8, O6."""
    disk = grown(10)
    disk.lose(STORE_NAME)
    with pytest.raises(StoreRefused, match="is missing"):
        Life(disk)


def test_a_slow_disk_is_seen_by_its_owner() -> None:
    """D9: five seconds a sync pass on the owner's clock, within the turn, before anything is acknowledged."""
    disk, clock_ns = blank(1), 0

    def spend(kind: str, _name: str) -> None:
        nonlocal clock_ns
        clock_ns += 5 * NS_PER_S if kind == "sync" else NS_PER_MS

    life = Life(disk)
    disk.faults.slow(spend)
    life.append(1, 1)
    life.journal.commit()
    assert clock_ns >= 5 * NS_PER_S
    assert disk.faults.hits["slow operation"] > 3


def test_a_disk_that_becomes_read_only() -> None:
    """D10: the running process ends, the next one refuses to start, and all is there when it is writable again."""
    disk = blank(1)
    life = Life(disk)
    life.append(1, 1)
    life.journal.commit()
    disk.faults.freeze()
    life.append(1, 1)
    with pytest.raises(DurabilityLost, match="Read-only"):
        life.journal.commit()
    disk.kill()
    with pytest.raises(StoreRefused, match="read-only or not mounted"):
        Life(disk)
    disk.faults.calm()
    assert len(Life(disk).journal) == 1


def test_a_store_is_made_whole_or_not_at_all() -> None:
    """D11, P1: a crash at any operation of the making; the command is run again."""
    for count in range(1, 200):
        disk = SimDisk(random.Random(count))
        disk.faults.crash_in(count)
        try:
            create_store(disk, CLUSTER, ME)
        except CrashPoint:
            if not disk.exists(STORE_NAME):
                create_store(disk, CLUSTER, ME)
            open_store(disk, CLUSTER, ME).close()
            continue
        assert count > 20
        return
    pytest.fail("the making of a store has no end")


def test_a_store_goes_aside_whole_in_the_end() -> None:
    """D11, P1: a crash at any operation of the moving; after another call all of it lies aside."""
    origin = grown(7)
    names = {STORE_NAME, WAL_NAME, SNAPSHOT_NAME, NOTE_NAME}
    for count in range(1, 50):
        disk = origin.clone(random.Random(count))
        disk.faults.crash_in(count)
        try:
            move_aside(disk)
        except CrashPoint:
            if disk.exists(STORE_NAME):
                assert check(disk, 7) == 7
            else:
                with pytest.raises(StoreRefused, match="is missing"):
                    Life(disk)
            move_aside(disk)
        else:
            assert count > 4
            return
        assert not any(disk.exists(name) for name in names)
        create_store(disk, CLUSTER, ME, learner=True)
        assert Life(disk).store.get_meta("standing") == b"learner"
    pytest.fail("the moving of a store has no end")


# -- room ----------------------------------------------------------------------------------------------------


def test_the_room_is_said_in_three_words_and_asked_for_once_a_second() -> None:
    """D1."""
    disk = blank(1)
    store = open_store(disk, CLUSTER, ME, SpaceLimits(low_bytes=100_000, critical_bytes=20_000))
    store.save_snapshot(bytes(30_000))
    now_ns = 0

    def verdict(free_bytes: int, step_ns: int = LOOK_EVERY_NS) -> Verdict:
        nonlocal now_ns
        now_ns += step_ns
        disk.faults.limit(disk.used_bytes() + free_bytes)
        return store.space(InstantNs(now_ns)).verdict

    assert verdict(100_000) is Verdict.OK
    assert verdict(1, step_ns=LOOK_EVERY_NS - 1) is Verdict.OK
    assert verdict(99_999) is Verdict.LOW
    assert verdict(124_999) is Verdict.LOW  # a quarter more to come back
    assert verdict(125_000) is Verdict.OK
    assert verdict(19_999) is Verdict.CRITICAL
    assert store.space(InstantNs(now_ns)).free_bytes == 19_999
    assert verdict(99_999) is Verdict.LOW
    store.save_snapshot(bytes(60_000))
    assert verdict(139_999 + 139_999 // 4) is Verdict.LOW  # room for two more snapshots belongs to it
    store.close()
