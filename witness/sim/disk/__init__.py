"""The simulated disk: SQLite on files in memory that lose, tear and damage what a real disk may (docs/adr/0007).

simdisk is the body of the port witness.raft.disk and the place to begin; faults says what can fail; volume keeps what
is synced apart from what is not; vfs is the way of SQLite into a volume. Needs apsw, the optional part `sim`.
"""

from __future__ import annotations

try:
    import apsw  # noqa: F401  # asked for here, so that its absence has one clear message
except ImportError as missing:
    raise ImportError("the simulated disk needs apsw: install thirdsite[sim]") from missing

from witness.sim.disk.faults import CrashPoint, Faults
from witness.sim.disk.simdisk import SimDisk

__all__ = ["CrashPoint", "Faults", "SimDisk"]
