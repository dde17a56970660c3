"""What a witness keeps on disk: identity, term and vote, log entries, event ledger and small marks, in one SQLite file.

Rule: everything a turn wants to keep goes to disk in one transaction (WAL, synchronous=FULL) before anything leaves
the node; a failed commit is DurabilityLost and ends the process (D-6, D-7, D-8, D3). A store is made only by
`create_store`; `open_store` never makes one, so that an empty disk is noticed instead of voting again (D-25, O6).
Whatever is damaged, foreign or newer than this program is refused with the remedy in the message (I7): the state
row repeats the last entry's place, so that a lost tail of the table is noticed, and every row carries a CRC.
Rejected: one file per concern (two files can be of different times, D7), a hand-written log (torn tails, D-8).
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proto.errors import DurabilityLost, LocalFault
from proto.invariants import require
from proto.units import ClusterId, WitnessId
from witness.raft.disk import DISK_FAULTS, Database, DatabaseFault, Disk, DiskBusy
from witness.raft.posix_disk import PosixDisk
from witness.raft.wal_check import find_damage

FORMAT: Final = 1
STORE_NAME: Final = "witness.db"
WAL_NAME: Final = f"{STORE_NAME}-wal"
WAL_BYTES_MAX: Final = 1024 * 1024 * 1024
UNFINISHED_NAMES: Final = tuple(f"{STORE_NAME[:-3]}.new{end}" for end in ("", "-wal", "-journal"))
LOCK_NAME: Final = "lock"
SNAPSHOT_NAME: Final = "snapshot.bin"
INCARNATION_BYTES: Final = 16
TRIM_ROWS_PER_COMMIT: Final = 2_000
EVENTS_READ_MAX: Final = 10_000
META_KEY_CHARS_MAX: Final = 100

Entry = tuple[bytes, int, int]
"""command, index, term: the engine's own shape."""

