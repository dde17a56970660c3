"""Findings of the Raft review about entries and snapshots: what they are, how they travel, when they are on disk.

The number in a name is the finding's (docs/internals/raft-divergences.md).
"""

from __future__ import annotations

import os
import pickle

import pysyncobj.syncobj as library
import pytest
from mutant import FuzzFocus, Mutant
from mutants_disk import LOST

from witness.core.batcher import Batcher
from witness.raft import engine_adapter, message_filter, messages
from witness.raft.engine_adapter import Engine
from witness.raft.engine_parts import EngineSerializer
from witness.raft.journal import Journal
from witness.raft.messages import REGULAR
from witness.raft.node import RaftNode
from witness.raft.snapshot_transfer import SnapshotTransfer

ENDED = LOST | {"stuck", "work"}


def d09_success_without_an_installation(patch: pytest.MonkeyPatch) -> None:
    """A snapshot that was refused is acknowledged, up to the end of whatever log is there."""
    take, load = EngineSerializer.setTransmissionData, Engine._SyncObj__loadDumpFile

    def taken(self, chunk):
        return take(self, chunk) or (chunk is not None and chunk[2])

    def loaded(self, clearJournal):  # noqa: N803  # the library's name
        if self._SyncObj__serializer.received is None:
            self.installed_index = self.last_index
        else:
            load(self, clearJournal)

    patch.setattr(EngineSerializer, "setTransmissionData", taken)
    patch.setattr(Engine, "_SyncObj__loadDumpFile", loaded)


def d16_any_kind_of_entry(patch: pytest.MonkeyPatch) -> None:
    """D-16, D-31, D-52: membership, versions, numbered methods."""
    patch.setattr(messages, "COMMAND_KINDS", frozenset(range(256)))


def d17_answered_by_number(patch: pytest.MonkeyPatch) -> None:
    """Numbers of entries begin anew with each process, and an earlier one's entry answers a later request."""
    right = Batcher.committed

    def committed(self, entry):
        session, self._session = self._session, entry.session
        try:
            return right(self, entry)
        finally:
            self._session = session

    patch.setattr(Batcher, "committed", committed)


def d18_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Batcher, "overdue", lambda self, now: [])


def d20_entries_are_unpickled(patch: pytest.MonkeyPatch) -> None:
    right = engine_adapter._install

    def install():
        right()
        library.pickle = pickle

    def apply(self, command):
        index = self.applied_index + 1
        if command[:1] == bytes([REGULAR]):
            self._hooks.apply(bytes(pickle.loads(command[1:]) or b""), index, self.term_at(index))

    patch.setattr(engine_adapter, "_install", install)
    patch.setattr(Engine, "_SyncObj__doApplyCommand", apply)


def d22_entries_are_cut(patch: pytest.MonkeyPatch) -> None:
    """The engine's batch is smaller than an entry, so that the library cuts it into parts."""
    right = engine_adapter.engine_settings

    def settings(*arguments):
        made = right(*arguments)
        made.appendEntriesBatchSizeBytes = 10
        return made

    patch.setattr(engine_adapter, "engine_settings", settings)


def d26_adopted_at_the_first_tick(patch: pytest.MonkeyPatch) -> None:
    """What came between the start and the first tick is undone by the snapshot, and the log behind it with it."""
    right = Engine.tick

    def tick(self, held):
        if not hasattr(self, "_ticked"):
            self._ticked = True
            self._journal.term_at = lambda index: None
            try:
                self._adopt_own_snapshot()
            finally:
                del self._journal.term_at
        right(self, held)

    patch.setattr(Engine, "tick", tick)


def d27_snapshots_fork(patch: pytest.MonkeyPatch) -> None:
    right = SnapshotTransfer.made

    def made(self, snapshot):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return right(self, snapshot)

    patch.setattr(SnapshotTransfer, "made", made)


def d38_a_slow_snapshot(patch: pytest.MonkeyPatch) -> None:
    """It takes its name when the next one is made or installed."""
    save, install = RaftNode.save, RaftNode.install
    late: dict[int, bytes] = {}

    def slowly(self, data):
        before, late[id(self)] = late.pop(id(self), None), data
        if before is not None:
            save(self, before)

    def installed(self, snapshot, data):
        done = install(self, snapshot, data)
        before = late.pop(id(self), None)
        if done and before is not None:
            save(self, before)
        return done

    patch.setattr(RaftNode, "save", slowly)
    patch.setattr(RaftNode, "install", installed)


def d39_transfers_go_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SnapshotTransfer, "cancel", lambda self, peer: None)


def d48_copies_the_rest(patch: pytest.MonkeyPatch) -> None:
    def item(self, item):
        return self._entries[item] if isinstance(item, int) else self._entries[item.start or 0 :]

    patch.setattr(Journal, "__getitem__", item)


def d56_cut_below_the_commit(patch: pytest.MonkeyPatch) -> None:
    """An old append cuts what is committed, and only that."""

    def delete(self, entryFrom):  # noqa: N803  # the library's name
        index = self._entries[0][1] + entryFrom
        if self._entries[-1][1] >= index and index <= self._floor:
            self._truncate(index)

    patch.setattr(Journal, "deleteEntriesFrom", delete)


