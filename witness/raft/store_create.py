"""The first and the last day of a store: made once, by an explicit command, and put aside, never deleted.

Rule: a store appears whole, by the rename of a finished file, so that a crash in the making leaves none (D-25); it is
never made over, or beside, anything that belongs to another one. Putting it aside begins with the database: without
it nothing is taken for a store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from proto.units import ClusterId, WitnessId
from witness.raft.disk import DISK_FAULTS, Database, Disk
from witness.raft.posix_disk import as_disk
from witness.raft.standing import STANDING_MARK, Standing
from witness.raft.store_checks import STORE_FILES, STORE_NAME, take_lock
from witness.raft.store_rows import (
    FORMAT,
    INCARNATION_BYTES,
    SET_STATE,
    TABLES,
    RaftState,
    StateRow,
    StoreRefused,
    digest,
    named_row,
    state_row,
)

_UNFINISHED: Final = tuple(f"{STORE_NAME[:-3]}.new{end}" for end in ("", "-wal", "-journal"))


def create_store(where: Path | Disk, cluster_id: ClusterId, witness_id: WitnessId, *, learner: bool = False) -> None:
    """The explicit first step of a witness's life; refuses a directory that already has a store.

    `learner`: of a witness that may have voted on another disk before; it votes on this one once that is safe.
    """
    disk = as_disk(where)
    try:
        disk.make()
        there = [name for name in STORE_FILES if disk.exists(name)]
        if there:
            raise StoreRefused(
                f"{disk.directory / there[0]} exists already; it is never overwritten: move it away first"
            )
        disk.remove(*_UNFINISHED)
        database = disk.open_database(_UNFINISHED[0])
        try:
            _fill(database, disk, cluster_id, witness_id, Standing.LEARNER if learner else Standing.VOTER)
        finally:
            database.close()
        disk.publish(_UNFINISHED[0], STORE_NAME)
    except DISK_FAULTS as fault:
        raise StoreRefused(
            f"{disk.directory}: {fault}; no store was made: check that it is a directory that this user may write, "
            "with free space, then run the command again"
        ) from fault


def _fill(database: Database, disk: Disk, cluster_id: ClusterId, witness_id: WitnessId, standing: Standing) -> None:
    for statement in (f"PRAGMA page_size={disk.page_bytes}", "PRAGMA synchronous=FULL", "BEGIN"):
        database.execute(statement)
    for table in TABLES:
        database.execute(f"CREATE TABLE {table}")
    identity = {
        "format": str(FORMAT).encode(),
        "cluster": cluster_id.encode(),
        "witness": witness_id.encode(),
        "incarnation": disk.random_bytes(INCARNATION_BYTES),
    }
    marks = {STANDING_MARK: standing.value.encode()}
    database.many("INSERT INTO identity VALUES (?, ?, ?)", [named_row(*item) for item in identity.items()])
    database.many("INSERT INTO meta VALUES (?, ?, ?)", [named_row(*item) for item in marks.items()])
    database.execute(SET_STATE, state_row(StateRow(RaftState(0, None, 0, 0), 0, 0, 0, digest(marks), 0)))
    database.execute("COMMIT")


def move_aside(where: Path | Disk) -> Path | None:
    """All that a store consists of goes into a new folder beside it, whatever state it is in; None when there is none.

    For `witness readmit`: nothing is deleted, and a store that a process uses is refused. A crash in between leaves
    files that `create_store` refuses and a second call moves.
    """
    disk = as_disk(where)
    if not any(disk.exists(name) for name in STORE_FILES):
        return None
    try:
        unlock = take_lock(disk)
        try:
            return disk.move_aside(STORE_FILES)
        finally:
            unlock()
    except OSError as error:
        raise StoreRefused(f"{disk.directory}: {error}; what is there was not moved, or not all of it") from error
