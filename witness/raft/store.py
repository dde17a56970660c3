"""What a witness keeps on disk: identity, term and vote, log entries, event ledger and small marks, in one SQLite file.

Rule: everything a turn wants to keep goes to disk in one transaction (WAL, synchronous=FULL) before anything leaves
the node; a failed write or sync is DurabilityLost and ends the process, and this object refuses every further call,
so that nothing of that turn can be used (D-6, D-7, D-8, D3). A store is made only by `create_store`; `open_store`
never makes one, so that an empty disk is noticed instead of voting again (D-25, O6). Whatever is damaged, of another
time, foreign or newer than this program is refused with the remedy in the message (I7): store_rows proves each row,
store_checks the files.

Every transaction stores its number, its turn. Once it is synced the number is noted in a small file beside the store,
without a sync. A start that finds less than was noted lost a transaction that had been on the disk: rot in the last
one, which looks like a torn end, or a disk that lies about syncs.

The log is copied into the database by this object, not by SQLite's own hook, which keeps failures of it to itself.
Rejected: one file per concern (two files can be of different times, D7), a hand-written log (torn tails, D-8).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from proto.errors import DurabilityLost
from proto.invariants import require
from proto.units import ClusterId, InstantNs, WitnessId
from witness.raft.disk import DISK_FAULTS, Database, DatabaseFault, Disk
from witness.raft.posix_disk import as_disk
from witness.raft.snapshot_file import (
    SNAPSHOT_NAME,
    Snapshot,
    Stamp,
    read_snapshot,
    read_snapshot_bytes,
    write_snapshot,
)
from witness.raft.space import Space, SpaceLimits, SpaceWatch
from witness.raft.store_checks import (
    LOCK_NAME,
    NOTE_NAME,
    STORE_NAME,
    WAL_NAME,
    check_database,
    check_note,
    check_standing,
    check_wal,
    note_of,
    refusal,
    take_lock,
)
from witness.raft.store_create import create_store, move_aside
from witness.raft.store_rows import (
    GET_ENTRIES,
    GET_STATE,
    INCARNATION_BYTES,
    MARKS_MAX,
    META_KEY_CHARS_MAX,
    SET_ENTRY,
    SET_STATE,
    STAY_DOWN,
    Entry,
    RaftState,
    RowDamaged,
    StateRow,
    StoreRefused,
    checked_event,
    checked_log,
    checked_marks,
    checked_state,
    digest,
    entry_row,
    event_crc,
    named_row,
    state_row,
)

__all__ = [
    "INCARNATION_BYTES",
    "LOCK_NAME",
    "NOTE_NAME",
    "SNAPSHOT_NAME",
    "STAY_DOWN",
    "STORE_NAME",
    "WAL_NAME",
    "Entry",
    "RaftState",
    "Store",
    "StoreRefused",
    "as_disk",
    "create_store",
    "move_aside",
    "open_store",
]

TRIM_ROWS_PER_COMMIT: Final = 2_000
EVENTS_READ_MAX: Final = 10_000
_ROW_BYTES: Final = 32
"""What SQLite adds to a row, about."""
_PAGES_PER_COMMIT: Final = 2
_PAGES_PER_TRIM: Final = 64


class Store:
    """Owned by one process (lock file). Writes are collected and reach the disk with `commit`."""

    def __init__(
        self,
        disk: Disk,
        database: Database,
        unlock: Callable[[], None],
        identity: Mapping[str, bytes],
        limits: SpaceLimits,
    ) -> None:
        self.disk = disk
        self.directory = disk.directory
        self.cluster_id = ClusterId(identity["cluster"].decode())
        self.witness_id = WitnessId(identity["witness"].decode())
        self.incarnation = identity["incarnation"]
        self._db = database
        self._unlock = unlock
        self._lost: str | None = None
        self._entries: list[tuple[int, int, bytes, int, int]] = []
        self._state: RaftState | None = None
        self._changed: dict[str, bytes] = {}
        self._events: list[tuple[int, bytes]] = []
        self._truncate_from: int | None = None
        self._trim_below = 0
        self._wal_pages = 0
        self._watch = SpaceWatch(disk, SNAPSHOT_NAME, limits)
        self.durable = checked_state(database.execute(GET_STATE))
        self._tip: tuple[int, int] | None = (self.durable.state.last_index, self.durable.chain)
        self._marks = checked_marks(database.execute("SELECT name, value, crc FROM meta"), self.durable)
        check_standing(self._marks)
        self.last_event_seq = int(database.execute("SELECT max(seq) FROM events")[0][0] or 0)
        if self.last_event_seq < self.durable.last_event:
            raise RowDamaged(
                f"the end of the events (ends at {self.last_event_seq}, recorded {self.durable.last_event})"
            )
        self._first_row = int(database.execute("SELECT min(idx) FROM entries")[0][0] or 0)
        check_note(disk, self.incarnation, self.durable.turn)
        self._note = disk.open_note(NOTE_NAME)
        self._note.write(note_of(self.incarnation, self.durable.turn))

    # -- reading ---------------------------------------------------------------------------------------------

    def read_state(self) -> RaftState:
        """Term, vote and the log's end as they are on disk; zeros in a fresh store."""
        with self._reading():
            self.durable = checked_state(self._db.execute(GET_STATE))
        return self.durable.state

    def read_entries(self) -> list[Entry]:
        """All entries, proven one by one, up to the recorded end."""
        self.read_state()
        with self._reading():
            return checked_log(self._db.execute(GET_ENTRIES), self.durable)

    def read_events(self, from_seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Committed events from `from_seq` on, in order; those of the current turn are not among them."""
        with self._reading():
            rows = self._db.execute(
                "SELECT seq, data, crc FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
                (from_seq, min(limit, EVENTS_READ_MAX)),
            )
            return [checked_event(row) for row in rows]

    def get_meta(self, name: str) -> bytes | None:
        """A mark, as it will be after the next commit."""
        self._require_sound()
        return self._marks.get(name)

    def marks(self) -> dict[str, bytes]:
        """All marks, as they will be after the next commit."""
        self._require_sound()
        return dict(self._marks)

    def space(self, now_ns: InstantNs) -> Space:
        """The room on the disk, as of a second ago at most; cheap enough for every turn."""
        self._require_sound()
        try:
            return self._watch.look(now_ns)
        except OSError as error:
            raise self._fail(error) from error

    # -- collecting ------------------------------------------------------------------------------------------

    def add_entry(self, command: bytes, index: int, term: int) -> None:
        self._require_sound()
        row = entry_row(command, index, term, self._chain_at(index - 1))
        self._entries.append(row)
        self._tip = index, row[4]

    def truncate_from(self, index: int) -> None:
        """Entries from `index` on are gone; entries added after this call stay."""
        self._require_sound()
        self._entries = [row for row in self._entries if row[0] < index]
        self._tip = None
        self._truncate_from = index if self._truncate_from is None else min(index, self._truncate_from)

    def trim_below(self, index: int) -> None:
        """Rows below `index` are covered by the snapshot; they go in portions, so that no turn gets long."""
        self._require_sound()
        self._trim_below = max(self._trim_below, index)

    def set_state(self, state: RaftState) -> None:
        self._require_sound()
        self._state = state

    def put_meta(self, name: str, value: bytes) -> None:
        """A small mark under a name of its own, read back whole at every start: few, and no longer than a line."""
        self._require_sound()
        require(0 < len(name) <= META_KEY_CHARS_MAX, "the name of a mark is too long")
        if self._marks.get(name) != value:
            require(name in self._marks or len(self._marks) < MARKS_MAX, f"more than {MARKS_MAX} marks")
            self._marks[name] = self._changed[name] = value

    def append_events(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Events by number. Numbers that are stored already must bring the same bytes (a replay after a restart)."""
        self._require_sound()
        for seq, data in events:
            if seq > self.last_event_seq:
                self._events.append((seq, data))
                self.last_event_seq = seq
                continue
            with self._reading():
                rows = self._db.execute("SELECT seq, data, crc FROM events WHERE seq = ?", (seq,))
                stored = checked_event(rows[0])[1] if rows else None
            if stored is None:
                stored = next((collected for known, collected in self._events if known == seq), None)
            if stored is None:
                self._events.append((seq, data))
            elif stored != data:
                raise self._damaged(f"event {seq} (the replayed log gives another one)")

    # -- writing ---------------------------------------------------------------------------------------------

    @property
    def dirty(self) -> bool:
        """Something waits for `commit`."""
        collected = self._entries or self._state or self._changed or self._events
        return bool(collected) or self._trim_below > self._first_row or self._truncate_from is not None

    def commit(self) -> bool:
        """One durable transaction for all that was collected; False when there was nothing to write."""
        self._require_sound()
        if not self.dirty:
            return False
        try:
            durable = self._next_state()
            self._db.execute("BEGIN IMMEDIATE")
            self._write(durable)
            self._db.execute("COMMIT")
            self._note.write(note_of(self.incarnation, durable.turn))
            self._copy_log()
        except DISK_FAULTS as fault:
            raise self._fail(fault) from fault
        self.durable = durable
        self._entries, self._state, self._changed, self._events = [], None, {}, []
        self._truncate_from = None
        return True

    def save_snapshot(self, data: bytes) -> None:
        """Replaces the snapshot file durably, stamped as this store's at this turn."""
        self._require_sound()
        try:
            write_snapshot(self.disk, data, self._stamp())
        except DurabilityLost as lost:
            self._lost = str(lost)
            raise

    def read_snapshot(self) -> Snapshot | None:
        """The store's own snapshot, None when there is none yet; SnapshotRefused when it is damaged or another's."""
        self._require_sound()
        return read_snapshot(self.disk, self.cluster_id, self._stamp())

    def snapshot_bytes(self) -> bytes | None:
        """The same for a peer: as it came, without the stamp; the caller checks it."""
        self._require_sound()
        return read_snapshot_bytes(self.disk)

    def replaced_log(self, first_index: int) -> None:
        """The log was replaced by a snapshot's end; rows are counted from there."""
        self._first_row = first_index

    def close(self) -> None:
        """What was collected and not committed is gone. All else is durable, so a disk that fails now harms nothing."""
        _close_quietly(self._db)
        self._lost = self._lost or "the store is closed"
        self._unlock()
        self._note.close()

    # -- inside ----------------------------------------------------------------------------------------------

    def _chain_at(self, index: int) -> int:
        """The chain up to this entry, 0 when the log begins after it."""
        if self._tip is not None and self._tip[0] == index:
            return self._tip[1]
        for row in reversed(self._entries):
            if row[0] == index:
                return row[4]
        if self._truncate_from is not None and index >= self._truncate_from:
            return 0
        with self._reading():
            rows = self._db.execute("SELECT chain FROM entries WHERE idx = ?", (index,))
            return int(rows[0][0]) if rows else 0

    def _next_state(self) -> StateRow:
        was, state = self.durable, self._state or self.durable.state
        marks = digest(self._marks) if self._changed else was.marks
        raft_turn = was.raft_turn + (self._state is not None)  # it is set with every change of term, vote or log
        return StateRow(state, was.turn + 1, raft_turn, self._chain_at(state.last_index), marks, self.last_event_seq)

    def _write(self, durable: StateRow) -> None:
        execute, many, row_bytes = self._db.execute, self._db.many, 0
        if self._truncate_from is not None:
            execute("DELETE FROM entries WHERE idx >= ?", (self._truncate_from,))
        if self._entries:
            many(SET_ENTRY, self._entries)
            row_bytes += sum([len(row[2]) + _ROW_BYTES for row in self._entries])
        if self._trim_below > self._first_row:
            below = min(self._trim_below, self._first_row + TRIM_ROWS_PER_COMMIT)
            execute("DELETE FROM entries WHERE idx < ?", (below,))
            self._first_row = below
            self._wal_pages += _PAGES_PER_TRIM
        execute(SET_STATE, state_row(durable))
        if self._changed:
            many("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", [named_row(*item) for item in self._changed.items()])
        if self._events:
            rows = [(seq, data, event_crc(seq, data)) for seq, data in self._events]
            many("INSERT INTO events VALUES (?, ?, ?)", rows)
            row_bytes += self.disk.page_bytes + sum([len(data) + _ROW_BYTES for _, data in self._events])
        self._wal_pages += _PAGES_PER_COMMIT + row_bytes // self.disk.page_bytes

    def _copy_log(self) -> None:
        """SQLite's log into the database, when it has grown: a failure is seen here, and ends the process too."""
        if self._wal_pages >= self.disk.wal_pages:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._wal_pages = 0

    def _stamp(self) -> Stamp:
        return Stamp(self.incarnation, self.durable.turn)

    def _require_sound(self) -> None:
        if self._lost is not None:
            raise DurabilityLost(self._lost)

    def _fail(self, fault: BaseException) -> DurabilityLost:
        self._lost = (
            f"{self.directory / STORE_NAME}: {fault}; the process ends because what it promised may not be on disk: "
            "check the disk and its free space, then start the witness again"
        )
        return DurabilityLost(self._lost)

    def _damaged(self, what: object) -> StoreRefused:
        refused = refusal(self.disk, RowDamaged(what))
        self._lost = str(refused)
        return refused

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        self._require_sound()
        try:
            yield
        except (RowDamaged, DatabaseFault) as fault:
            refused = refusal(self.disk, fault)
            self._lost = str(refused)
            raise refused from fault


def open_store(
    where: Path | Disk, cluster_id: ClusterId, witness_id: WitnessId, limits: SpaceLimits | None = None
) -> Store:
    """The store of exactly this witness, locked for this process; StoreRefused names what is wrong."""
    disk = as_disk(where)
    with contextlib.ExitStack() as undo:
        try:
            if not disk.exists(STORE_NAME):
                raise StoreRefused(
                    f"{disk.directory / STORE_NAME} is missing. A new cluster's witness is initialised once (`witness "
                    f"init`). If this witness had a disk before: {STAY_DOWN}"
                )
            unlock = take_lock(disk)
            undo.callback(unlock)
            check_wal(disk)
            database = disk.open_database(STORE_NAME)
            undo.callback(_close_quietly, database)
            identity = check_database(disk, database, cluster_id, witness_id)
            disk.sync(WAL_NAME)
            disk.sync_names()
            store = Store(disk, database, unlock, identity, limits or SpaceLimits())
        except (RowDamaged, *DISK_FAULTS) as fault:
            raise refusal(disk, fault) from fault
        undo.pop_all()
    return store


def _close_quietly(database: Database) -> None:
    with contextlib.suppress(*DISK_FAULTS):
        database.close()
