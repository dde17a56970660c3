"""The real disk: a directory of the operating system, SQLite from the standard library.

Rule: a file is replaced whole or not at all, and a name lasts only once its directory was synced (D-6, D11). SQLite's
own locks are of the kind that a process loses when it closes *any* handle of the same file, so this body opens a
database file by itself only while no connection to it is open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from witness.raft.disk import (
    ASIDE_MAX,
    ASIDE_PREFIX,
    UNFINISHED,
    Database,
    DatabaseFault,
    Disk,
    DiskBusy,
    FileTooLarge,
    Note,
    Row,
)

_FAULTS: Final = (sqlite3.Error, MemoryError, OverflowError, UnicodeError)
"""What the module raises for a damaged file: besides its own errors, a length that cannot be, or text that is none."""


class PosixDatabase:
    """Implements witness.raft.disk.Database."""

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
        except _FAULTS as fault:
            raise DatabaseFault(str(fault)) from fault

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        try:
            return self._db.execute(statement, values).fetchall()
        except _FAULTS as fault:
            raise DatabaseFault(str(fault)) from fault

    def many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        try:
            self._db.executemany(statement, rows)
        except _FAULTS as fault:
            raise DatabaseFault(str(fault)) from fault

    def close(self) -> None:
        try:
            self._db.close()
        except _FAULTS as fault:
            raise DatabaseFault(str(fault)) from fault


class PosixNote:
    """Implements witness.raft.disk.Note."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        os.pwrite(self._fd, data, 0)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PosixDisk:
    """Implements witness.raft.disk.Disk."""

    page_bytes: Final = 4096
    wal_pages: Final = 1000

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def directory(self) -> Path:
        return self._directory

    def make(self) -> None:
        made = [path for path in (self._directory, *self._directory.parents) if not path.exists()]
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in made:
            _sync(path.parent)

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    def lock(self, name: str) -> Callable[[], None]:
        lock_fd = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_fd)
            raise DiskBusy(errno.EBUSY, "in use by another process", str(self._directory)) from error
        held = [lock_fd]
        return lambda: os.close(held.pop()) if held else None

    def exists(self, name: str) -> bool:
        return (self._directory / name).exists()

    def size(self, name: str) -> int:
        return (self._directory / name).stat().st_size

    def names(self) -> list[str]:
        try:
            return sorted(path.name for path in self._directory.iterdir())
        except FileNotFoundError:
            return []

    def read(self, name: str, bytes_max: int) -> bytes:
        with (self._directory / name).open("rb") as file:
            data = file.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise FileTooLarge(errno.EFBIG, f"larger than {bytes_max} bytes", str(self._directory / name))
        return data

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        with (self._directory / name).open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def replace(self, name: str, data: bytes) -> None:
        unfinished = self._directory / f"{name}{UNFINISHED}"
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._directory / name)
        self.sync_names()

    def publish(self, unfinished: str, name: str) -> None:
        _sync(self._directory / unfinished)
        (self._directory / unfinished).rename(self._directory / name)
        self.sync_names()

    def open_note(self, name: str) -> Note:
        return PosixNote(self._directory / name)

    def remove(self, *names: str) -> None:
        for name in names:
            (self._directory / name).unlink(missing_ok=True)
        self.sync_names()

    def sync(self, name: str) -> None:
        _sync(self._directory / name)

    def sync_names(self) -> None:
        _sync(self._directory)

    def move_aside(self, names: Iterable[str]) -> Path | None:
        there = [name for name in names if self.exists(name)]
        if not there:
            return None
        aside = next(folder for folder in self._asides() if not folder.exists())
        aside.mkdir(mode=0o700)
        for name in there:
            (self._directory / name).rename(aside / name)
            _sync(aside)
            self.sync_names()
        return aside

    def _asides(self) -> Iterable[Path]:
        for number in range(1, ASIDE_MAX + 1):
            yield self._directory / f"{ASIDE_PREFIX}{number}"
        raise FileExistsError(errno.EEXIST, f"has {ASIDE_MAX} folders {ASIDE_PREFIX}N", str(self._directory))

    def free_bytes(self) -> int:
        seen = os.statvfs(self._directory)
        return seen.f_bavail * seen.f_frsize

    def open_database(self, name: str) -> Database:
        return PosixDatabase(self._directory / name)


def _sync(path: Path) -> None:
    file_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file_fd)
    finally:
        os.close(file_fd)


def as_disk(where: Path | Disk) -> Disk:
    """A path stands for the real disk there."""
    return PosixDisk(where) if isinstance(where, Path) else where
