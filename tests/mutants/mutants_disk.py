"""What a witness keeps: term, vote and log on the disk, and what it makes of a damaged one (witness/raft/store.py)."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from mutant import FuzzFocus, Mutant, raft_broken
from raft_broken_rules import DIVERGED

from proto.errors import DurabilityLost
from witness.raft import store as store_module
from witness.raft import store_checks, store_rows
from witness.raft.disk import DISK_FAULTS
from witness.raft.journal import Journal
from witness.raft.store import Store
from witness.sim.disk.simdisk import SimDisk

BROKEN = DIVERGED | {"durable", "prefix", "state", "order", "unsynced"}
LOST = BROKEN | {"term", "votes"}


def a_snapshot_replaces_the_log(patch: pytest.MonkeyPatch) -> None:
    """D-2: what follows the snapshot's last entry is dropped."""
    right = Journal.rebase

    def rebase(self, previous, last):
        term_at = self.term_at
        self.term_at = lambda index: None
        try:
            right(self, previous, last)
        finally:
            self.term_at = term_at

    patch.setattr(Journal, "rebase", rebase)


def the_term_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The disk learns a term when an entry of it comes."""
    right = Store.set_state

    def set_state(self, state):
        kept = max(state.last_term, self.durable.state.term)
        right(self, replace(state, term=min(state.term, kept), voted_for=None))

    patch.setattr(Store, "set_state", set_state)


def the_log_is_cut_by_itself(patch: pytest.MonkeyPatch) -> None:
    """D-8: cutting and writing are two transactions."""
    right = Store.commit

    def commit(self):
        if self._truncate_from is not None and self._lost is None:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("DELETE FROM entries WHERE idx >= ?", (self._truncate_from,))
                self._db.execute("COMMIT")
            except DISK_FAULTS as fault:
                raise self._fail(fault) from fault
        return right(self)

    patch.setattr(Store, "commit", commit)


def a_failed_write_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    """D-41: the process goes on as if the turn were on the disk."""
    right = Store.commit

    def commit(self):
        try:
            return right(self)
        except DurabilityLost:
            self._lost = None
            self._entries, self._state, self._changed, self._events = [], None, {}, []
            self._truncate_from = None
            with contextlib.suppress(*DISK_FAULTS):
                self._db.execute("ROLLBACK")
            return True

    patch.setattr(Store, "commit", commit)


class Believed(int):
    """Equal to any sum that is found."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


def no_checksums(patch: pytest.MonkeyPatch) -> None:
    """D-6, D-7: rows are believed; sums are written all the same, as stores are copied from schedule to schedule."""
    entry, state = store_rows._entry_crc, store_rows._state_crc
    patch.setattr(store_rows, "_entry_crc", lambda *row: Believed(entry(*row)))
    patch.setattr(store_rows, "_state_crc", lambda *row: Believed(state(*row)))


def a_torn_end_is_no_loss(patch: pytest.MonkeyPatch) -> None:
    """Rot in the write-ahead log is taken for a torn end, and the note of turns is not read."""
    patch.setattr(store_module, "check_wal", lambda disk: None)
    patch.setattr(store_module, "check_note", lambda disk, incarnation, turn: None)


def the_note_of_turns_is_not_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_module, "check_note", lambda disk, incarnation, turn: None)


def a_snapshot_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    """The file is renamed into place before its content is on the disk."""

    def publish(self, unfinished, name):
        mount, file = self._mount, self._file(unfinished)
        mount.change("rename", name, {unfinished: None, name: file})
        mount.sync_names()

    patch.setattr(SimDisk, "publish", publish)


def the_log_is_trimmed_first(patch: pytest.MonkeyPatch) -> None:
    """D-23: the snapshot that covers what was trimmed is never written."""
    patch.setattr(Store, "save_snapshot", lambda self, data: None)


def written_and_not_committed(patch: pytest.MonkeyPatch) -> None:
    """The turn's transaction is committed in every second turn only."""
    right = Store.commit
    turns: dict[int, int] = {}

    def commit(self):
        turns[id(self)] = turns.get(id(self), 0) + 1
        return right(self) if turns[id(self)] % 2 else True

    patch.setattr(Store, "commit", commit)


def the_standing_is_guessed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_module, "check_standing", lambda marks: None)
    patch.setattr(store_checks, "check_standing", lambda marks: None)


MUTANTS = (
    raft_broken("vote is not kept", "a vote is on the disk before it is given", "D-7"),
    raft_broken("sent before the sync", "nothing leaves before the sync", "D-6"),
    raft_broken("disk that lies", "what was synced is there after a loss of power", "D-6"),
    Mutant(
        "snapshot-replaces-log",
        "what follows the snapshot's last entry stays",
        "D-2, D-10",
        a_snapshot_replaces_the_log,
        FuzzFocus(("kill-all", "power-all", "snapshot"), BROKEN, 30),
    ),
    Mutant(
        "term-not-kept",
        "a term is on the disk before it is spoken",
        "D-6, D-7",
        the_term_is_not_kept,
        FuzzFocus(("power", "kill", "isolate-leader"), LOST, 30),
    ),
    Mutant(
        "log-cut-by-itself",
        "cutting and writing the log is one transaction",
        "D-8",
        the_log_is_cut_by_itself,
        FuzzFocus(("power-at-disk", "isolate-leader"), LOST, 200),
    ),
    Mutant(
        "failed-write-passed-over",
        "a write that failed ends the process",
        "D-41",
        a_failed_write_is_passed_over,
        FuzzFocus(("io-error", "read-only", "no-space", "kill"), LOST, 60),
    ),
    Mutant(
        "no-checksums",
        "every row is proven before it is used",
        "D-6, D-7",
        no_checksums,
        FuzzFocus(("bit-flip", "kill", "large-entries"), LOST, 60),
    ),
    Mutant(
        "rot-is-a-torn-end",
        "rot in the middle of the write-ahead log is refused",
        "D-6",
        a_torn_end_is_no_loss,
        FuzzFocus(("bit-flip", "kill-all", "kill"), LOST, 200),
    ),
    Mutant(
        "snapshot-not-synced",
        "a snapshot is on the disk before its name is",
        "D-2",
        a_snapshot_is_not_synced,
        FuzzFocus(("power", "power-all", "snapshot"), BROKEN, 30),
    ),
    Mutant(
        "trimmed-without-snapshot",
        "the log is trimmed only when a snapshot covers it",
        "D-2, D-23",
        the_log_is_trimmed_first,
        FuzzFocus(("kill-all", "snapshot"), BROKEN, 20),
    ),
    Mutant(
        "every-second-turn-kept",
        "a turn is on the disk before anything of it leaves",
        "D-6",
        written_and_not_committed,
        FuzzFocus(("power", "power-at-send"), LOST, 20),
    ),
    Mutant(
        "note-of-turns-not-read",
        "a disk that lost its last transaction is refused",
        "D-6",
        the_note_of_turns_is_not_read,
        tests=("sim/test_disk_faults.py::test_files_of_different_times",),
        why="in most schedules the check of the write-ahead log finds the same damage first",
    ),
)
