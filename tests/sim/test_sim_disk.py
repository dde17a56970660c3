"""The simulated disk: what was synced outlives everything, what was not may be lost, kept or torn, and faults count."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter

import pytest

from proto.errors import DurabilityLost
from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.store import WAL_NAME, Store, StoreRefused, create_store, open_store
from witness.sim.disk import CrashPoint, SimDisk
from witness.sim.disk.volume import SECTOR_BYTES, SimFile, Volume

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")
BLANK = SimDisk(random.Random(0))
create_store(BLANK, CLUSTER, ME)


def disk_of(seed: int) -> SimDisk:
    return BLANK.clone(random.Random(seed))


def opened(disk: SimDisk) -> tuple[Store, Journal]:
    store = open_store(disk, CLUSTER, ME)
    return store, Journal(store, tail_entries=0)


def commit(journal: Journal, index: int) -> None:
    journal.add(b"\0%d" % index, index, 1)
    journal.setCurrentTerm(1, "w1")
    journal.commit()


# -- files and names -----------------------------------------------------------------------------------------


def test_what_was_synced_outlives_a_power_loss_and_what_was_not_takes_every_shape() -> None:
    synced, seen, hits = bytes(2 * SECTOR_BYTES), set(), Counter[str]()
    for seed in range(300):
        file = SimFile(synced)
        file.write(b"a" * 2 * SECTOR_BYTES, 0)
        file.write(b"b" * SECTOR_BYTES, 0)
        seen.add(bytes(file.after_power_loss(random.Random(seed), hits).view))
    first, second = ({content[at : at + SECTOR_BYTES] for content in seen} for at in (0, SECTOR_BYTES))
    for letter, sectors in ((b"a", first), (b"b", first), (b"a", second), (b"\0", first), (b"\0", second)):
        assert letter * SECTOR_BYTES in sectors
    torn = [sector for sector in first | second if len(set(sector)) > 1]
    assert torn
    assert hits["torn write"] > 0
    file = SimFile(synced)
    file.write(b"a" * SECTOR_BYTES, SECTOR_BYTES // 2)
    file.sync()
    assert file.after_power_loss(random.Random(1), hits).view == file.view


def test_a_name_lasts_once_the_directory_was_synced() -> None:
    """D11."""
    seen, hits = Counter[str](), Counter[str]()
    for seed in range(100):
        volume, old, new = Volume(), SimFile(b"old"), SimFile(b"new")
        volume.change({"a": old})
        volume.sync_names()
        volume.change({"b": new})
        volume.change({"b": None, "a": new})
        after = volume.after_power_loss(random.Random(seed), hits)
        seen["+".join(f"{name}:{bytes(file.view).decode()}" for name, file in sorted(after.names.items()))] += 1
        volume.sync_names()
        assert volume.after_power_loss(random.Random(seed), hits).names["a"].view == b"new"
    assert set(seen) == {"a:old", "a:new", "a:old+b:new"}
    assert hits["lost name"] > 0


def test_a_kill_loses_nothing_but_what_a_later_power_loss_takes() -> None:
    """What a dead process wrote is in the cache, not on the disk."""
    lost = 0
    for seed in range(40):
        disk = disk_of(seed)
        file = SimFile(b"")
        disk._mount.volume.change({"a": file})
        file.write(b"x", 0)
        disk.kill()
        assert disk.content("a") == b"x"
        disk.power_loss()
        lost += "a" not in disk.names() or disk.content("a") != b"x"
    assert 0 < lost < 40


# -- a store on it -------------------------------------------------------------------------------------------


def losses(weaken: str, seeds: int = 30) -> int:
    """How often a store that was weakened by a pragma lost an acknowledged entry, or could not be opened again."""
    lost = 0
    for seed in range(seeds):
        disk = disk_of(seed)
        store, journal = opened(disk)
        store._db.execute(weaken)
        for index in range(1, 6):
            commit(journal, index)
        disk.power_loss()
        try:
            lost += len(opened(disk)[1]) < 5
        except StoreRefused:
            lost += 1
    return lost


def test_a_store_that_does_not_sync_is_caught() -> None:
    assert losses("PRAGMA synchronous=FULL") == 0
    assert losses("PRAGMA synchronous=OFF") > 10
    assert losses("PRAGMA synchronous=NORMAL") > 10


def test_a_crash_point_ends_everything_that_the_process_had() -> None:
    disk = disk_of(1)
    store, journal = opened(disk)
    disk.faults.crash_at(f"sync:{WAL_NAME}", passing=2)  # the first transaction syncs the log's header too
    commit(journal, 1)
    with pytest.raises(CrashPoint):
        commit(journal, 2)
    with pytest.raises(CrashPoint):
        store.read_state()
    again, journal = opened(disk)  # the lock is free, the faults are spent
    store.close()
    commit(journal, len(journal) + 1)
    assert len(Journal(reopened(again), tail_entries=0)) == len(journal)
    assert disk.faults.hits["crash point"] == 1


def reopened(store: Store) -> Store:
    store.close()
    return open_store(store.disk, CLUSTER, ME)


def test_every_operation_can_be_the_last() -> None:
    seen = Counter[str]()
    for count in range(1, 400):
        disk = disk_of(count)
        disk.faults.crash_in(count)
        try:
            _, journal = opened(disk)
            for index in range(1, 12):
                commit(journal, index)
            disk.replace("snapshot.bin", b"image")
            disk.remove("snapshot.bin")
        except CrashPoint as crash:
            seen[str(crash).split(":", maxsplit=1)[0]] += 1
            continue
        break
    assert set(seen) == {"create", "read", "write", "sync", "resize", "rename", "names", "delete"}


def test_the_same_seed_leaves_the_same_disk() -> None:
    """Up to the salts of SQLite's log, which differ and decide nothing: what the store holds is the same."""

    def life(seed: int) -> tuple[object, ...]:
        disk = disk_of(seed)
        for operation in (40, 30, 50, 20):
            disk.faults.crash_in(operation)
            try:
                _, journal = opened(disk)
                for index in range(len(journal) + 1, 20):
                    commit(journal, index)
            except CrashPoint:
                pass
        disk.faults.calm()
        _, journal = opened(disk)
        return journal[0:99], disk.faults.hits, disk.names(), disk.random_bytes(8)

    assert [life(seed) for seed in range(10)] == [life(seed) for seed in range(10)]


