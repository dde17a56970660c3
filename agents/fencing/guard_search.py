"""Finds the guard that a former process of an agent left, and calls at its door. Changes nothing by itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from agents.fencing import process_table
from agents.fencing.base import GuardGone
from agents.fencing.guard_door import door_path
from agents.fencing.guard_process import GuardProcess
from agents.fencing.record_file import RECORD_BYTES_MAX, BadRecord, GuardRecord, record_path

CONTROLLED = "controlled"
"""The code with which a guard sends a second controller away."""


def found_guard(runtime_dir: Path, group: str) -> GuardProcess:
    """Named by its record: boot, pid and start time. Raises GuardGone."""
    path = Path(record_path(str(runtime_dir), group))
    try:
        record = GuardRecord.from_bytes(path.read_bytes()[:RECORD_BYTES_MAX])
    except (OSError, BadRecord) as error:
        raise GuardGone(f"{path} names no guard: {error}") from None
    if record.boot_id != process_table.boot_id():
        raise GuardGone(f"{path} is of another boot")
    process = GuardProcess.found(record.guard_pid, record.guard_started)
    if process is None:
        raise GuardGone(f"the guard that {path} names is dead")
    return process


def call_guard(runtime_dir: Path, group: str) -> socket.socket:
    """Raises GuardGone when nobody listens."""
    path = door_path(str(runtime_dir), group)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = -1
    try:
        directory = os.open(runtime_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.settimeout(1.0)
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except OSError as error:
        sock.close()
        raise GuardGone(f"{path}: nobody answers: {error.strerror or error}") from None
    finally:
        if directory >= 0:
            os.close(directory)
    return sock
