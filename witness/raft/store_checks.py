"""What a store's files must be before one row of them is believed, and the words of every refusal.

Rule: checks come before changes. The log is judged before SQLite sees it (wal_check), the format before the tables,
the structure of all pages before anything is written; only then is the log emptied, and its emptiness synced: what
was read from it may be in the cache alone, after a sync that failed in the process before, and a power loss would lay
the log's durable, older pages over the database (D3). The structure is judged by SQLite's own quick_check: it reads
the file once at every start, up to a size; beyond it the ledger's table is left out, whose rows prove themselves when
they are read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Final

from proto.units import ClusterId, WitnessId
from witness.raft.disk import UNFINISHED, Database, DatabaseFault, Disk, DiskBusy
from witness.raft.snapshot_file import SNAPSHOT_NAME
from witness.raft.standing import STANDING_MARK, Standing
from witness.raft.store_rows import (
    FORMAT,
    IDENTITY_NAMES,
    INCARNATION_BYTES,
    STAY_DOWN,
    TABLES,
    RowDamaged,
    StoreRefused,
    checked_named,
)
from witness.raft.wal_check import find_damage

STORE_NAME: Final = "witness.db"
WAL_NAME: Final = f"{STORE_NAME}-wal"
LOCK_NAME: Final = "lock"
NOTE_NAME: Final = "turn"
STORE_FILES: Final = (STORE_NAME, WAL_NAME, f"{STORE_NAME}-journal", SNAPSHOT_NAME, NOTE_NAME)
"""In the order in which they go aside: without the first one nothing is taken for a store."""
WAL_BYTES_MAX: Final = 1024 * 1024 * 1024
WHOLE_CHECK_BYTES_MAX: Final = 512 * 1024 * 1024
"""quick_check takes 0.1 s for 64 MiB from the cache, else the time of reading it; a larger file has a long ledger."""

_NOTE: Final = struct.Struct(">QI")
_PRAGMAS: Final = (
    ("locking_mode=EXCLUSIVE", "exclusive"),
    ("journal_mode=WAL", "wal"),
    ("synchronous=FULL", None),
    ("synchronous", 2),
    ("temp_store=MEMORY", None),
    ("cell_size_check=ON", None),
    ("trusted_schema=OFF", None),
    ("cache_size=-8192", None),
    ("wal_autocheckpoint=0", 0),
)
"""With what SQLite must answer: it ignores what it cannot do."""


def take_lock(disk: Disk) -> Callable[[], None]:
    try:
        return disk.lock(LOCK_NAME)
    except DiskBusy as busy:
        raise StoreRefused(f"{disk.directory} is in use by another process; only one witness may run on it") from busy


def check_wal(disk: Disk) -> None:
    try:
        wal = disk.read(WAL_NAME, WAL_BYTES_MAX)
    except FileNotFoundError:
        return
    damage = find_damage(wal, lambda offset, size: disk.read_part(STORE_NAME, offset, size))
    if damage is not None:
        raise RowDamaged(damage)


def check_database(disk: Disk, database: Database, cluster_id: ClusterId, witness_id: WitnessId) -> dict[str, bytes]:
    """Prepares a connection and returns the identity; afterwards the write-ahead log is empty.

    What a kill or a full disk left of an unfinished snapshot goes: it may be what fills the disk.
    """
    for pragma, wanted in _PRAGMAS:
        answer = database.execute(f"PRAGMA {pragma}")
        if wanted is not None and answer != [(wanted,)]:
            raise DatabaseFault(f"PRAGMA {pragma} gives {answer}")
    _check_format(disk, database)
    found = {(kind, text) for kind, text in database.execute("SELECT type, sql FROM sqlite_schema")}
    if found != {("table", f"CREATE TABLE {table}") for table in TABLES}:
        raise RowDamaged("the list of tables")
    _check_structure(disk, database)
    identity = _identity(disk, database, {"cluster": cluster_id, "witness": witness_id})
    leftover = f"{SNAPSHOT_NAME}{UNFINISHED}"
    if disk.exists(leftover):
        disk.remove(leftover)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # wal_check rests on a log without leftovers
    return identity


def _check_format(disk: Disk, database: Database) -> None:
    """Before all else: another format has other tables."""
    rows = database.execute("SELECT value FROM identity WHERE name = 'format'")
    version = rows[0][0].decode(errors="replace") if rows and type(rows[0][0]) is bytes else "unknown"
    if version != str(FORMAT):
        raise StoreRefused(
            f"{disk.directory / STORE_NAME} has format {version}, this program reads {FORMAT}; run the version that "
            f"wrote it; if it is damaged: {STAY_DOWN}"
        )


def _check_structure(disk: Disk, database: Database) -> None:
    whole = disk.size(STORE_NAME) <= WHOLE_CHECK_BYTES_MAX
    tables = ("identity", "raft_state", "entries", "meta")
    for argument in ("1",) if whole else tables:
        answer = database.execute(f"PRAGMA quick_check({argument})")
        if answer != [("ok",)]:
            raise RowDamaged(f"the structure of the database ({answer[0][0] if answer else 'no answer'})")


def _identity(disk: Disk, database: Database, expected: dict[str, str]) -> dict[str, bytes]:
    found = checked_named("identity", database.execute("SELECT name, value, crc FROM identity"))
    if set(found) != IDENTITY_NAMES or len(found["incarnation"]) != INCARNATION_BYTES:
        raise RowDamaged("the identity (a part of it is missing)")
    for name, value in expected.items():
        have = found[name].decode(errors="replace")
        if have != value:
            raise StoreRefused(
                f"{disk.directory / STORE_NAME} belongs to {name} {have}, not to {value}; check the data directory in "
                "the configuration"
            )
    return found


def check_standing(marks: Mapping[str, bytes]) -> None:
    """Whether it may vote is said, not guessed: a store that says neither is damaged."""
    if marks.get(STANDING_MARK) not in {standing.value.encode() for standing in Standing}:
        raise RowDamaged("the standing (voter or learner)")


def note_of(incarnation: bytes, turn: int) -> bytes:
    return _NOTE.pack(turn, zlib.crc32(incarnation, turn & 0xFFFFFFFF))


def check_note(disk: Disk, incarnation: bytes, turn: int) -> None:
    """A note that fits this disk and says more than the store has proves a loss; any other proves nothing."""
    try:
        data = disk.read(NOTE_NAME, 4096)[: _NOTE.size]
    except FileNotFoundError:
        return
    noted = _NOTE.unpack(data)[0] if len(data) == _NOTE.size else 0
    if noted > turn and note_of(incarnation, noted) == data:
        raise RowDamaged(f"the end of the store (turn {noted} was on the disk, the last one found is {turn})")


_DAMAGED_WORDS: Final = ("is malformed", "is not a database")
"""SQLite's own words for a file whose content is wrong: no mending of the disk brings that back."""


def refusal(disk: Disk, fault: BaseException) -> StoreRefused:
    """The words for what is wrong with a store: damage has one remedy, a disk that does not work another."""
    if isinstance(fault, StoreRefused):
        return fault
    path = disk.directory / STORE_NAME
    if isinstance(fault, RowDamaged):
        return StoreRefused(f"{path}: {fault} is damaged; {STAY_DOWN}")
    if isinstance(fault, DatabaseFault) and any(words in str(fault) for words in _DAMAGED_WORDS):
        return StoreRefused(f"{path} is damaged ({fault}); {STAY_DOWN}")
    if isinstance(fault, PermissionError):
        return StoreRefused(
            f"{path} cannot be used ({fault}): this user has no right to it, which says nothing about the data; run "
            "the command as the user that the witness runs as, or as root"
        )
    return StoreRefused(
        f"{path} cannot be used ({fault}): if its disk is full, read-only or not mounted, mend that and start again; "
        f"else {STAY_DOWN}"
    )