_TABLES: Final = (
    "identity (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """raft_state (one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER NOT NULL, voted_for TEXT,
       last_index INTEGER NOT NULL, last_term INTEGER NOT NULL, crc INTEGER NOT NULL)""",
    "entries (idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, command BLOB NOT NULL, crc INTEGER NOT NULL)",
    "events (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "meta (name TEXT PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
)


STAY_DOWN = (
    "it must not vote with this, or with a blank disk in its place: bring the undamaged disk back, or leave this "
    "witness stopped; the others go on deciding while they are a majority"
)
"""The remedy until a witness can be readmitted."""


class StoreRefused(LocalFault):
    """The data directory cannot be used as it is; the message says what to do."""


@dataclass(frozen=True, slots=True)
class RaftState:
    term: int
    voted_for: str | None
    last_index: int
    last_term: int


def entry_crc(command: bytes, index: int, term: int) -> int:
    return zlib.crc32(command, zlib.crc32(struct.pack("<QQ", index, term)))


def _state_crc(state: RaftState) -> int:
    return zlib.crc32(repr((state.term, state.voted_for, state.last_index, state.last_term)).encode())


def _meta_crc(name: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(name.encode()))


class Store:
    """Owned by one process (lock file). Writes are collected and reach the disk with `commit`."""

    def __init__(self, disk: Disk, database: Database, unlock: Callable[[], None]) -> None:
        self.disk = disk
        self.directory = disk.directory
        self._db = database
        self._unlock = unlock
        self._entries: list[tuple[int, int, bytes, int]] = []
        self._state: RaftState | None = None
        self._meta: dict[str, bytes] = {}
        self._events: list[tuple[int, bytes]] = []
        self._truncate_from: int | None = None
        self._trim_below = 0
        identity: dict[str, bytes] = dict(database.execute("SELECT name, value FROM identity"))
        self.cluster_id = ClusterId(bytes(identity["cluster"]).decode())
        self.witness_id = WitnessId(bytes(identity["witness"]).decode())
        self.incarnation = bytes(identity["incarnation"])
        self._last_event = int(database.execute("SELECT max(seq) FROM events")[0][0] or 0)
        self._first_row = int(database.execute("SELECT min(idx) FROM entries")[0][0] or 0)

    # -- reading ---------------------------------------------------------------------------------------------

    @property
    def last_event_seq(self) -> int:
        return self._last_event

    def read_state(self) -> RaftState | None:
        rows = self._db.execute("SELECT term, voted_for, last_index, last_term, crc FROM raft_state")
        if not rows:
            return None
        state = RaftState(*rows[0][:4])
        if _state_crc(state) != rows[0][4]:
            raise self._damaged("the record of term and vote")
        return state

    def read_entries(self) -> list[Entry]:
        """All entries, checked one by one: CRC, unbroken indexes, terms that do not fall, the recorded end."""
        entries: list[Entry] = []
        rows = self._db.execute("SELECT idx, term, command, crc FROM entries ORDER BY idx")
        for index, term, command, crc in rows:
            if entry_crc(command, index, term) != crc:
                raise self._damaged(f"log entry {index}")
            if entries and (index != entries[-1][1] + 1 or term < entries[-1][2]):
                raise self._damaged(f"the log between entries {entries[-1][1]} and {index}")
            entries.append((command, index, term))
        state = self.read_state()
        end = (entries[-1][1], entries[-1][2]) if entries else (0, 0)
        recorded = (state.last_index, state.last_term) if state else (0, 0)
        if end != recorded:
            raise self._damaged(f"the end of the log (ends at {end[0]}, recorded {recorded[0]})")
        return entries

    def read_events(self, from_seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Committed events from `from_seq` on, in order; those of the current turn are not among them."""
        rows = self._db.execute(
            "SELECT seq, data FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
            (from_seq, min(limit, EVENTS_READ_MAX)),
        )
        return [(int(seq), bytes(data)) for seq, data in rows]

    def get_meta(self, name: str) -> bytes | None:
        if name in self._meta:
            return self._meta[name]
        rows = self._db.execute("SELECT value, crc FROM meta WHERE name = ?", (name,))
        if not rows:
            return None
        if _meta_crc(name, rows[0][0]) != rows[0][1]:
            raise self._damaged(f"mark {name}")
        return bytes(rows[0][0])

    # -- collecting ------------------------------------------------------------------------------------------

    def add_entry(self, command: bytes, index: int, term: int) -> None:
        self._entries.append((index, term, command, entry_crc(command, index, term)))

    def truncate_from(self, index: int) -> None:
        """Entries from `index` on are gone; entries added after this call stay."""
        self._entries = [row for row in self._entries if row[0] < index]
        self._truncate_from = index if self._truncate_from is None else min(index, self._truncate_from)

    def trim_below(self, index: int) -> None:
        """Rows below `index` are covered by the snapshot; they go in portions, so that no turn gets long."""
        self._trim_below = max(self._trim_below, index)

    def set_state(self, state: RaftState) -> None:
        self._state = state

    def put_meta(self, name: str, value: bytes) -> None:
        require(0 < len(name) <= META_KEY_CHARS_MAX, "the name of a mark is too long")
        self._meta[name] = value

    def append_events(self, events: Sequence[tuple[int, bytes]]) -> None:
        """Events by number. Numbers that are stored already must bring the same bytes (a replay after a restart)."""
        for seq, data in events:
            if seq > self._last_event:
                self._events.append((seq, data))
                self._last_event = seq
                continue
            rows = self._db.execute("SELECT data FROM events WHERE seq = ?", (seq,))
            stored = rows[0][0] if rows else next((data for known, data in self._events if known == seq), None)
            if stored is None:
                self._events.append((seq, data))
            elif bytes(stored) != data:
                raise self._damaged(f"event {seq} (the replayed log gives another one)")

    def commit(self) -> bool:
        """One durable transaction for all that was collected; False when there was nothing to write."""
        trim = self._trim_below > self._first_row
        dirty = self._entries or self._state or self._meta or self._events or trim
        if not dirty and self._truncate_from is None:
            return False
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._write()
            self._db.execute("COMMIT")
        except DISK_FAULTS as error:
            raise DurabilityLost(
                f"{self.directory / STORE_NAME}: {error}; the process ends because what it promised may not be "
                "on disk: check the disk and its free space, then start the witness again"
            ) from error
        self._entries, self._state, self._meta, self._events = [], None, {}, []
        self._truncate_from = None
        return True

    def _write(self) -> None:
        execute, many = self._db.execute, self._db.many
        if self._truncate_from is not None:
            execute("DELETE FROM entries WHERE idx >= ?", (self._truncate_from,))
        if self._entries:
            many("INSERT OR REPLACE INTO entries (idx, term, command, crc) VALUES (?, ?, ?, ?)", self._entries)
        if self._trim_below > self._first_row:
            below = min(self._trim_below, self._first_row + TRIM_ROWS_PER_COMMIT)
            execute("DELETE FROM entries WHERE idx < ?", (below,))
            self._first_row = below
        if self._state is not None:
            state = self._state
            execute(
                "INSERT OR REPLACE INTO raft_state VALUES (1, ?, ?, ?, ?, ?)",
                (state.term, state.voted_for, state.last_index, state.last_term, _state_crc(state)),
            )
        if self._meta:
            rows = [(name, value, _meta_crc(name, value)) for name, value in self._meta.items()]
            many("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)
        if self._events:
            many("INSERT INTO events VALUES (?, ?)", self._events)

    def replaced_log(self, first_index: int) -> None:
        """The log was replaced by a snapshot's end; rows are counted from there."""
        self._first_row = first_index

    def close(self) -> None:
        self._db.close()
        self._unlock()

    def _damaged(self, what: str) -> StoreRefused:
        return StoreRefused(f"{self.directory / STORE_NAME}: {what} is damaged; {STAY_DOWN}")


def create_store(where: Path | Disk, cluster_id: ClusterId, witness_id: WitnessId) -> None:
    """The explicit first step of a witness's life; refuses a directory that already has a store."""
    disk = as_disk(where)
    disk.make()
    if disk.exists(STORE_NAME) or disk.exists(SNAPSHOT_NAME):
        raise StoreRefused(f"{disk.directory / STORE_NAME} exists already; it is never overwritten: move it away first")
    disk.remove(*UNFINISHED_NAMES)
    database = disk.open_database(UNFINISHED_NAMES[0])
    try:
        for statement in (f"PRAGMA page_size={disk.page_bytes}", "PRAGMA synchronous=FULL", "BEGIN"):
            database.execute(statement)
        for table in _TABLES:
            database.execute(f"CREATE TABLE {table}")
        rows = (
            ("format", str(FORMAT).encode()),
            ("cluster", cluster_id.encode()),
            ("witness", witness_id.encode()),
            ("incarnation", disk.random_bytes(INCARNATION_BYTES)),
        )
        database.many("INSERT INTO identity VALUES (?, ?)", rows)
        database.execute("COMMIT")
    finally:
        database.close()
    disk.publish(UNFINISHED_NAMES[0], STORE_NAME)


def open_store(where: Path | Disk, cluster_id: ClusterId, witness_id: WitnessId) -> Store:
    """The store of exactly this witness, locked for this process; StoreRefused names what is wrong."""
    disk = as_disk(where)
    path = disk.directory / STORE_NAME
    if not disk.exists(STORE_NAME):
        raise StoreRefused(
            f"{path} is missing. A new cluster's witness is initialised once (`witness init`). If this witness had a "
            f"disk before: {STAY_DOWN}"
        )
    with contextlib.ExitStack() as undo:
        unlock = _lock(disk)
        undo.callback(unlock)
        _check_wal(disk)
        try:
            database = disk.open_database(STORE_NAME)
            undo.callback(database.close)
            _configure(disk, database)
            _check_identity(path, database, {"cluster": cluster_id, "witness": witness_id})
            store = Store(disk, database, unlock)
        except DatabaseFault as fault:
            raise StoreRefused(f"{path} cannot be read ({fault}); {STAY_DOWN}") from fault
        disk.sync_names()
        undo.pop_all()
    return store


def as_disk(where: Path | Disk) -> Disk:
    return PosixDisk(where) if isinstance(where, Path) else where


def _lock(disk: Disk) -> Callable[[], None]:
    try:
        return disk.lock(LOCK_NAME)
    except DiskBusy as busy:
        raise StoreRefused(f"{disk.directory} is in use by another process; only one witness may run on it") from busy


def _check_wal(disk: Disk) -> None:
    try:
        wal = disk.read(WAL_NAME, WAL_BYTES_MAX)
    except FileNotFoundError:
        return
    damage = find_damage(wal)
    if damage is not None:
        raise StoreRefused(f"{disk.directory / STORE_NAME}: {damage} is damaged; {STAY_DOWN}")


def _configure(disk: Disk, database: Database) -> None:
    pragmas = (
        "locking_mode=EXCLUSIVE",
        "journal_mode=WAL",
        "synchronous=FULL",
        "cache_size=-8192",
        "temp_store=MEMORY",
    )
    for pragma in (*pragmas, f"wal_autocheckpoint={disk.wal_pages}"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # wal_check rests on a WAL without leftovers


def _check_identity(path: Path, database: Database, expected: dict[str, str]) -> None:
    found: dict[str, bytes] = dict(database.execute("SELECT name, value FROM identity"))
    version = bytes(found.get("format", b"")).decode(errors="replace")
    if version != str(FORMAT):
        raise StoreRefused(
            f"{path} has format {version or 'unknown'}, this program reads {FORMAT}; run the version that wrote it"
        )
    if len(bytes(found.get("incarnation", b""))) != INCARNATION_BYTES:
        raise StoreRefused(f"{path} has no disk incarnation; {STAY_DOWN}")
    for name, value in expected.items():
        have = bytes(found.get(name, b"")).decode(errors="replace")
        if have != value:
            raise StoreRefused(
                f"{path} belongs to {name} {have}, not to {value}; check the data directory in the configuration"
            )
