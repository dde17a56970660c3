"""Processes that end by themselves: what their disks explain, and what is a crash.

Rule: a fault of the disk that struck this life, or a damaged disk that a minority may have, excuses an end that says
so; every other end by itself is a finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proto.errors import DurabilityLost
from proto.units import WitnessId
from witness.raft.disk import DISK_FAULTS
from witness.raft.store import StoreRefused
from witness.sim.raft.sim_drive import SimDrive

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.raft.judge import Judge
    from witness.sim.raft.stage import Stage


class Ends:
    """Owned by a world; told of each start of a process, and of each end with an error."""

    def __init__(self, world: Stage, judge: Judge) -> None:
        self._world = world
        self._judge = judge
        self._failures: dict[WitnessId, int] = {}
        """Of the disk, when the process began."""

    def started(self, host: Host) -> None:
        self._failures[host.name] = _failures(host)

    def by_itself(self, host: Host, error: BaseException) -> None:
        self._world.note(str(host.name), f"ends: {type(error).__name__}: {error}")
        struck = _failures(host) > self._failures[host.name] or self._narrow(host)
        if struck and isinstance(error, (DurabilityLost, StoreRefused, *DISK_FAULTS)):
            return
        if not (isinstance(error, StoreRefused) and self._world.damage.refuses(host)):
            self._judge.found("crash", f"{host.name}: {type(error).__name__}: {error}{where_of(error)}")

    def _narrow(self, host: Host) -> bool:
        """A process ends before its disk is quite full."""
        narrow = isinstance(host.drive, SimDrive) and host.drive.narrow()
        if narrow:
            self._world.hit("no-space")
        return narrow


def _failures(host: Host) -> int:
    return host.drive.failures() if isinstance(host.drive, SimDrive) else 0


def where_of(error: BaseException) -> str:
    """File and line, for the words of a finding."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
