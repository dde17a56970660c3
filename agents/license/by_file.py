"""A key that is the content of a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from agents.license.own_thread import OwnThread, StillHangs
from agents.license.place import (
    SINK_UNREACHABLE,
    SOURCE_BAD_VALUE,
    SOURCE_UNREACHABLE,
    PlaceFault,
    too_long,
    without_newline,
)
from agents.license.spec import VALUE_BYTES_MAX
from proto.edge.atomic_file import PRIVATE_MODE, read_capped, write_atomic
from proto.errors import BadValue, DurabilityLost

T = TypeVar("T")


class FilePlace:
    """Source and sink. Written whole or not at all; owner and mode stay those of the file before."""

    def __init__(self, path: Path, timeout_ms: int) -> None:
        self._path = path
        self._timeout_s = timeout_ms / 1_000
        self._thread = OwnThread(f"license {path.name}")

    async def read(self) -> bytes | None:
        return await self._bounded(self._read, SOURCE_UNREACHABLE)

    async def write(self, value: bytes) -> None:
        await self._bounded(lambda: self._write(value), SINK_UNREACHABLE)

    async def close(self) -> None:
        """Nothing is held."""

    async def _bounded(self, work: Callable[[], T], code: str) -> T:
        """A file of a network may hang."""
        try:
            return await self._thread.run(work, self._timeout_s)
        except (TimeoutError, StillHangs):
            raise PlaceFault(code, f"{self._path} did not answer in time") from None

    def _read(self) -> bytes | None:
        try:
            return without_newline(read_capped(self._path, VALUE_BYTES_MAX + 2))
        except FileNotFoundError:
            return None
        except BadValue:
            if self._path.is_file():
                raise too_long(VALUE_BYTES_MAX) from None
            raise PlaceFault(SOURCE_BAD_VALUE, f"{self._path} is no regular file") from None
        except OSError as error:
            raise PlaceFault(SOURCE_UNREACHABLE, f"{self._path} cannot be read: {error.strerror}") from None

    def _write(self, value: bytes) -> None:
        try:
            before = self._path.stat()
        except FileNotFoundError:
            before = None
        except OSError as error:
            raise PlaceFault(SINK_UNREACHABLE, f"{self._path} cannot be looked at: {error.strerror}") from None
        try:
            mode = PRIVATE_MODE if before is None else stat.S_IMODE(before.st_mode)
            write_atomic(self._path, value + b"\n", mode=mode)
            if before is not None and os.geteuid() == 0:
                os.chown(self._path, before.st_uid, before.st_gid)
        except (DurabilityLost, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else "it could not be replaced and synced"
            raise PlaceFault(SINK_UNREACHABLE, f"{self._path}: {why}") from None
