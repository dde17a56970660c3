"""How far a campaign is: seeds done and their sum, in a file that a later run goes on from.

Rule: the file is replaced whole (written, synced, renamed) and belongs to one campaign: one command with its options,
one first seed, one version of the code. A result of other code must never be added to this one's. Two runs at once
are refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import agents
import proto
import witness
from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue
from witness.sim.campaign.result import Result
from witness.sim.campaign.total import Total

STATE_BYTES_MAX = 16 * 1024 * 1024
FORMAT = 1
ITS_OWN = {
    "command": "another command or other options",
    "first_seed": "another first seed",
    "code": "another version of the code",
}


def fingerprint(extra: tuple[Path, ...] = ()) -> str:
    """Of all that decides what a schedule does."""
    digest = hashlib.sha256()
    for root in (*(Path(str(package.__file__)).parent for package in (witness, proto, agents)), *extra):
        for path in sorted(root.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{root.name}/{path.relative_to(root)} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]


class Standing:
    """Kept in memory alone when there is no file."""

    def __init__(self, first_seed: int) -> None:
        self.total = Total()
        self._first = self._low = first_seed
        """All seeds below are done."""
        self._above: set[int] = set()

    def ended(self, result: Result) -> None:
        self.total.add(result)
        self._above.add(result.seed)
        while self._low in self._above:
            self._above.discard(self._low)
            self._low += 1

    def left(self, end: int | None) -> Iterator[int]:
        """Seeds that were not done when this began, in order."""
        done, seed = frozenset(self._above), self._low
        while end is None or seed < end:
            if seed not in done:
                yield seed
            seed += 1

    def save(self) -> None:
        """Nothing, without a file."""

    def close(self) -> None:
        """Another run may go on."""


class StoredStanding(Standing):
    def __init__(self, path: Path, command: str, first_seed: int, code: str) -> None:
        super().__init__(first_seed)
        self._path = path
        self._mine = {"format": FORMAT, "command": command, "first_seed": first_seed, "code": code}
        self._lock = _lock(path)
        try:
            if path.exists():
                self._load()
        except BadValue:
            self.close()
            raise

    def _load(self) -> None:
        found = _read(self._path)
        for name, mine in self._mine.items():
            if found.get(name) != mine:
                says = f"belongs to {ITS_OWN.get(name, 'another format')} ({name} {found.get(name)}, here {mine})"
                raise BadValue("--state", str(self._path), says, "name another file, or delete this one to begin anew")
        try:
            self.total = Total.from_json(found["total"])
            self._low, self._above = int(found["done_below"]), set(found["done"])
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(self._path, f"{type(error).__name__}: {error}") from error

    def save(self) -> None:
        content = {
            **self._mine,
            "done_below": self._low,
            "done": sorted(self._above),
            "total": self.total.as_json(),
        }
        write_atomic(self._path, json.dumps(content, indent=1).encode())

    def close(self) -> None:
        os.close(self._lock)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_capped(path, STATE_BYTES_MAX))
    except (ValueError, OSError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(found, dict):
        raise _damaged(path, "is no object")
    return found


def _damaged(path: Path, says: str) -> BadValue:
    return BadValue("--state", str(path), f"cannot be read: {says}", "name another file, or delete this one")


def _lock(path: Path) -> int:
    """Held until the process ends. The file itself is replaced, so another one carries the lock."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        says = f"cannot be written there: {error.strerror}"
        raise BadValue("--state", str(path), says, "name a file in a directory that can be written") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise BadValue("--state", str(path), "is used by a campaign that runs", "wait for it, or end it") from error
    return fd
