"""The real surroundings of the runners: guards as processes, their records, the exec guards' registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agents.actions.parts import RunnerParts
from agents.fencing.base import Guard
from agents.fencing.exec_registry import ExecRegistry
from agents.fencing.guard_client import GuardHandle
from agents.fencing.leftover import end_leftovers
from proto.clock import Clock
from proto.units import Epoch, GroupId

REHEARSAL = "_rehearsal"
"""No group can be called so."""
LEFTOVER_WAIT_S = 5.0


class HostExecGuards:
    """The registry, with what the proof of down asks of it."""

    def __init__(self, registry: ExecRegistry) -> None:
        self._registry = registry
        self.set_deadline = registry.set_deadline
        self.stop_all = registry.stop_all
        self.fence = registry.fence

    def running(self, group: str) -> tuple[int, ...]:
        return tuple(one.pid for one in self._registry.status() if one.group == group and one.running)


class Rehearsal:
    """Tells once per process how processes can be held on this host, by holding none."""

    def __init__(self, runtime_dir: Path) -> None:
        self._runtime_dir = runtime_dir
        self._task: asyncio.Task[str] | None = None

    async def words(self) -> str:
        """Raises GuardError when no guard can be started at all."""
        failed = self._task is not None and self._task.done() and self._task.exception() is not None
        if self._task is None or failed:
            self._task = asyncio.create_task(self._hold_none(), name="rehearsal")
        return await asyncio.shield(self._task)

    async def _hold_none(self) -> str:
        await asyncio.to_thread(end_leftovers, self._runtime_dir, REHEARSAL, LEFTOVER_WAIT_S)
        guard = await GuardHandle.spawn(REHEARSAL, self._runtime_dir)
        words = guard.containment.value + (f" ({guard.note})" if guard.note else "")
        await guard.fence()
        await guard.release()
        return words


def host_parts(
    runtime_dir: Path,
    registry: ExecRegistry,
    clock: Clock,
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
) -> RunnerParts:
    async def start_guard(group: GroupId, finished: Epoch) -> Guard:
        return await GuardHandle.spawn(group, runtime_dir, epoch_finished=finished)

    async def release_guard(guard: Guard) -> None:
        if isinstance(guard, GuardHandle):
            await guard.release()

    return RunnerParts(
        start_guard=start_guard,
        release_guard=release_guard,
        end_leftovers=lambda group: _end(runtime_dir, group),
        rehearse=Rehearsal(runtime_dir).words,
        execs=HostExecGuards(registry),
        clock=clock,
        spawn=spawn,
    )


def _end(runtime_dir: Path, group: GroupId) -> None:
    end_leftovers(runtime_dir, group, LEFTOVER_WAIT_S)
