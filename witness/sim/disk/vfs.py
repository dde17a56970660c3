"""SQLite's way into a simulated volume: an apsw VFS, so that the store's own SQL, log and recovery run unchanged.

Rule: SQLite sees exactly what a process would see of its page cache; what of it survives is the volume's business. One
VFS serves all disks: the first part of a path is the number of a mount, and a mount that died (crash, kill) goes on
with its orphaned files, so that a connection that is still open can neither read nor harm its successor's.
Nothing raises twice: after a crash the calls of SQLite's own rollback go to the orphans in silence.
"""

from __future__ import annotations

import errno
import itertools
import weakref
from collections.abc import Callable
from typing import Any, Final

import apsw

from witness.sim.disk.faults import CrashPoint, Faults
from witness.sim.disk.volume import SECTOR_BYTES, SimFile, Volume

VFS_NAME: Final = "thirdsite-sim"
_MOUNTS: Final[weakref.WeakValueDictionary[int, Mount]] = weakref.WeakValueDictionary()
_NUMBERS: Final = itertools.count(1)
_POWERSAFE_OVERWRITE: Final = 0x1000
_JULIAN_DAY: Final = 2_440_587.5


class Mount:
    """A volume as one process sees it, from its start to its end."""

    def __init__(self, volume: Volume, faults: Faults, die: Callable[[Mount, str], None]) -> None:
        self.volume = volume
        self.faults = faults
        self.end: str | None = None
        """What ended the process, `kind:name` of the operation at a crash point; None while it lives."""
        self.locked = False
        self._die = die
        self.number = next(_NUMBERS)
        _MOUNTS[self.number] = self

    def guard(self, kind: str, name: str, effect: Callable[..., None], *values: Any) -> None:
        """Asks the faults before an operation, which its caller then performs; CrashPoint and OSError end it."""
        if self.end is not None:
            return
        if self.faults.gate(kind, name):
            if self.faults.rng.random() < 0.5:
                effect(*values)
            self._die(self, f"{kind}:{name}")
            raise CrashPoint(f"{kind}:{name}")

    def write(self, name: str, file: SimFile, data: bytes, offset: int) -> None:
        if self.faults.armed and self.end is None:
            self._guarded_write(name, file, data, offset)
        file.write(data, offset)

    def sync(self, name: str, file: SimFile) -> None:
        if self.faults.armed:
            try:
                self.guard("sync", name, file.sync)
            except OSError:
                file.lose_sync(forget=self.faults.rng.random() < 0.5)
                raise
        file.sync()

    def resize(self, name: str, file: SimFile, size: int) -> None:
        if self.faults.armed:
            self.guard("resize", name, file.resize, size)
        file.resize(size)

    def change(self, kind: str, name: str, names: dict[str, SimFile | None]) -> None:
        if self.faults.armed:
            self.guard(kind, name, self.volume.change, names)
        self.volume.change(names)

    def sync_names(self) -> None:
        if self.faults.armed:
            self.guard("names", "", self.volume.sync_names)
        self.volume.sync_names()

    def _guarded_write(self, name: str, file: SimFile, data: bytes, offset: int) -> None:
        """A write that fails may have written its beginning."""
        faults = self.faults
        try:
            self.guard("write", name, file.write, data, offset)
        except OSError:
            self._write_beginning(file, data, offset, len(data))
            raise
        growth = offset + len(data) - len(file.view)
        if faults.capacity is not None and growth > 0:
            room = faults.capacity - self.volume.used_bytes()
            if growth > room:
                self._write_beginning(file, data, offset, len(data) - growth + max(0, room))
                raise faults.no_space(name)

    def _write_beginning(self, file: SimFile, data: bytes, offset: int, limit: int) -> None:
        if limit > 0:
            file.write(data[: self.faults.rng.randrange(limit)], offset)


