"""The file that lets a later agent find a guard and its init: written and synced before anything may run.

Rule: the record names processes by pid, start time and boot id. It is there exactly while something of the guard
may be alive; the guard takes it away after the verified end. Whoever finds one proves the end or refuses to go on
(agents.fencing.leftover).
"""

from __future__ import annotations

import json
import os

RECORD_VERSION = 1
RECORD_BYTES_MAX = 4_096


class BadRecord(ValueError):
    """A record file that cannot be read as one."""


class GuardRecord:
    """What the file says; start times in clock ticks since boot."""

    __slots__ = ("boot_id", "containment", "epoch", "guard_pid", "guard_started", "init_pid", "init_started")

    def __init__(
        self,
        boot_id: str,
        containment: str,
        guard: tuple[int, int],
        init: tuple[int, int],
        epoch: int,
    ) -> None:
        self.boot_id = boot_id
        self.containment = containment
        self.guard_pid, self.guard_started = guard
        self.init_pid, self.init_started = init
        self.epoch = epoch

    def to_bytes(self) -> bytes:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"version": RECORD_VERSION, **fields}).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> GuardRecord:
        try:
            fields = json.loads(data)
            if fields["version"] != RECORD_VERSION:
                raise BadRecord(f"version {fields['version']!r} is not {RECORD_VERSION}")
            numbers = [fields[name] for name in cls.__slots__ if name not in ("boot_id", "containment")]
            if not all(type(number) is int for number in numbers):
                raise BadRecord("a number is missing")
            return cls(
                str(fields["boot_id"]),
                str(fields["containment"]),
                (fields["guard_pid"], fields["guard_started"]),
                (fields["init_pid"], fields["init_started"]),
                fields["epoch"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadRecord(str(error)) from None


def record_path(runtime_dir: str, group: str) -> str:
    return f"{runtime_dir}/{group}.guard"


def write_atomic(path: str, data: bytes) -> None:
    """Old or new, never half, also after a power loss: temporary file, sync, rename, sync of the directory."""
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(f"{temporary}: only {written} of {len(data)} bytes were written")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_directory(path)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync_directory(path)


def sync_directory(path: str) -> None:
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
