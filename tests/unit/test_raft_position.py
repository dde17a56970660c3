"""How far a disk is: what is counted of its transactions, and what is told to other witnesses (O5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.peer_disks import position_of
from witness.raft.store import Store, create_store, open_store

CLUSTER = ClusterId("cd" * 16)
ME = WitnessId("w1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_store(tmp_path, CLUSTER, ME)
    opened = open_store(tmp_path, CLUSTER, ME)
    yield opened
    opened.close()


def entered(store: Store) -> Journal:
    journal = Journal(store, tail_entries=0)
    for index in range(1, 4):
        journal.add(b"\0entry", index, 1)
    journal.setCurrentTerm(1, "w2")
    assert journal.commit()
    return journal


def test_a_write_of_marks_or_events_alone_brings_a_disk_no_further(store: Store) -> None:
    """A disk that is behind writes those while it is refused, and must not catch up by them."""
    journal = entered(store)
    before, turn = position_of(store), store.durable.turn
    store.put_meta("note", b"1")
    assert journal.commit()
    store.append_events([(1, b"event")])
    assert journal.commit()
    assert store.durable.turn == turn + 2
    assert position_of(store) == before


def test_each_change_of_term_vote_or_log_brings_it_further(store: Store) -> None:
    journal = entered(store)
    turns = [position_of(store).turn]
    for change in (
        lambda: journal.setCurrentTerm(2, None),
        lambda: journal.setCurrentTerm(2, "w3"),
        lambda: journal.add(b"\0entry", 4, 2),
        lambda: journal.add(b"\0other", 3, 2),  # the log gets shorter
    ):
        change()
        assert journal.commit()
        turns.append(position_of(store).turn)
    assert turns == list(range(turns[0], turns[0] + 5))
    assert position_of(store).last_index == 3


def test_it_is_the_same_after_a_start(store: Store) -> None:
    entered(store)
    before = position_of(store)
    store.close()
    again = open_store(store.directory, CLUSTER, ME)
    Journal(again, tail_entries=0).commit()
    assert position_of(again) == before
    again.close()