def test_each_fault_strikes_and_is_counted() -> None:
    spent: list[str] = []
    cases = (
        ("no space", lambda disk: disk.faults.limit(disk.used_bytes() + 10), "No space"),
        ("write error", lambda disk: disk.faults.fail("write"), "Input/output error"),
        ("sync error", lambda disk: disk.faults.fail("sync", name=WAL_NAME), "Input/output error"),
        ("read-only", lambda disk: disk.faults.freeze(), "Read-only"),
        ("slow operation", lambda disk: disk.faults.slow(lambda kind, name: spent.append(f"{kind}:{name}")), None),
    )
    for hit, arm, says in cases:
        disk = disk_of(1)
        _, journal = opened(disk)
        arm(disk)
        if says is None:
            commit(journal, 1)
        else:
            with pytest.raises(DurabilityLost, match=says):
                commit(journal, 1)
        assert disk.faults.hits[hit] > 0, hit
        disk.kill()
        disk.faults.calm()
        opened(disk)
    assert f"sync:{WAL_NAME}" in spent


def test_an_unknown_kind_of_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: 'fsync' is none of"):
        disk_of(1).faults.fail("fsync")


def test_a_failed_sync_loses_what_it_should_have_kept() -> None:
    """D3: the next sync succeeds, and the dropped pages are gone all the same."""
    disk = disk_of(1)
    file = SimFile()
    mount = disk._mount
    mount.change("create", "a", {"a": file})
    mount.sync_names()
    mount.write("a", file, b"x", 0)
    disk.faults.fail("sync")
    with pytest.raises(OSError, match="Input/output"):
        mount.sync("a", file)
    mount.sync("a", file)
    disk.power_loss()
    assert disk.content("a") == b""


def test_what_lies_still_can_be_lost_emptied_and_bent() -> None:
    disk = disk_of(1)
    before = disk.content("witness.db")
    assert disk.flip_bit("witness.db", at=100, bit=3) == ("witness.db", 100, 3)
    assert [n for n in range(len(before)) if before[n] != disk.content("witness.db")[n]] == [100]
    assert disk.flip_bit()[0] == "witness.db"
    disk.put("witness.db", b"")
    disk.power_loss()
    assert disk.size("witness.db") == 0
    disk.lose("witness.db")
    disk.power_loss()
    assert disk.names() == []
    assert {"bit flip": 2, "empty file": 1, "missing file": 1}.items() <= disk.faults.hits.items()


def test_a_clone_shares_nothing() -> None:
    disk = disk_of(1)
    _, journal = opened(disk)
    commit(journal, 1)
    twin = disk.clone(random.Random(2), "copy")
    commit(journal, 2)
    assert len(opened(twin)[1]) == 1
    disk.power_loss()
    assert len(opened(disk)[1]) == 2


def test_without_apsw_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['apsw'] = None; import witness.sim, witness.sim.disk"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "ImportError: the simulated disk needs apsw: install thirdsite[sim]" in ended.stderr


def test_it_is_fast_enough_for_a_campaign() -> None:
    """No clock is read here: the work of a commit is bounded by the operations that it takes."""
    spent = Counter[str]()
    disk = disk_of(1)
    _, journal = opened(disk)
    commit(journal, 1)
    disk.faults.slow(lambda kind, _name: spent.update([kind]))
    for index in range(2, 102):
        commit(journal, index)
    assert spent["sync"] < 150
    assert sum(spent.values()) < 1_500
