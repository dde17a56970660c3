"""A systemd service: down when its control group holds nothing but guards.

Rule: a unit whose command is wrapped by `site-agent exec` may be started while dormant: its guard waits, and holds
nothing. A guard is known by how it was started, connected to the agent or not, because what it runs is another process
and counts by itself: a namespace that runs something shows more than guards.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from agents.components import cgroups
from agents.components.base import CANNOT_TELL
from agents.components.spec import ComponentSpec

SHOWN_PIDS = 8
CMDLINE_BYTES_MAX = 4_096
GUARD_ENTRY = "guard_main.py"


class UnitComponent:
    """`root` and `proc` are the kernel's, or a test's."""

    def __init__(self, spec: ComponentSpec, root: Path = cgroups.CGROUP_ROOT, proc: Path = Path("/proc")) -> None:
        self.spec = spec
        self._root = root
        self._proc = proc

    def processes(self) -> tuple[int, ...]:
        """What counts as the unit running. Raises OSError when that cannot be known."""
        tree = cgroups.hierarchy(self._root)
        if tree is None:
            raise FileNotFoundError(f"no control groups of systemd at {self._root}")
        found = [pid for group in cgroups.unit_groups(tree, self.spec.unit) for pid in cgroups.processes(group)]
        return tuple(pid for pid in found if not (self.spec.under_exec and self._is_guard(pid)))

    def _is_guard(self, pid: int) -> bool:
        try:
            with (self._proc / str(pid) / "cmdline").open("rb") as file:
                words = file.read(CMDLINE_BYTES_MAX).decode("utf-8", "replace").split("\0")
        except OSError:
            return False
        entries = [number for number, word in enumerate(words) if word.rpartition("/")[2] == GUARD_ENTRY]
        return bool(entries) and words[entries[0] + 1 : entries[0] + 2] == ["exec"]

    async def still_up(self) -> str:
        try:
            found = await asyncio.to_thread(self.processes)
        except (OSError, ValueError) as error:
            return f"{CANNOT_TELL} whether {self.spec.unit} runs: {error}"
        if not found:
            return ""
        return f"{self.spec.unit} runs: pids {', '.join(map(str, found[:SHOWN_PIDS]))}"

    async def end(self) -> str:
        try:
            await asyncio.to_thread(self._kill)
        except (OSError, ValueError) as error:
            return f"{self.spec.unit} cannot be killed: {error}"
        return ""

    def _kill(self) -> None:
        tree = cgroups.hierarchy(self._root)
        for group in () if tree is None else cgroups.unit_groups(tree, self.spec.unit):
            guards = [pid for pid in cgroups.processes(group) if self.spec.under_exec and self._is_guard(pid)]
            cgroups.kill(group, guards)
