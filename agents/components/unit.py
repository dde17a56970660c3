"""A systemd service: down when its control group holds nothing but guards that wait for the lease.

A unit whose command is wrapped by `site-agent exec` may be started while dormant: its guard waits, and holds nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agents.components import cgroups
from agents.components.spec import ComponentSpec

SHOWN_PIDS = 8


class UnitComponent:
    """`guards`: the process ids of this group's exec guards, as the kernel told them."""

    def __init__(
        self, spec: ComponentSpec, guards: Callable[[], frozenset[int]], root: Path = cgroups.CGROUP_ROOT
    ) -> None:
        self.spec = spec
        self._guards = guards
        self._root = root

    def processes(self) -> tuple[int, ...]:
        """What counts as the unit running. Raises OSError when that cannot be known."""
        tree = cgroups.hierarchy(self._root)
        if tree is None:
            raise FileNotFoundError(f"no control groups of systemd at {self._root}")
        guards = self._guards() if self.spec.under_exec else frozenset()
        found = [pid for group in cgroups.unit_groups(tree, self.spec.unit) for pid in cgroups.processes(group)]
        return tuple(pid for pid in found if pid not in guards)

    async def still_up(self) -> str:
        try:
            found = await asyncio.to_thread(self.processes)
        except (OSError, ValueError) as error:
            return f"cannot tell whether {self.spec.unit} runs: {error}"
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
        guards = self._guards() if self.spec.under_exec else frozenset()
        for group in () if tree is None else cgroups.unit_groups(tree, self.spec.unit):
            cgroups.kill(group, guards)
