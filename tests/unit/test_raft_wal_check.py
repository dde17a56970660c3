"""The write-ahead log of a process that died: torn at its end it opens, damaged in its middle it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.store import NOTE_NAME, STORE_NAME, StoreRefused, create_store, open_store
from witness.raft.wal_check import find_damage

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")
WAL = STORE_NAME + "-wal"
COMMITS = 8


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies on disk after COMMITS durable turns and a sudden end."""
    directory = tmp_path_factory.mktemp("wal")
    create_store(directory / "live", CLUSTER, ME)
    store = open_store(directory / "live", CLUSTER, ME)
    journal = Journal(store, tail_entries=0)
    for index in range(1, COMMITS + 1):
        journal.add(b"\0%d" % index, index, 1)
        journal.setCurrentTerm(1, "w1")
        journal.commit()
    shutil.copytree(directory / "live", directory / "dead")
    store.close()
    return directory / "dead"


def copy(dead: Path, tmp_path: Path, wal: bytes) -> Path:
    shutil.copytree(dead, tmp_path / "copy")
    (tmp_path / "copy" / WAL).write_bytes(wal)
    return tmp_path / "copy"


def entries(directory: Path) -> int:
    store = open_store(directory, CLUSTER, ME)
    try:
        return len(Journal(store, tail_entries=0))
    finally:
        store.close()


def test_an_intact_log_keeps_everything(dead: Path, tmp_path: Path) -> None:
    wal = (dead / WAL).read_bytes()
    assert find_damage(wal) is None
    assert entries(copy(dead, tmp_path, wal)) == COMMITS


def test_a_torn_end_never_counts_as_damage_and_loses_only_the_end(dead: Path, tmp_path: Path) -> None:
    wal = (dead / WAL).read_bytes()
    frame = 24 + 4096
    for length in [*range(len(wal) - 2 * frame, len(wal), 97), *range(0, len(wal), frame * 3 + 11)]:
        assert find_damage(wal[:length]) is None
    torn = copy(dead, tmp_path, wal[:-1])
    (torn / NOTE_NAME).unlink()  # a power loss within the last sync: its turn was not noted
    assert entries(torn) == COMMITS - 1


def test_a_torn_end_that_had_been_synced_is_found(dead: Path, tmp_path: Path) -> None:
    """D6: rot in the very last transaction looks like a torn one, but its turn was noted."""
    wal = (dead / WAL).read_bytes()
    with pytest.raises(StoreRefused, match=f"turn {COMMITS} was on the disk, the last one found is {COMMITS - 1}"):
        entries(copy(dead, tmp_path, wal[:-1]))


def test_damage_before_the_last_transaction_is_found(dead: Path, tmp_path: Path) -> None:
    wal = (dead / WAL).read_bytes()
    frame = 24 + 4096
    for at in [0, 9, 17, *range(40, len(wal) - 3 * frame, 1_009)]:
        damaged = bytearray(wal)
        damaged[at] ^= 4
        assert find_damage(bytes(damaged)) is not None, at
    with pytest.raises(StoreRefused, match=r"damaged.*must not vote"):
        entries(copy(dead, tmp_path, bytes(damaged)))


def test_a_zeroed_page_in_the_middle_is_found(dead: Path) -> None:
    wal = (dead / WAL).read_bytes()
    frame = 24 + 4096
    zeroed = wal[: 32 + 2 * frame] + bytes(frame) + wal[32 + 3 * frame :]
    assert find_damage(zeroed) is not None


def test_what_is_no_log_is_no_damage_when_empty() -> None:
    assert find_damage(b"") is None
    assert find_damage(bytes(5000)) is None
    assert find_damage(b"x" * 5000) is not None


def test_a_start_empties_the_log(dead: Path, tmp_path: Path) -> None:
    directory = copy(dead, tmp_path, (dead / WAL).read_bytes())
    store = open_store(directory, CLUSTER, ME)
    assert (directory / WAL).stat().st_size == 0
    store.close()
