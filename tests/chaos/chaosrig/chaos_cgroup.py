"""The control groups of a run's hosts: who belongs to a host, froze, starves, or has no memory left.

Membership is a cgroup2 group (a guard makes its own below it, so that nothing of a host is ever missed); limits are
those of the old hierarchy where that has the controller, else of the group itself. A host is in a group of processor
time only while it starves: beside others' processes a group as a whole counts as one. What cannot be had is said by
`missing`, and the faults that need it are not tried.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from agents.fencing import cgroup, kernel_calls

KILL_S = 10.0
OLD = Path("/sys/fs/cgroup")
PERIOD_US = 20_000
QUOTA_US_MIN = 1_000


class HostGroup:
    """Made by the constructor; `remove` takes it away once it is empty."""

    def __init__(self, run: str, host: str, mount: Path) -> None:
        self.path = mount / run / host
        self.path.mkdir(parents=True)
        self._old = {name: OLD / name / run / host for name in ("cpu", "memory") if (OLD / name / "tasks").exists()}
        for path in self._old.values():
            path.mkdir(parents=True)

    @property
    def joins(self) -> list[Path]:
        """A process that writes 0 into each of these belongs to the host, and so does all that it starts."""
        return [path / "cgroup.procs" for path in (self.path, *self._old.values()) if path != self._old.get("cpu")]

    def pids(self) -> set[int]:
        found: set[int] = set()
        for folder, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError):  # a guard's group may go at any moment
                found |= {int(line) for line in (Path(folder) / "cgroup.procs").read_text().split()}
        return found

    def kill(self) -> None:
        """Everything of the host, as when its power fails; returns when all is dead."""
        ends = time.monotonic() + KILL_S
        self.signal(signal.SIGSTOP)
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > ends:
                raise OSError(f"{len(pids)} processes of {self.path.name} survive SIGKILL")
            time.sleep(0.002)  # between two looks

    def signal(self, number: int) -> set[int]:
        """To all of it, what was just being started too. Returns whom it hit."""
        hit: set[int] = set()
        while new := self.pids() - hit:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            hit |= new
        return hit

    def freeze(self, *, frozen: bool) -> None:
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0")

    def frozen(self) -> bool:
        """All of it stands still: freezing takes the kernel a moment."""
        return "frozen 1" in (self.path / "cgroup.events").read_text()

    def starve(self, share: float | None) -> None:
        """That much of one processor for the whole host; None ends it."""
        if "cpu" in self._old:
            quota = -1 if share is None else max(QUOTA_US_MIN, round(PERIOD_US * share))
            (self._old["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._old["cpu"] / "cpu.cfs_quota_us").write_text(str(quota))
            self._move(_own_group("cpu") if share is None else self._old["cpu"])
            return
        quota_new = "max" if share is None else str(max(QUOTA_US_MIN, round(PERIOD_US * share)))
        (self.path / "cpu.max").write_text(f"{quota_new} {PERIOD_US}")

    def _move(self, to: Path) -> None:
        """All of the host; what is started later follows its parent."""
        moved: set[int] = set()
        while new := self.pids() - moved:
            for pid in new:
                with contextlib.suppress(OSError):  # it has ended
                    (to / "cgroup.procs").write_text(str(pid))
            moved |= new

    def squeeze(self, more_bytes: int | None) -> None:
        """So much beyond what is in use now; None ends it."""
        home, use, limit, none = (
            (self._old["memory"], "memory.usage_in_bytes", "memory.limit_in_bytes", "-1")
            if "memory" in self._old
            else (self.path, "memory.current", "memory.max", "max")
        )
        value = none if more_bytes is None else str(int((home / use).read_text()) + more_bytes)
        (home / limit).write_text(value)

    def out_of_memory_kills(self) -> int:
        """How many of the host's processes the kernel has killed for want of memory."""
        old = self._old.get("memory")
        path = self.path / "memory.events" if old is None else old / "memory.oom_control"
        counts = dict(line.split() for line in path.read_text(encoding="ascii").splitlines())
        return int(counts["oom_kill"])

    def missing(self, controller: str) -> str:
        if controller in self._old or (self.path / f"{controller}.max").exists():
            return ""
        return f"no control group with the controller {controller} here"

    def remove(self) -> None:
        """A process that was just killed keeps its group until its last thread has ended: that is waited for."""
        ends = time.monotonic() + KILL_S
        tops = (self.path, *self._old.values())
        while any(top.exists() for top in tops) and time.monotonic() < ends:
            for top in tops:
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
            time.sleep(0.002)  # between two looks
        for top in tops:
            with contextlib.suppress(OSError):
                top.parent.rmdir()  # of the run, once its last host is gone


def _own_group(controller: str) -> Path:
    """Where this process is in the old hierarchy."""
    for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return OLD / controller / path.strip("/")
    return OLD / controller


def cgroup2_mount(spare: Path) -> Path:
    """Where cgroup2 is; mounted at `spare` when it is nowhere (the run's own mount namespace is to take it away)."""
    try:
        return Path(cgroup.mount_point())
    except OSError:
        spare.mkdir()
        kernel_calls.mount("cgroup2", str(spare), "cgroup2", 0)
        return spare
