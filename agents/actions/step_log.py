"""Where a step's output goes: one file per step, the one before kept beside it, its end quoted in errors.

A step's daemons write to the same file for as long as they run; what they say at length belongs into their own
logs. Two files per step bound the number, not the size.
"""

from __future__ import annotations

import os
from pathlib import Path

TAIL_BYTES = 2_048
TAIL_LINES = 6
TAIL_CHARS_MAX = 400
DIRECTORY_MODE = 0o750


def fresh_log(directory: Path, name: str) -> Path:
    """The path for a new run; a former run's file becomes `.1`. Raises OSError."""
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    path = directory / f"{name}.log"
    if path.exists():
        path.replace(path.with_suffix(".log.1"))
    return path


def tail(path: Path) -> str:
    """The last lines on one line, printable; '' when there is nothing to read."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = ["".join(char for char in line if char.isprintable()).strip() for line in text.splitlines()]
    return " | ".join([line for line in lines if line][-TAIL_LINES:])[-TAIL_CHARS_MAX:]
