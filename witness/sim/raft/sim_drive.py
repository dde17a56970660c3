"""A drive for subjects that run on the simulated disk: what its work costs, and where a bit may rot.

Rule: rot must be noticed, and what the store says it cannot notice is left out: the very last transaction of the
write-ahead log, which looks like a torn one (witness.raft.wal_check).
"""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import NamedTuple

from witness.raft.store import SNAPSHOT_NAME, STORE_NAME, WAL_NAME
from witness.sim.disk import SimDisk

_FRAME = struct.Struct(">6I")
_WAL_HEADER_BYTES = 32
KEPT = frozenset({STORE_NAME, WAL_NAME, SNAPSHOT_NAME})
"""What a start reads; unfinished files are nobody's word."""
NAMES_APART = frozenset({"lock"})
NO_FAULTS = frozenset({"kill", "power loss", "crash point", "lost writes", "torn write", "lost name", "slow operation"})
"""What the disk counts besides its failures and damages."""


class SimDrive:
    """Implements witness.sim.raft.subject.Drive."""

    def __init__(self, disk: SimDisk, sync_ns: int) -> None:
        self.disk = disk
        self.slow_ns = 0
        self._sync_ns = sync_ns
        self._spent_ns = 0
        self._before: Counter[str] = Counter()

    def insert(self, disk: SimDisk) -> None:
        """Another disk in the place of this one; nothing runs on either."""
        self._before += self.disk.faults.hits
        self.disk = disk

    def worked(self) -> None:
        """A transaction was committed."""
        self._spent_ns += self._sync_ns
        if self.slow_ns:
            self.disk.faults.hits["slow operation"] += 1
            self._spent_ns += self.slow_ns

    def quick(self) -> None:
        self.slow_ns = 0

    def process_ended(self) -> None:
        self.disk.kill()

    def power_lost(self, rng: random.Random) -> None:  # noqa: ARG002  # the disk draws from its own
        self.disk.power_loss()

    def spent_ns(self) -> int:
        spent_ns, self._spent_ns = self._spent_ns, 0
        return spent_ns

    def unsynced(self) -> bool:
        return any(name in KEPT for name in self.disk.unsynced())

    def hits(self) -> Counter[str]:
        return self._before + self.disk.faults.hits

    def failures(self) -> int:
        """How often it failed or was damaged so far."""
        return sum(count for kind, count in self.disk.faults.hits.items() if kind not in NO_FAULTS)

    def narrow(self) -> bool:
        """There is little room, or none."""
        return self.disk.faults.capacity is not None

    def calm(self) -> None:
        self.slow_ns = 0
        self.disk.faults.calm()


class Spot(NamedTuple):
    name: str
    size: int
    """Bytes from the start that may rot."""


def synced_bytes(disk: SimDisk) -> list[Spot]:
    spots = []
    for name in disk.names():
        if name not in NAMES_APART:
            content = disk.content(name)
            spots.append(Spot(name, _before_last_transaction(content) if name == WAL_NAME else len(content)))
    return spots


def _before_last_transaction(wal: bytes) -> int:
    if len(wal) < _WAL_HEADER_BYTES:
        return 0
    page_bytes, salts = struct.unpack_from(">8I", wal)[2], struct.unpack_from(">8I", wal)[4:6]
    ends, at = [_WAL_HEADER_BYTES], _WAL_HEADER_BYTES
    while at + _FRAME.size + page_bytes <= len(wal):
        _, database_pages, *found = _FRAME.unpack_from(wal, at)
        at += _FRAME.size + page_bytes
        if tuple(found[:2]) != salts:
            break
        if database_pages:
            ends.append(at)
    return ends[-2] if len(ends) > 1 else 0
