"""The store and the journal: what was committed is there, what is damaged is refused, nothing is made by accident."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.errors import DurabilityLost
from proto.invariants import InvariantViolation
from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.messages import ENTRIES_PER_MESSAGE_MAX
from witness.raft.store import STORE_NAME, RaftState, Store, StoreRefused, create_store, open_store

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    create_store(tmp_path / "data", CLUSTER, ME)
    return tmp_path / "data"


@pytest.fixture
def store(directory: Path) -> Iterator[Store]:
    opened = open_store(directory, CLUSTER, ME)
    yield opened
    opened.close()


def command(text: str) -> bytes:
    return b"\0" + text.encode()


def fill(journal: Journal, last: int, term: int = 1) -> None:
    for index in range(len(journal) + 1, last + 1):
        journal.add(command(str(index)), index, term)
    journal.setCurrentTerm(term, "w2")
    journal.commit()


def reopened(store: Store) -> Store:
    store.close()
    return open_store(store.directory, CLUSTER, ME)


def test_a_missing_store_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="must not vote"):
        open_store(tmp_path, CLUSTER, ME)
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_never_overwritten(directory: Path) -> None:
    with pytest.raises(StoreRefused, match="never overwritten"):
        create_store(directory, CLUSTER, ME)


def test_two_processes_cannot_open_it(store: Store) -> None:
    with pytest.raises(StoreRefused, match="in use"):
        open_store(store.directory, CLUSTER, ME)


@pytest.mark.parametrize(
    ("cluster", "witness", "says"),
    [(ClusterId("00" * 16), ME, "belongs to cluster"), (CLUSTER, WitnessId("w9"), "belongs to witness")],
)
def test_a_foreign_store_is_refused(directory: Path, cluster: ClusterId, witness: WitnessId, says: str) -> None:
    with pytest.raises(StoreRefused, match=says):
        open_store(directory, cluster, witness)
    open_store(directory, CLUSTER, ME).close()  # the refusal left no lock behind


def test_a_newer_format_is_refused(directory: Path) -> None:
    change(directory, "UPDATE identity SET value = x'3939' WHERE name = 'format'")
    with pytest.raises(StoreRefused, match="format 99"):
        open_store(directory, CLUSTER, ME)


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_database_is_refused(directory: Path, content: bytes) -> None:
    (directory / STORE_NAME).write_bytes(content)
    with pytest.raises(StoreRefused):
        open_store(directory, CLUSTER, ME)


def change(directory: Path, statement: str) -> None:
    with sqlite3.connect(directory / STORE_NAME) as db:
        db.execute(statement)
    db.close()


def test_entries_term_and_vote_survive(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 5)
    again = reopened(store)
    journal = Journal(again, tail_entries=0)
    assert [journal[n] for n in range(5)] == [(command(str(n)), n, 1) for n in range(1, 6)]
    assert (journal.getCurrentTerm(), journal.getVotedForNodeId()) == (1, "w2")
    assert journal.getRaftCommitIndex() == 1  # volatile: D-5
    again.close()


def test_what_was_not_committed_is_gone(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 3)
    journal.add(command("4"), 4, 1)
    again = reopened(store)
    assert len(Journal(again, tail_entries=0)) == 3
    again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET command = x'0066' WHERE idx = 3",
        "UPDATE entries SET term = 2 WHERE idx = 3",
        "DELETE FROM entries WHERE idx = 3",
        "DELETE FROM entries WHERE idx = 5",
        "DELETE FROM entries",
        "DELETE FROM raft_state",
        "UPDATE raft_state SET voted_for = 'w3'",
        "UPDATE raft_state SET term = term + 1",
    ],
)
def test_damage_is_refused_with_the_remedy(store: Store, statement: str) -> None:
    fill(Journal(store, tail_entries=0), 5)
    store.close()
    change(store.directory, statement)
    again = open_store(store.directory, CLUSTER, ME)
    with pytest.raises(StoreRefused, match=r"damaged.*must not vote"):
        Journal(again, tail_entries=0)
    again.close()


def test_nothing_is_truncated_but_on_a_conflict_of_terms(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 6)
    journal.deleteEntriesFrom(2)  # what the engine asks for on every append: D-3
    journal.add(command("3"), 3, 1)
    assert journal[-1][1] == 6
    journal.add(command("new"), 4, 2)
    assert journal[slice(0, None)][-1] == (command("new"), 4, 2)
    journal.setCurrentTerm(2, None)
    journal.commit()
    again = reopened(store)
    assert [entry[2] for entry in Journal(again, tail_entries=0)[0:9]] == [1, 1, 1, 2]
    again.close()


def test_a_committed_entry_is_never_replaced(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 4)
    journal.setRaftCommitIndex(3)
    with pytest.raises(InvariantViolation, match="committed entry 3"):
        journal.add(command("other"), 3, 2)


def test_holes_and_differing_twins_end_the_process(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 4)
    with pytest.raises(InvariantViolation, match="hole"):
        journal.add(command("6"), 6, 1)
    with pytest.raises(InvariantViolation, match="differ"):
        journal.add(command("other"), 4, 1)


def test_a_second_vote_in_a_term_ends_the_process(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 1)
    with pytest.raises(InvariantViolation, match="second vote"):
        journal.setCurrentTerm(1, "w3")
    with pytest.raises(InvariantViolation, match="fall"):
        journal.setCurrentTerm(0, None)


def test_trimming_keeps_a_tail_and_reaches_the_disk_in_portions(store: Store) -> None:
    journal = Journal(store, tail_entries=10)
    fill(journal, 5000)
    journal.deleteEntriesTo(4500)
    assert journal[0][1] == 4491
    while journal.commit():
        pass
    again = reopened(store)
    assert Journal(again, tail_entries=10)[0][1] == 4491
    again.close()


def test_slices_are_short(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 3000)
    assert len(journal[5:]) == ENTRIES_PER_MESSAGE_MAX
    assert len(journal[5:9]) == 4
    assert len(journal[0:2500]) == ENTRIES_PER_MESSAGE_MAX


def test_a_snapshot_keeps_the_log_that_contains_it(store: Store) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 9)
    journal.rebase((command("4"), 4, 1), (command("5"), 5, 1))
    assert (journal[0][1], journal[-1][1]) == (1, 9)


@pytest.mark.parametrize(("index", "term"), [(12, 1), (5, 2)])
def test_a_snapshot_replaces_a_log_that_does_not_contain_it(store: Store, index: int, term: int) -> None:
    journal = Journal(store, tail_entries=0)
    fill(journal, 9)
    journal.setCurrentTerm(2, None)
    journal.rebase((command("a"), index - 1, 1), (command("b"), index, term))
    journal.add(command("c"), index + 1, 2)
    journal.commit()
    again = reopened(store)
    assert [entry[1] for entry in Journal(again, tail_entries=0)[0:9]] == [index - 1, index, index + 1]
    again.close()


def test_a_log_newer_than_its_term_is_refused(store: Store) -> None:
    store.add_entry(command("1"), 1, 5)
    store.set_state(RaftState(4, None, 1, 5))
    store.commit()
    with pytest.raises(StoreRefused, match="newer than the recorded term"):
        Journal(store, tail_entries=0)


def test_events_and_marks_share_the_transaction(store: Store) -> None:
    store.append_events([(1, b"one"), (2, b"two")])
    store.put_meta("mark", b"value")
    assert store.get_meta("mark") == b"value"
    assert store.read_events(1, 10) == []
    assert store.commit()
    assert not store.commit()
    again = reopened(store)
    assert again.read_events(2, 10) == [(2, b"two")]
    assert again.get_meta("mark") == b"value"
    assert again.get_meta("other") is None
    assert again.last_event_seq == 2
    again.close()


def test_a_replayed_event_must_be_the_same(store: Store) -> None:
    store.append_events([(1, b"one"), (2, b"two")])
    store.commit()
    store.append_events([(1, b"one"), (2, b"two"), (3, b"three")])
    store.commit()
    assert store.read_events(1, 10) == [(1, b"one"), (2, b"two"), (3, b"three")]
    with pytest.raises(StoreRefused, match="event 2"):
        store.append_events([(2, b"other")])


def test_a_damaged_mark_is_refused(store: Store) -> None:
    store.put_meta("mark", b"value")
    store.commit()
    store.close()
    change(store.directory, "UPDATE meta SET value = x'00'")
    again = open_store(store.directory, CLUSTER, ME)
    with pytest.raises(StoreRefused, match="mark mark"):
        again.get_meta("mark")
    again.close()


def test_a_failed_write_is_durability_lost(store: Store) -> None:
    store.put_meta("mark", b"value")
    store._db.execute("PRAGMA query_only=1")
    with pytest.raises(DurabilityLost, match="check the disk"):
        store.commit()
