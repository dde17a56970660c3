"""The real surroundings of the runners: guards as processes, their records, the exec guards' registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from agents.actions.guard_setup import undo_guard_options
from agents.actions.parts import ExecGuards, NoMembers, RunnerParts
from agents.fencing.base import Guard
from agents.fencing.exec_registry import ExecRegistry
from agents.fencing.guard_client import GuardHandle
from agents.fencing.leftover import end_leftovers
from agents.fencing.process_table import boot_id
from agents.members.beside import GuardsBeside
from agents.members.desk import MemberDesk
from proto.clock import Clock
from proto.units import Epoch, GroupId

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


def host_parts(
    runtime_dir: Path,
    registry: ExecRegistry,
    clock: Clock,
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
    incarnation: Callable[[], str],
    options: Mapping[GroupId, str],
    desk: MemberDesk | None = None,
) -> RunnerParts:
    """`options`: what each group's guard is told (agents/actions/guard_setup.py). `desk`: of a site with members."""
    execs: ExecGuards = HostExecGuards(registry)

    async def start_guard(group: GroupId, finished: Epoch) -> Guard:
        return await GuardHandle.spawn(group, runtime_dir, epoch_finished=finished, options=options[group])

    async def start_undo_guard(group: GroupId, finished: Epoch) -> Guard:
        bare = undo_guard_options(options[group])
        return await GuardHandle.spawn(group, runtime_dir, epoch_finished=finished, options=bare)

    async def release_guard(guard: Guard) -> None:
        if isinstance(guard, GuardHandle):
            await guard.release()

    return RunnerParts(
        start_guard=start_guard,
        start_undo_guard=start_undo_guard,
        release_guard=release_guard,
        end_leftovers=lambda group: _end(runtime_dir, group),
        execs=execs if desk is None else GuardsBeside(execs, desk),
        members=NoMembers() if desk is None else desk,
        clock=clock,
        spawn=spawn,
        boot_id=boot_id(),
        incarnation=incarnation,
    )


async def start_bare_guard(group: GroupId, runtime_dir: Path, finished: Epoch, options: str) -> GuardHandle:
    """For an undo without a lease beside a guard that is ready for the next epoch: under a name of its own."""
    name = undo_name(group)
    await asyncio.to_thread(end_leftovers, runtime_dir, name, LEFTOVER_WAIT_S)
    return await GuardHandle.spawn(name, runtime_dir, epoch_finished=finished, options=undo_guard_options(options))


def undo_name(group: GroupId) -> str:
    """No group can be called so."""
    return f"{group}.undo"


def _end(runtime_dir: Path, group: GroupId) -> None:
    for name in (group, undo_name(group)):
        end_leftovers(runtime_dir, name, LEFTOVER_WAIT_S)
