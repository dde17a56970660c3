"""The port to one data directory: everything that the store, the snapshot file and the lock ask of a disk.

Rule: no code of this package but a body of this port touches a file. So the same store runs on a real disk
(witness.raft.posix_disk) and on a simulated one that loses, tears and damages what was not synced
(witness.sim.disk), and a fault that cannot be made on a real disk is made there (docs/adr/0007).

One `Disk` is one directory; names are plain file names in it. What a call promises when it returns:

    replace, publish, remove, move_aside                durable, the directory included
    sync, sync_names                                    durable: the content, the directory
    Database: COMMIT, wal_checkpoint                    durable (WAL, synchronous=FULL)
    everything else                                     nothing beyond the running process

Failures are OSError for files and DatabaseFault for what is in a database, `DISK_FAULTS` together. No call repairs,
retries or makes anything that was not asked for. Rejected: a port of byte streams with a log of our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

Row = tuple[Any, ...]
"""What a database returns, of any type that a damaged file can hold: the reader checks it."""

ASIDE_PREFIX: Final = "aside-"
UNFINISHED: Final = ".tmp"
"""Ends the name of what `replace` writes before it is whole."""
ASIDE_MAX: Final = 1_000


class DatabaseFault(Exception):
    """A statement failed: the file is damaged, full, locked or unreadable. The words are the database's own."""


class FileTooLarge(OSError):
    """A file is larger than its reader accepts."""


class DiskBusy(OSError):
    """Another process holds this directory."""


DISK_FAULTS: Final = (OSError, DatabaseFault)
"""What any call of this port may raise when the disk fails."""


class Database(Protocol):
    """One open SQLite file, of one process. Autocommit: a transaction is what stands between BEGIN and COMMIT."""

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of one statement."""

    def many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """One writing statement for each row."""

    def close(self) -> None:
        """Closing twice is allowed; what was not committed is gone."""


class Note(Protocol):
    """A small file that is overwritten often and never synced."""

    def write(self, data: bytes) -> None:
        """At its beginning. It may be lost, torn or of an earlier time, never of a later one."""

    def close(self) -> None:
        """Closing twice is allowed."""


class Disk(Protocol):
    """One directory. Made by whoever starts a witness and handed to `create_store` and `open_store`."""

    @property
    def directory(self) -> Path:
        """Where it is, for messages only: a simulated disk has nothing there."""

    @property
    def page_bytes(self) -> int:
        """Page size of a database made here; a simulated disk takes small ones, so that little data fills many."""

    @property
    def wal_pages(self) -> int:
        """The write-ahead log is copied into the database when it has grown beyond this many pages."""

    def make(self) -> None:
        """Makes the directory where it is missing, for its owner alone."""

    def random_bytes(self, count: int) -> bytes:
        """For identities: nobody can foresee them; a simulated disk draws them from its seed."""

    def lock(self, name: str) -> Callable[[], None]:
        """Takes the lock file for this process, or raises DiskBusy. The result lets it go; so does a process's end."""

    def exists(self, name: str) -> bool: ...

    def size(self, name: str) -> int:
        """In bytes; FileNotFoundError when it is missing."""

    def names(self) -> list[str]:
        """All names in the directory, sorted; none when the directory is missing."""

    def read(self, name: str, bytes_max: int) -> bytes:
        """A whole file; FileNotFoundError or FileTooLarge instead of a part of one."""

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        """So much of a file, less where it ends before; FileNotFoundError when it is missing."""

    def replace(self, name: str, data: bytes) -> None:
        """The file is this from now on: temporary file, sync, rename, sync of the directory; the old one or the new."""

    def publish(self, unfinished: str, name: str) -> None:
        """Syncs a finished file, renames it over `name` and syncs the directory."""

    def open_note(self, name: str) -> Note:
        """Makes the file when it is missing."""

    def remove(self, *names: str) -> None:
        """Those that are there, durably."""

    def sync(self, name: str) -> None:
        """Syncs the content of a file that others (SQLite) wrote."""

    def sync_names(self) -> None:
        """Syncs the directory: what was created, renamed or removed by others (SQLite) lasts."""

    def move_aside(self, names: Iterable[str]) -> Path | None:
        """Moves those that are there into a new `aside-N` folder, each durably before the next; None when none was.

        Inside of the directory, for it may be a mount point, or its parent another owner's. Nothing is deleted.
        """

    def free_bytes(self) -> int:
        """What this process may still write on the file system."""

    def open_database(self, name: str) -> Database:
        """Opens the file, makes it when it is missing. Pragmas are the opener's, locking_mode=EXCLUSIVE before all
        others: no body shares a write-ahead log between processes.
        """
