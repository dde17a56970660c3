"""`witness backup`: one file, from the witness of this machine, whether it runs or not.

The file appears under its name only when it is whole: it is written beside it with mode 0600, synced, read back and
verified from the first byte to the last, and then given its name, which it takes from nobody.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from proto.clock import SystemClock
from proto.edge.atomic_file import PRIVATE_MODE, sync_directory
from proto.errors import BadValue
from witness.backup.layout import Backup, BackupRefused, chunks, verify
from witness.backup.source import of_stopped
from witness.raft.store import STORE_NAME, StoreRefused, open_store
from witness.runtime.control import BEHIND, LINE_BYTES_MAX, READY, REFUSED, REQUEST, STALLED_S, socket_address
from witness.settings import WitnessSettings

_READ_BYTES: Final = 256 * 1024
STOPPED: Final = (
    "taken from a stopped witness: if the others go on without it, what they did since then is not in this backup"
)
ALONE: Final = (
    "this witness does not reach a majority now, or is not caught up: what the others did is not in this backup; "
    "back up one that `witnessctl status` shows with a quorum"
)
Tell = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Taken:
    backup: Backup
    warning: str
    """What the operator should know of it; empty when all is well."""


def take_backup(settings: WitnessSettings, out: Path, tell: Tell) -> Taken:
    """Raises LocalFault or BadValue, and leaves no file then."""
    if out.exists():
        raise BadValue("--out", str(out), "is there already", "a backup overwrites nothing: choose another name")
    if not (settings.data_dir / STORE_NAME).exists():
        raise BackupRefused(f"{settings.data_dir} has no store: there is nothing to back up")
    unfinished = out.with_name(f".{out.name}.{secrets.token_hex(8)}.tmp")
    source = _Source()
    try:
        with _new_file(unfinished) as file:
            for piece in source.pieces(settings):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        with unfinished.open("rb") as file:
            taken = verify(file, tell)
        try:
            out.hardlink_to(unfinished)  # a rename would replace what came there meanwhile
        except FileExistsError as error:
            raise BadValue("--out", str(out), "is there already", "choose another name") from error
    except OSError as error:
        raise BadValue("--out", str(out), f"cannot be written: {error.strerror or error}", "choose another") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
            sync_directory(out.parent)
    return Taken(taken, source.warning)


def _new_file(path: Path) -> BinaryIO:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_MODE)
    os.fchmod(fd, PRIVATE_MODE)
    return os.fdopen(fd, "wb")


def _knock(directory: Path) -> socket.socket | None:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.settimeout(STALLED_S)
    fd, address = socket_address(directory)
    try:
        door.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        door.close()
        return None
    except OSError as error:
        door.close()
        raise BackupRefused(f"{directory}: the witness that runs there cannot be asked: {error.strerror}") from error
    finally:
        os.close(fd)
    return door


class _Source:
    """From the running witness if there is one, else from its store; `warning` is set on the way."""

    def __init__(self) -> None:
        self.warning = ""

    def pieces(self, settings: WitnessSettings) -> Iterator[bytes]:
        door = _knock(settings.data_dir)
        if door is None:
            self.warning = STOPPED
            yield from self._of_stopped(settings)
            return
        with door:
            yield from self._of_running(door)

    def _of_running(self, door: socket.socket) -> Iterator[bytes]:
        with door.makefile("rb") as answer:
            try:
                door.sendall(REQUEST)
                line = answer.readline(LINE_BYTES_MAX)
            except OSError as error:
                raise BackupRefused(f"the running witness does not answer: {error}") from error
            if line.startswith(REFUSED):
                words = line[len(REFUSED) :].decode(errors="replace").strip()
                raise BackupRefused(f"the running witness refuses: {words}")
            if line not in (READY, BEHIND):
                raise BackupRefused("the running witness ended the connection: look at its log")
            self.warning = ALONE if line == BEHIND else ""
            while piece := _read(answer):
                yield piece

    @staticmethod
    def _of_stopped(settings: WitnessSettings) -> Iterator[bytes]:
        try:
            store = open_store(settings.data_dir, settings.cluster, settings.witness)
        except StoreRefused as refused:
            raise BackupRefused(f"no backup was taken: {refused}") from refused
        try:
            parts = of_stopped(store, SystemClock().read().wall_ms)
            yield from chunks(parts.header, parts.image, parts.events)
        finally:
            store.close()


def _read(answer: BinaryIO) -> bytes:
    try:
        return answer.read(_READ_BYTES)
    except OSError as error:
        raise BackupRefused(f"the running witness stopped in the middle: {error}") from error
