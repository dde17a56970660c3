"""Clocks and syncs at the edge of a host's processes, through `chaos_edge.c`; without a C compiler there is none."""

from __future__ import annotations

import mmap
import shutil
import subprocess
import time
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
BYTES = 64
WALL, SLEPT, GAINED, RATE, SINCE, SYNC_MS, SYNC_ERRORS = range(7)
BUILD_S = 60.0
PPM = 1_000_000


def build(directory: Path) -> Path | None:
    """The library, or None where no compiler is."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = directory / "edge.so"
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True, timeout=BUILD_S)
    return library


class Edge:
    """Of one host. Every change is one number in memory that all its processes see at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(BYTES))
        with path.open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), BYTES)).cast("q")

    def wall(self, shift_ns: int) -> None:
        self._cells[WALL] = shift_ns

    def slept(self, span_ns: int) -> None:
        """As long as the host was frozen, at most: MONOTONIC goes on where it stood. To be called before it thaws."""
        self._cells[SLEPT] += span_ns

    def rate(self, ppm: int) -> None:
        """From now on; what was gained until now stays."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        gained = (now - self._cells[SINCE]) * self._cells[RATE] // PPM if self._cells[RATE] else 0
        self._cells[RATE] = 0
        self._cells[GAINED] += gained
        self._cells[SINCE] = now
        self._cells[RATE] = ppm

    def slow_syncs(self, span_ms: int) -> None:
        self._cells[SYNC_MS] = span_ms

    def failing_syncs(self, count: int) -> None:
        """The next so many syncs of any process of the host say EIO; the one after them works again."""
        self._cells[SYNC_ERRORS] = count
