"""The port witness.raft.disk: what the store may rely on, on the real disk and on the simulated one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proto.units import ClusterId, WitnessId
from witness.raft.disk import DatabaseFault, Disk, DiskBusy, FileTooLarge
from witness.raft.journal import Journal
from witness.raft.posix_disk import PosixDisk
from witness.raft.snapshot_file import Snapshot, encode_snapshot, read_snapshot, write_snapshot
from witness.raft.store import create_store, open_store
from witness.sim.disk import SimDisk

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")


@pytest.fixture(params=["posix", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    made: Disk = PosixDisk(tmp_path / "data") if request.param == "posix" else SimDisk(random.Random(1))
    made.make()
    made.make()
    return made


def test_a_fresh_directory_is_empty(disk: Disk) -> None:
    assert disk.names() == []
    assert not disk.exists("a")
    assert disk.free_bytes() > 1024


def test_a_file_is_replaced_whole(disk: Disk) -> None:
    disk.replace("a", b"one")
    disk.replace("a", b"another")
    assert (disk.read("a", 100), disk.size("a"), disk.exists("a")) == (b"another", 7, True)
    assert disk.names() == ["a"]


def test_a_file_is_read_whole_or_the_part_that_was_asked_for(disk: Disk) -> None:
    disk.replace("a", b"12345")
    assert disk.read("a", 5) == b"12345"
    with pytest.raises(FileTooLarge, match="larger than 4"):
        disk.read("a", 4)
    assert [disk.read_part("a", *part) for part in ((1, 2), (3, 9), (9, 1))] == [b"23", b"45", b""]


def test_a_missing_file_is_said_to_be_missing(disk: Disk) -> None:
    for access in (lambda: disk.read("a", 10), lambda: disk.read_part("a", 0, 1), lambda: disk.size("a")):
        with pytest.raises(FileNotFoundError):
            access()


def test_a_finished_file_is_published_over_its_predecessor(disk: Disk) -> None:
    disk.replace("a", b"old")
    disk.replace("a.new", b"new")
    disk.publish("a.new", "a")
    assert (disk.names(), disk.read("a", 10)) == (["a"], b"new")


def test_a_note_is_overwritten_in_place(disk: Disk) -> None:
    note = disk.open_note("n")
    note.write(b"12345")
    note.write(b"67")
    assert disk.read("n", 10) == b"67345"
    note.close()
    note.close()
    disk.open_note("n").close()
    assert disk.size("n") == 5


def test_what_is_there_is_removed(disk: Disk) -> None:
    disk.replace("a", b"")
    disk.remove("a", "b")
    assert disk.names() == []


def test_one_process_holds_the_lock(disk: Disk) -> None:
    unlock = disk.lock("lock")
    with pytest.raises(DiskBusy):
        disk.lock("lock")
    unlock()
    unlock()
    disk.lock("lock")()


def test_files_go_aside_into_a_new_folder_each_time(disk: Disk) -> None:
    assert disk.move_aside(["a", "b"]) is None
    for number, content in ((1, b"one"), (2, b"two")):
        disk.replace("a", content)
        disk.replace("c", b"stays")
        assert disk.move_aside(["b", "a"]) == disk.directory / f"aside-{number}"
        assert disk.names() == [*(f"aside-{n}" for n in range(1, number + 1)), "c"]
    assert [disk.read(f"aside-{number}/a", 10) for number in (1, 2)] == [b"one", b"two"]


def test_random_bytes_differ(disk: Disk) -> None:
    assert len({disk.random_bytes(16) for _ in range(100)}) == 100
    assert len(disk.random_bytes(7)) == 7


def test_a_database_keeps_what_was_committed(disk: Disk) -> None:
    alone, logged = "PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL"
    database = disk.open_database("x.db")
    for statement in (alone, logged, "CREATE TABLE t (a, b)", "BEGIN"):
        database.execute(statement)
    database.many("INSERT INTO t VALUES (?, ?)", [(1, b"one"), ("two", None)])
    database.execute("COMMIT")
    database.execute("BEGIN")
    database.execute("INSERT INTO t VALUES (?, ?)", (3, b""))
    assert disk.exists("x.db-wal")
    database.close()
    database.close()
    database = disk.open_database("x.db")
    database.execute(alone)
    assert database.execute("SELECT a, b FROM t") == [(1, b"one"), ("two", None)]
    assert database.execute("SELECT a FROM t WHERE a = ?", (9,)) == []
    database.close()


def test_a_database_says_what_is_wrong_in_one_exception(disk: Disk) -> None:
    database = disk.open_database("x.db")
    for statement in ("nonsense", "SELECT * FROM missing"):
        with pytest.raises(DatabaseFault):
            database.execute(statement)
    with pytest.raises(DatabaseFault):
        database.many("INSERT INTO missing VALUES (?)", [(1,)])
    database.close()
    with pytest.raises(DatabaseFault):
        database.execute("SELECT 1")
    disk.replace("y.db", b"this is no database" * 100)
    database = disk.open_database("y.db")
    with pytest.raises(DatabaseFault, match="not a database"):
        database.execute("SELECT * FROM sqlite_master")
    database.close()


def test_a_store_lives_on_it(disk: Disk) -> None:
    create_store(disk, CLUSTER, ME)
    store = open_store(disk, CLUSTER, ME)
    journal = Journal(store, tail_entries=0)
    for index in range(1, 400):
        journal.add(b"\0" + bytes(100), index, 1)
        journal.setCurrentTerm(1, "w1")
        journal.commit()
    snapshot = Snapshot((b"\0", 7, 1), (b"\0", 8, 1), b"image")
    write_snapshot(disk, encode_snapshot(snapshot, CLUSTER))
    store.close()
    store = open_store(disk, CLUSTER, ME)
    assert len(Journal(store, tail_entries=0)) == 399
    assert read_snapshot(disk, CLUSTER) == snapshot
    store.close()
    assert disk.names() == ["lock", "snapshot.bin", "turn", "witness.db"]
