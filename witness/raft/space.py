"""How much room the disk has, in three words that a node can act on before SQLite meets a full disk half-way.

    OK        above both thresholds
    LOW       the node takes and acknowledges no more log entries; votes, marks and snapshots still fit
    CRITICAL  what one turn may write might not fit any more: the node ends, by its own will and between two turns

Intuition: votes are small and keep the cluster alive, entries are large and make the disk fuller, and a snapshot is
what makes room again, so entries stop first. A turn is written twice, to the log and later to the database, so that
CRITICAL is more than twice what a turn may hold. Leaving LOW takes a quarter more than entering it, or a disk at the
threshold would flap with each snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from proto.invariants import require
from proto.units import NS_PER_S, InstantNs
from witness.raft.disk import Disk

SPACE_CRITICAL_BYTES: Final = 48 * 1024 * 1024
"""Twice a turn of 8 MiB with SQLite's overhead, and a write-ahead log that was not copied yet."""
SPACE_LOW_BYTES: Final = 192 * 1024 * 1024
LOOK_EVERY_NS: Final = NS_PER_S


class Verdict(Enum):
    OK = "ok"
    LOW = "low"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class SpaceLimits:
    low_bytes: int = SPACE_LOW_BYTES
    critical_bytes: int = SPACE_CRITICAL_BYTES

    def __post_init__(self) -> None:
        require(self.critical_bytes <= self.low_bytes, f"critical {self.critical_bytes} above low {self.low_bytes}")


@dataclass(frozen=True, slots=True)
class Space:
    free_bytes: int
    verdict: Verdict
    critical_bytes: int = SPACE_CRITICAL_BYTES

    def fits(self, size: int) -> bool:
        """So many bytes more leave room for turns."""
        return self.free_bytes - size >= self.critical_bytes


class SpaceWatch:
    """Asks the disk at most once a second."""

    def __init__(self, disk: Disk, snapshot_name: str, limits: SpaceLimits) -> None:
        self._disk = disk
        self._snapshot_name = snapshot_name
        self._limits = limits
        self._looked_ns: int | None = None
        self._seen = Space(0, Verdict.OK)

    def look(self, now_ns: InstantNs) -> Space:
        """The room as of a second ago at most; OSError when the disk does not say."""
        if self._looked_ns is None or not 0 <= now_ns - self._looked_ns < LOOK_EVERY_NS:
            self._looked_ns = now_ns
            free_bytes = self._disk.free_bytes()
            self._seen = Space(free_bytes, self._judge(free_bytes), self._limits.critical_bytes)
        return self._seen

    def _judge(self, free_bytes: int) -> Verdict:
        """A snapshot is written beside its predecessor and may be larger: room for two of them belongs to LOW."""
        limits = self._limits
        if free_bytes < limits.critical_bytes:
            return Verdict.CRITICAL
        low_bytes = max(limits.low_bytes, limits.critical_bytes + 2 * self._snapshot_bytes())
        if self._seen.verdict is not Verdict.OK:
            low_bytes += low_bytes // 4
        return Verdict.LOW if free_bytes < low_bytes else Verdict.OK

    def _snapshot_bytes(self) -> int:
        try:
            return self._disk.size(self._snapshot_name)
        except FileNotFoundError:
            return 0