class _VfsFile:
    """What apsw calls for one open file; the method names are SQLite's."""

    def __init__(self, mount: Mount, name: str, file: SimFile) -> None:
        self._mount = mount
        self._faults = mount.faults
        self._name = name
        self._file = file

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  # SQLite's name
        if self._faults.armed:
            _translated(self._mount.guard, "read", self._name, nothing)
        return bytes(self._file.view[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  # SQLite's name
        if self._faults.armed:
            _translated(self._mount.write, self._name, self._file, data, offset)
        else:
            self._file.write(data, offset)

    def xSync(self, _flags: int) -> None:  # noqa: N802  # SQLite's name
        _translated(self._mount.sync, self._name, self._file)

    def xTruncate(self, size: int) -> None:  # noqa: N802  # SQLite's name
        _translated(self._mount.resize, self._name, self._file, size)

    def xFileSize(self) -> int:  # noqa: N802  # SQLite's name
        return len(self._file.view)

    def xLock(self, _level: int) -> None:  # noqa: N802  # SQLite's name; the lock file keeps others out
        return

    def xUnlock(self, _level: int) -> None:  # noqa: N802  # SQLite's name
        return

    def xCheckReservedLock(self) -> bool:  # noqa: N802  # SQLite's name
        return False

    def xFileControl(self, _operation: int, _pointer: int) -> bool:  # noqa: N802  # SQLite's name
        return False

    def xSectorSize(self) -> int:  # noqa: N802  # SQLite's name
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:  # noqa: N802  # SQLite's name; as the real disk's body has it
        return _POWERSAFE_OVERWRITE

    def xClose(self) -> None:  # noqa: N802  # SQLite's name
        return


class _Vfs(apsw.VFS):
    """No method falls back to the operating system's VFS."""

    def __init__(self) -> None:
        super().__init__(VFS_NAME, "")

    def xOpen(self, path: Any, flags: list[int]) -> Any:  # noqa: N802  # SQLite's name
        mount, name = _find(path if isinstance(path, str) else path.filename())
        file = mount.volume.names.get(name)
        if file is None:
            if not flags[0] & apsw.SQLITE_OPEN_CREATE:
                raise apsw.CantOpenError(f"{name} is missing")
            file = SimFile()
            _translated(mount.change, "create", name, {name: file})
        flags[1] = flags[0]
        return _VfsFile(mount, name, file)

    def xAccess(self, path: str, _flags: int) -> bool:  # noqa: N802  # SQLite's name
        mount, name = _find(path)
        return name in mount.volume.names

    def xDelete(self, path: str, sync_directory: bool) -> None:  # noqa: N802  # SQLite's name
        mount, name = _find(path)
        if name in mount.volume.names:
            _translated(mount.change, "delete", name, {name: None})
        if sync_directory:
            _translated(mount.sync_names)

    def xFullPathname(self, path: str) -> str:  # noqa: N802  # SQLite's name
        return path

    def xRandomness(self, count: int) -> bytes:  # noqa: N802  # SQLite's name; SQLite seeds itself elsewhere
        return bytes(count)

    def xCurrentTime(self) -> float:  # noqa: N802  # SQLite's name
        return _JULIAN_DAY

    def xCurrentTimeInt64(self) -> int:  # noqa: N802  # SQLite's name
        return int(_JULIAN_DAY * 86_400_000)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802  # SQLite's name
        return microseconds

    def xGetLastError(self) -> tuple[int, str]:  # noqa: N802  # SQLite's name
        return 0, ""


_VFS: Final = _Vfs()
"""Registered as long as this module lives."""


def path_of(mount: Mount, name: str) -> str:
    return f"/{mount.number}/{name}"


def _find(path: str) -> tuple[Mount, str]:
    _, number, name = path.split("/", 2)
    return _MOUNTS[int(number)], name


def nothing() -> None:
    """Reading has no effect that a crash could keep."""


def _translated(operation: Callable[..., None], *values: Any) -> None:
    """Failures in SQLite's own words. A crash looks like any error; the connection's owner turns it back into one."""
    try:
        operation(*values)
    except CrashPoint as crash:
        raise apsw.IOError(f"power failed at {crash}") from None
    except OSError as error:
        kind = apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError
        raise kind(str(error)) from None
