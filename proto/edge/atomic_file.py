"""A small file is replaced whole or not at all, and is on disk when the call returns.

Write beside it, sync, rename over it, sync the directory: after a power loss at any point a reader finds the old
content or the new, never a mixture and never an empty file. A sync that fails is final (DurabilityLost): the
kernel may have dropped the pages, so trying again would report a success that is none.

Rejected: writing in place (torn by a crash), and an unbounded read (a path may name anything, even a device).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from proto.errors import BadValue, DurabilityLost

PRIVATE_MODE = 0o600


def write_atomic(path: Path, content: bytes, *, mode: int = PRIVATE_MODE) -> None:
    """Replaces `path`; raises DurabilityLost when it cannot vouch for the new content (the old one may stand)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_synced(temporary, content, mode)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DurabilityLost(f"{path} could not be written: {error.strerror or error}") from error


def _write_synced(path: Path, content: bytes, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, mode)
    try:
        os.fchmod(fd, mode)  # the umask has no say in who may read a key
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Makes a created, renamed or removed name durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_capped(path: Path, bytes_max: int) -> bytes:
    """The content of a regular file; BadValue when it is something else or larger. OSError passes as it is."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise BadValue("file", str(path), "must be a regular file", "name another path")
        with os.fdopen(fd, "rb", closefd=False) as file:
            content = file.read(bytes_max + 1)
    finally:
        os.close(fd)
    if len(content) > bytes_max:
        raise BadValue("file", str(path), f"is larger than {bytes_max} bytes", "check what was put there")
    return content
