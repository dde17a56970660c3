"""A data directory in memory whose power can fail at any operation: the second body of witness.raft.disk.

For whoever runs stores on it:

    disk = SimDisk(random.Random(seed), label="w1")
    create_store(disk, CLUSTER, W1)             # or blank.clone(rng): copies a fresh store in some 10 us
    store = open_store(disk, CLUSTER, W1)
    disk.faults.crash_in(17)                    # the 17th operation raises CrashPoint, then the disk is as after
    ...                                         # a power loss: drop the store and the node, open the store again
    disk.power_loss(); disk.kill()              # the same between operations; `kill` ends the process alone

After CrashPoint, `power_loss` or `kill` the old store is dead: whatever it does raises CrashPoint. The files are
the next process's at once, and the lock is free. `faults` arms everything else and counts what struck (`faults.hits`).
All randomness comes from the generator that was handed in, so a seed replays; only the salts of SQLite's log differ,
and nothing that is read depends on them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import apsw

from witness.raft.disk import (
    ASIDE_MAX,
    ASIDE_PREFIX,
    UNFINISHED,
    Database,
    DatabaseFault,
    DiskBusy,
    FileTooLarge,
    Note,
    Row,
)
from witness.sim.disk.faults import CrashPoint, Faults
from witness.sim.disk.vfs import VFS_NAME, Mount, nothing, path_of
from witness.sim.disk.volume import SimFile, Volume

FREE_BYTES_UNLIMITED = 1 << 40
_FAULTS = (apsw.Error, MemoryError, OverflowError, UnicodeError)


class SimDatabase:
    """Implements witness.raft.disk.Database."""

    def __init__(self, mount: Mount, name: str) -> None:
        self.mount = mount
        try:
            self._db = apsw.Connection(path_of(mount, name), vfs=VFS_NAME)
        except _FAULTS as fault:
            raise self._fault(fault) from fault

    def execute(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        if self.mount.end is not None:
            raise CrashPoint(self.mount.end)
        try:
            return self._db.execute(statement, values).fetchall()
        except _FAULTS as fault:
            raise self._fault(fault) from fault

    def many(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        if self.mount.end is not None:
            raise CrashPoint(self.mount.end)
        try:
            self._db.executemany(statement, rows)
        except _FAULTS as fault:
            raise self._fault(fault) from fault

    def close(self) -> None:
        """Of a dead process: in silence, and without the work that a living one would do."""
        try:
            if self.mount.end is not None:
                self._db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._db.close()
        except apsw.ConnectionClosedError:
            return
        except _FAULTS as fault:
            raise self._fault(fault) from fault

    def __del__(self) -> None:
        """Dropped with its store: as at the end of a process, the files stay as they are and nobody hears an error."""
        db = getattr(self, "_db", None)
        if db is not None:
            with contextlib.suppress(Exception, CrashPoint):
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                db.close()

    def _fault(self, fault: BaseException) -> BaseException:
        return DatabaseFault(str(fault)) if self.mount.end is None else CrashPoint(self.mount.end)


class SimNote:
    """Implements witness.raft.disk.Note."""

    def __init__(self, mount: Mount, name: str, file: SimFile) -> None:
        self._mount = mount
        self._name = name
        self._file = file

    def write(self, data: bytes) -> None:
        self._mount.write(self._name, self._file, data, 0)

    def close(self) -> None:
        """Nothing is held."""


class SimDisk:
    """Implements witness.raft.disk.Disk."""

    def __init__(self, rng: random.Random, label: str = "disk", *, page_bytes: int = 1024, wal_pages: int = 24) -> None:
        self.page_bytes = page_bytes
        self.wal_pages = wal_pages
        self.faults = Faults(rng)
        self._rng = rng
        self._label = label
        self._open: list[weakref.ref[SimDatabase]] = []
        """Weakly: through SQLite a connection holds its mount, and so this disk, where no collector can see it."""
        self._mount = Mount(Volume(), self.faults, self._died)

    # -- the port --------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        return Path(f"sim:{self._label}")

    def make(self) -> None:
        """A volume is always there."""

    def random_bytes(self, count: int) -> bytes:
        return self._rng.randbytes(count)

    def lock(self, name: str) -> Callable[[], None]:
        mount = self._mount
        if mount.locked:
            raise DiskBusy(errno.EBUSY, "in use by another process", str(self.directory))
        if name not in mount.volume.names:
            mount.change("create", name, {name: SimFile()})
        mount.locked = True

        def unlock() -> None:
            mount.locked = False

        return unlock

    def exists(self, name: str) -> bool:
        return name in self._mount.volume.names

    def size(self, name: str) -> int:
        return len(self._file(name).view)

    def names(self) -> list[str]:
        return sorted({name.split("/", 1)[0] for name in self._mount.volume.names})

    def read(self, name: str, bytes_max: int) -> bytes:
        file = self._file(name)
        if self.faults.armed:
            self._mount.guard("read", name, nothing)
        if len(file.view) > bytes_max:
            raise FileTooLarge(errno.EFBIG, f"larger than {bytes_max} bytes", str(self.directory / name))
        return bytes(file.view)

    def read_part(self, name: str, offset: int, size: int) -> bytes:
        file = self._file(name)
        if self.faults.armed:
            self._mount.guard("read", name, nothing)
        return bytes(file.view[offset : offset + size])

    def replace(self, name: str, data: bytes) -> None:
        mount, unfinished = self._mount, f"{name}{UNFINISHED}"
        file = SimFile()
        mount.change("create", unfinished, {unfinished: file})
        mount.write(unfinished, file, data, 0)
        self.publish(unfinished, name)

    def publish(self, unfinished: str, name: str) -> None:
        mount, file = self._mount, self._file(unfinished)
        mount.sync(unfinished, file)
        mount.change("rename", name, {unfinished: None, name: file})
        mount.sync_names()

    def open_note(self, name: str) -> Note:
        file = self._mount.volume.names.get(name)
        if file is None:
            file = SimFile()
            self._mount.change("create", name, {name: file})
        return SimNote(self._mount, name, file)

    def remove(self, *names: str) -> None:
        for name in names:
            if self.exists(name):
                self._mount.change("delete", name, {name: None})
        self._mount.sync_names()

    def sync(self, name: str) -> None:
        self._mount.sync(name, self._file(name))

    def sync_names(self) -> None:
        self._mount.sync_names()

    def move_aside(self, names: Iterable[str]) -> Path | None:
        there = [name for name in names if self.exists(name)]
        if not there:
            return None
        taken = self.names()
        aside = next((f"{ASIDE_PREFIX}{n}" for n in range(1, ASIDE_MAX + 1) if f"{ASIDE_PREFIX}{n}" not in taken), None)
        if aside is None:
            raise FileExistsError(errno.EEXIST, f"has {ASIDE_MAX} folders {ASIDE_PREFIX}N", str(self.directory))
        for name in there:
            self._mount.change("rename", name, {name: None, f"{aside}/{name}": self._file(name)})
            self._mount.sync_names()
        return self.directory / aside

    def free_bytes(self) -> int:
        capacity = self.faults.capacity
        return FREE_BYTES_UNLIMITED if capacity is None else max(0, capacity - self.used_bytes())

    def open_database(self, name: str) -> Database:
        alive = []
        for known in self._open:
            former = known()
            if former is not None and former.mount.end is not None:
                former.close()
            elif former is not None:
                alive.append(known)
        database = SimDatabase(self._mount, name)
        self._open = [*alive, weakref.ref(database)]
        return database

    # -- the power -------------------------------------------------------------------------------------------

    def power_loss(self) -> None:
        """The machine stops now: what was not synced is lost, kept or torn."""
        self.faults.hits["power loss"] += 1
        self._died(self._mount, "power loss")

    def kill(self) -> None:
        """The process stops now: what it wrote is there, synced or not, and can be lost by a later power loss."""
        self.faults.hits["kill"] += 1
        self._mount.end = "kill"
        self._remount(self._mount.volume.copy())

    def clone(self, rng: random.Random, label: str | None = None) -> SimDisk:
        """Another disk with the same content as after a kill, healthy, with a generator of its own.

        A fresh store is made once and cloned for each run; a clone that runs beside its original is a copied disk (O4).
        """
        twin = SimDisk(rng, label or self._label, page_bytes=self.page_bytes, wal_pages=self.wal_pages)
        twin._remount(self._mount.volume.copy())
        return twin

    # -- what goes wrong with what lies still ----------------------------------------------------------------

    def used_bytes(self) -> int:
        return self._mount.volume.used_bytes()

    def unsynced(self) -> list[str]:
        """Names whose writes or place a loss of power might take back."""
        return self._mount.volume.unsynced()

    def content(self, name: str) -> bytes:
        """What a process would read; no fault strikes here."""
        return bytes(self._file(name).view)

    def put(self, name: str, data: bytes) -> None:
        """The file is this, durably, by an outside hand: an empty one, a torn one, one of another time (D7, D8)."""
        self.faults.hits["empty file" if not data else "foreign file"] += 1
        volume = self._mount.volume
        volume.change({name: SimFile(data)})
        volume.sync_names()

    def lose(self, name: str) -> None:
        """The file is missing, durably (D8)."""
        self._file(name)
        self.faults.hits["missing file"] += 1
        volume = self._mount.volume
        volume.change({name: None})
        volume.sync_names()

    def flip_bit(self, name: str | None = None, at: int | None = None, bit: int | None = None) -> tuple[str, int, int]:
        """One bit of what lies on the disk is another (D6); what is not given is drawn. Returns file, byte and bit."""
        files = {known: file for known, file in self._mount.volume.names.items() if file.view}
        if name is None:
            name = self._rng.choice(sorted(files))
        at = self._rng.randrange(len(files[name].view)) if at is None else at
        bit = self._rng.randrange(8) if bit is None else bit
        files[name].flip(at, bit)
        self.faults.hits["bit flip"] += 1
        return name, at, bit

    # -- inside ----------------------------------------------------------------------------------------------

    def _file(self, name: str) -> SimFile:
        file = self._mount.volume.names.get(name)
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.directory / name))
        return file

    def _died(self, mount: Mount, end: str) -> None:
        mount.end = end
        self._remount(mount.volume.after_power_loss(self._rng, self.faults.hits))

    def _remount(self, volume: Volume) -> None:
        self._mount = Mount(volume, self.faults, self._died)
