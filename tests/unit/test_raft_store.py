"""The store and the journal: what was committed is there, what is damaged is refused, nothing is made by accident."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proto.errors import DurabilityLost
from proto.invariants import InvariantViolation
from proto.units import ClusterId, InstantNs, WitnessId
from witness.raft.journal import Journal
from witness.raft.messages import ENTRIES_PER_MESSAGE_MAX
from witness.raft.standing import STANDING_MARK
from witness.raft.store import (
    STORE_NAME,
    WAL_NAME,
    RaftState,
    Store,
    StoreRefused,
    create_store,
    move_aside,
    open_store,
)

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
        "UPDATE raft_state SET term = 'one'",
        "UPDATE raft_state SET turn = turn - 1",
        "UPDATE entries SET command = 'text' WHERE idx = 2",
        "UPDATE entries SET idx = -4 WHERE idx = 1",
        "UPDATE identity SET value = x'00' WHERE name = 'incarnation'",
        "DELETE FROM identity WHERE name = 'incarnation'",
        "UPDATE meta SET value = x'6c6561726e6572' WHERE name = 'standing'",
        "DELETE FROM meta WHERE name = 'standing'",
        "DELETE FROM meta",
        "DROP TABLE events",
        "CREATE TABLE more (a)",
    ],
)
def test_damage_is_refused_with_the_remedy(store: Store, statement: str) -> None:
    fill(Journal(store, tail_entries=0), 5)
    store.close()
    change(store.directory, statement)
    with pytest.raises(StoreRefused, match=r"damaged.*must not vote.*witness readmit -c FILE"):
        Journal(open_store(store.directory, CLUSTER, ME), tail_entries=0)


def test_an_entry_of_another_time_is_noticed_by_the_chain(store: Store) -> None:
    """D7: a page that was not brought up to date holds a sound entry, at its place, of a term that fits there."""
    journal = Journal(store, tail_entries=0)
    fill(journal, 4)
    old = store._db.execute("SELECT * FROM entries WHERE idx = 4")
    journal.add(command("new"), 4, 2)
    journal.add(command("5"), 5, 2)
    journal.setCurrentTerm(2, None)
    journal.commit()
    assert len(store.read_entries()) == 5
    store._db.many("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", old)
    with pytest.raises(StoreRefused, match="the log between entries 4 and 5"):
        store.read_entries()


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
    change(store.directory, "UPDATE meta SET value = x'00' WHERE name = 'mark'")
    with pytest.raises(StoreRefused, match="mark 'mark' is damaged"):
        open_store(store.directory, CLUSTER, ME)


def test_a_lost_mark_is_noticed(store: Store) -> None:
    """A peer's disk, or the word that this one is a learner: without it a witness would vote too early."""
    store.put_meta("peer-disk/w2", b"1" * 16)
    store.commit()
    store.close()
    change(store.directory, "DELETE FROM meta WHERE name = 'peer-disk/w2'")
    with pytest.raises(StoreRefused, match="the set of marks"):
        open_store(store.directory, CLUSTER, ME)


def test_a_damaged_event_is_refused_when_it_is_read_and_ends_the_store(store: Store) -> None:
    store.append_events([(1, b"one"), (2, b"two")])
    store.commit()
    store.close()
    change(store.directory, "UPDATE events SET data = x'00' WHERE seq = 2")
    again = open_store(store.directory, CLUSTER, ME)
    assert again.read_events(1, 1) == [(1, b"one")]
    with pytest.raises(StoreRefused, match="event 2 is damaged"):
        again.read_events(1, 10)
    with pytest.raises(DurabilityLost, match="event 2"):
        again.commit()
    again.close()


def test_a_fresh_store_says_voter_or_learner(store: Store, tmp_path: Path) -> None:
    assert store.get_meta(STANDING_MARK) == b"voter"
    create_store(tmp_path / "blank", CLUSTER, ME, learner=True)
    other = open_store(tmp_path / "blank", CLUSTER, ME)
    assert other.get_meta(STANDING_MARK) == b"learner"
    assert other.incarnation != store.incarnation
    other.close()


def test_a_store_goes_aside_and_is_never_deleted(store: Store, tmp_path: Path) -> None:
    fill(Journal(store, tail_entries=0), 3)
    store.save_snapshot(b"image")
    with pytest.raises(StoreRefused, match="in use"):
        move_aside(store.directory)
    store.close()
    aside = move_aside(store.directory)
    assert aside is not None
    assert sorted(path.name for path in aside.iterdir()) == ["snapshot.bin", "turn", "witness.db"]
    create_store(store.directory, CLUSTER, ME, learner=True)
    old = open_store(aside, CLUSTER, ME)
    assert len(Journal(old, tail_entries=0)) == 3
    old.close()
    assert move_aside(tmp_path / "missing") is None


def test_what_is_left_of_a_store_keeps_a_new_one_away(directory: Path) -> None:
    """A write-ahead log of another store would be read into the new one."""
    move_aside(directory)
    for name in (WAL_NAME, "snapshot.bin", "turn"):
        (directory / name).write_bytes(b"")
        with pytest.raises(StoreRefused, match="never overwritten"):
            create_store(directory, CLUSTER, ME)
        move_aside(directory)
    create_store(directory, CLUSTER, ME)


def test_a_place_that_cannot_be_used_is_said_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreRefused, match="no store was made"):
        create_store(tmp_path / "file", CLUSTER, ME)
    create_store(tmp_path / "data", CLUSTER, ME)
    (tmp_path / "data" / "lock").mkdir()
    with pytest.raises(StoreRefused, match=r"cannot be used.*mend that"):
        open_store(tmp_path / "data", CLUSTER, ME)


def test_after_a_failed_write_nothing_of_the_store_can_be_used(store: Store) -> None:
    """D3, I7: what the failed turn collected is in nobody's hands any more."""
    journal = Journal(store, tail_entries=0)
    fill(journal, 3)
    store.put_meta("mark", b"value")
    store._db.execute("PRAGMA query_only=1")
    with pytest.raises(DurabilityLost, match="check the disk"):
        store.commit()
    store._db.execute("PRAGMA query_only=0")
    uses: list[Callable[[], object]] = [
        store.commit,
        journal.commit,
        store.read_state,
        store.read_entries,
        store.marks,
        store.read_snapshot,
        store.snapshot_bytes,
        lambda: store.get_meta("mark"),
        lambda: store.put_meta("mark", b"other"),
        lambda: store.read_events(1, 1),
        lambda: store.append_events([]),
        lambda: store.add_entry(b"\0", 4, 1),
        lambda: store.set_state(RaftState(9, None, 0, 0)),
        lambda: store.truncate_from(1),
        lambda: store.trim_below(1),
        lambda: store.save_snapshot(b""),
        lambda: store.space(InstantNs(0)),
    ]
    for use in uses:
        with pytest.raises(DurabilityLost, match="check the disk"):
            use()
    again = reopened(store)
    assert len(Journal(again, tail_entries=0)) == 3
    assert again.get_meta("mark") is None
    again.close()