def d57_other_bytes_are_taken(patch: pytest.MonkeyPatch) -> None:
    """The entry of a leader whose log is damaged takes the place of ours."""

    def add(self, command, idx, term):
        first = self._entries[0][1]
        if self._entries and first < idx <= self._entries[-1][1] and self._entries[idx - first][2] == term:
            self._truncate(idx)
        right(self, command, idx, term)

    right = Journal.add
    patch.setattr(Journal, "add", add)
    patch.setattr(message_filter, "altered", lambda entries, view: None)


def _review(room: str, test: str) -> tuple[str, ...]:
    return (f"raft_review/test_review_{room}.py::test_{test}",)


MUTANTS = (
    Mutant(
        "d09-success-not-installed",
        "success is said for what was installed only",
        "D-9",
        d09_success_without_an_installation,
        tests=_review("snapshots", "d09_a_damaged_snapshot_is_refused_before_anything_is_touched[ours]"),
        why="no image of the fuzz arrives damaged: who sends one has proven it, and frames are whole or not there",
    ),
    Mutant(
        "d16-any-kind-of-entry",
        "an entry is a command or a no-op; nothing in the log changes members, methods or versions",
        "D-16, D-31, D-52",
        d16_any_kind_of_entry,
        tests=(
            *_review("settings", "d31_our_members_are_the_configured_ones"),
            *_review("settings", "d52_our_log_knows_no_versions_of_the_library"),
        ),
        why="no member proposes such an entry, and the fuzz forges entries of older terms only",
    ),
    Mutant(
        "d17-answered-by-number",
        "a request is answered by the entry of its own process",
        "D-17",
        d17_answered_by_number,
        tests=("unit/test_batcher.py::test_entries_of_others_resolve_nothing",),
        why="the numbers of two lives meet only when an entry of the first one commits after the second one proposed",
    ),
    Mutant(
        "d18-waits-for-ever",
        "a request that was not seen in the log in time is given up",
        "D-18",
        d18_waits_for_ever,
        tests=("unit/test_batcher.py::test_requests_that_waited_too_long_are_given_up_once_and_never_proposed",),
        why="simulated clients ask again by themselves and never look at how long an answer took",
    ),
    Mutant(
        "d20-entries-are-unpickled",
        "nothing from a peer is unpickled",
        "D-20",
        d20_entries_are_unpickled,
        tests=_review("commands", "d20_nothing_from_a_peer_is_unpickled[ours]"),
        why="the fuzz's liar sends no pickles, and what it breaks with one is the machine and not the log",
    ),
    Mutant(
        "d22-entries-are-cut",
        "an entry fits into a batch whole",
        "D-22",
        d22_entries_are_cut,
        FuzzFocus(("kill",), ENDED, 5),
    ),
    Mutant(
        "d26-adopted-at-first-tick",
        "the snapshot is read before anybody can speak with the node",
        "D-26",
        d26_adopted_at_the_first_tick,
        FuzzFocus(("kill", "kill-all", "snapshot"), ENDED, 30),
    ),
    Mutant(
        "d27-snapshots-fork",
        "no process is forked for a snapshot",
        "D-27",
        d27_snapshots_fork,
        tests=_review("snapshots", "d27_our_snapshots_fork_nothing"),
        why="a child of the simulation's own process would be simulated by nothing",
    ),
    Mutant(
        "d38-slow-snapshot",
        "a snapshot is on the disk in the turn in which it is made",
        "D-38",
        d38_a_slow_snapshot,
        FuzzFocus(("kill", "kill-all", "snapshot", "isolate-leader"), ENDED, 30),
    ),
    Mutant(
        "d39-transfers-go-on",
        "a transfer ends with its connection",
        "D-39",
        d39_transfers_go_on,
        tests=_review("snapshots", "d39_a_transfer_starts_anew_with_its_connection[ours]"),
        why="the hash of the whole refuses what was put together of two connections, and the next attempt is sound",
    ),
    Mutant(
        "d48-copies-the-rest",
        "what is sent is copied in slices of bounded length",
        "D-48",
        d48_copies_the_rest,
        tests=_review("log", "d48_catching_up_copies_what_it_sends"),
        why="copies cost time of the machine, which a simulated turn does not measure",
    ),
    Mutant(
        "d56-cut-below-the-commit",
        "nothing that is committed is cut",
        "D-56",
        d56_cut_below_the_commit,
        FuzzFocus(("reorder", "duplicate", "snapshot", "kill"), ENDED, 60),
    ),
    Mutant(
        "d57-other-bytes-taken",
        "an entry with other bytes under a known index and term is not taken",
        "D-57",
        d57_other_bytes_are_taken,
        tests=_review("log", "d57_an_entry_with_other_bytes_under_its_index_and_term_is_not_taken[ours]"),
        why="rows are proven one by one, so no disk sends another entry, and the fuzz's liar forges older terms only",
    ),
)
