"""What an agent keeps on disk: who it is, and the highest epoch of each group; and that it is the only one.

Rule: the store id is drawn once and never again; a directory that was lost or replaced shows itself by another one.
The locks are held for the life of the process: a second agent on the same state or runtime directory would start
a second guard, so it is refused with the first one's pid.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from agents.fencing.epoch_file import EpochBounds, EpochFile
from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue, LocalFault
from proto.units import TOKEN_BYTES, Epoch, GroupId

STORE_ID_NAME = "store-id"
LOCK_NAME = "agent.lock"
DIRECTORY_MODE = 0o700


class AgentRunsAlready(LocalFault):
    """Another process holds the lock."""


class AgentStore:
    """Made by `open_store`; its calls block and sync."""

    def __init__(self, store_id: bytes, epochs: dict[GroupId, EpochFile], locks: list[int]) -> None:
        self.store_id = store_id
        self._epochs = epochs
        self._locks = locks

    def bounds(self) -> dict[GroupId, tuple[Epoch, Epoch]]:
        """For the core: of each group the bound and the last finished epoch."""
        return {group: (file.bounds.bound, file.bounds.finished) for group, file in self._epochs.items()}

    def store_bounds(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        """Returns when it is on disk; raises DurabilityLost."""
        self._epochs[group].store(EpochBounds(bound, finished))

    def close(self) -> None:
        for lock in self._locks:
            os.close(lock)
        self._locks.clear()


def open_store(state_dir: Path, runtime_dir: Path, groups: Iterable[GroupId]) -> AgentStore:
    """Raises LocalFault with what to do. Creates what is missing."""
    locks: list[int] = []
    try:
        for directory in (state_dir, runtime_dir):
            _make(directory)
            locks.append(_lock(directory))
        epochs = {group: EpochFile(state_dir, group) for group in groups}
        return AgentStore(_store_id(state_dir / STORE_ID_NAME), epochs, locks)
    except BaseException:
        for lock in locks:
            os.close(lock)
        raise


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalFault(
            f"{directory} cannot be made: {error.strerror}: make it, or give the agent the right"
        ) from error


def _lock(directory: Path) -> int:
    path = directory / LOCK_NAME
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LocalFault(
            f"{path} cannot be opened: {error.strerror}: give the agent the right to write there"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with contextlib.closing(os.fdopen(fd, "rb")) as file:
            pid = file.read(16).decode("ascii", "replace").strip() or "unknown"
        raise AgentRunsAlready(
            f"another agent (pid {pid}) uses {directory}: stop it first, or give each agent its own directories"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _store_id(path: Path) -> bytes:
    try:
        text = read_capped(path, 4 * TOKEN_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        store_id = secrets.token_bytes(TOKEN_BYTES)
        write_atomic(path, f"{store_id.hex()}\n".encode())
        return store_id
    except (OSError, BadValue) as error:
        raise LocalFault(f"{path} cannot be read: {error}") from error
    try:
        store_id = bytes.fromhex(text)
    except ValueError:
        store_id = b""
    if len(store_id) != TOKEN_BYTES:
        raise LocalFault(
            f"{path} is damaged: it holds no {2 * TOKEN_BYTES} hex digits. Restore it, or remove it and let an "
            "operator clear the quarantine that the new id brings"
        )
    return store_id
