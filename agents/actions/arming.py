"""Hands each new deadline to the group's guard and exec guards: the latest wins, none is handed over twice.

Rule: a guard hears of deadlines in the order in which they grew, and of none once its end was asked for. A guard
that refuses or is silent is told about and asked again with the next renewal; its old deadline goes on to count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from agents.actions.parts import ExecGuards
from agents.fencing.base import Guard, GuardError
from proto.timing import LocalDeadlines
from proto.units import Epoch, GroupId


class Arming:
    """Owned by one runner."""

    def __init__(
        self,
        group: GroupId,
        execs: ExecGuards,
        spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        on_trouble: Callable[[str], None],
        on_lacks: Callable[[tuple[str, ...]], None],
    ) -> None:
        self.latest: tuple[Epoch, LocalDeadlines] | None = None
        self._group = group
        self._execs = execs
        self._spawn = spawn
        self._on_trouble = on_trouble
        self._on_lacks = on_lacks
        self._guard: Guard | None = None
        self._armed: tuple[Epoch, LocalDeadlines] | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, epoch: Epoch, deadlines: LocalDeadlines) -> None:
        """A new activation: exec guards may start what waits for it."""
        self.latest = None
        self.extend(epoch, deadlines)

    def adopt(self, guard: Guard, epoch: Epoch, deadlines: LocalDeadlines) -> None:
        """A guard that is armed with just this; exec guards come back by themselves and are told."""
        self.begin(epoch, deadlines)
        self._guard, self._armed = guard, self.latest

    def extend(self, epoch: Epoch, deadlines: LocalDeadlines) -> None:
        if self.latest is not None and (epoch, deadlines.deadline) <= (
            self.latest[0],
            self.latest[1].deadline,
        ):
            return
        self.latest = (epoch, deadlines)
        self._execs.set_deadline(self._group, epoch, deadlines.stop_at, deadlines.kill_at, deadlines.deadline)
        if self._guard is not None and (self._task is None or self._task.done()):
            self._task = self._spawn(self._catch_up(), f"arming {self._group}")

    async def attach(self, guard: Guard) -> None:
        """Arms a new guard with the latest deadline; raises GuardError when it does not take it."""
        self._armed = None
        await self._arm(guard)
        self._guard = guard
        await self._catch_up()

    def detach(self) -> None:
        """Nothing is armed any more; the exec guards' part ends with their stop_all."""
        self._guard = None
        self.latest = None

    async def _arm(self, guard: Guard) -> None:
        if self.latest is None:
            raise GuardError("there is no deadline to arm with")
        epoch, rungs = self.latest
        self._armed = self.latest
        await guard.arm(epoch, rungs.stop_at, rungs.kill_at, rungs.deadline)
        self._on_lacks(guard.lacks)

    async def _catch_up(self) -> None:
        while self._guard is not None and self.latest is not None and self._armed != self.latest:
            try:
                await self._arm(self._guard)
            except GuardError as error:
                if self._guard is not None:
                    self._on_trouble(f"the guard did not take a deadline: {error}")
                return
