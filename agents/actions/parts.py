"""What a runner needs around it: guards, exec guards, what a former life left, a clock, tasks that are watched.

The real bodies are in agents/actions/real.py; tests put in-memory ones here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from agents.fencing.base import Guard
from proto.clock import Clock
from proto.units import Epoch, GroupId


class ExecGuards(Protocol):
    """The exec guards of this host (agents/fencing/exec_registry.py)."""

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None: ...

    async def stop_all(self, group: str, grace_ns: int) -> object: ...

    def fence(self, group: str) -> None: ...

    def running(self, group: str) -> tuple[int, ...]:
        """Process ids of exec guards that say something runs under them."""


class RunnerReports(Protocol):
    """The inputs of the core that answer its effects; may be called from within `start_plan` and `fence`."""

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str, *, orderly: bool = True) -> None:
        """`orderly`: of a deactivation, its steps were done; what they did not end was ended by the guard."""

    def fenced(self, group: GroupId, ok: bool, text: str) -> None: ...

    def guard_lost(self, group: GroupId, text: str) -> None: ...

    def guard_containment(self, group: GroupId, words: str) -> None: ...

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        """What is required of this host and cannot be had, or could not be prolonged; empty when all is well."""

    def alarm(self, group: GroupId, text: str) -> None:
        """Somebody should look; nothing is decided on it."""


@dataclass(frozen=True, slots=True)
class RunnerParts:
    start_guard: Callable[[GroupId, Epoch], Awaitable[Guard]]
    """A ready guard, not armed; every epoch up to the given one is refused by it."""
    start_undo_guard: Callable[[GroupId, Epoch], Awaitable[Guard]]
    """The same for undo commands without a lease: it holds no address, no port, no watchdog and nothing outside."""
    release_guard: Callable[[Guard], Awaitable[None]]
    """Gives back what a guard holds here; only after its end is proven."""
    end_leftovers: Callable[[GroupId], None]
    """Blocking: ends what former guards left and proves it, or raises NotProvenDown."""
    execs: ExecGuards
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
    """A task whose unexpected end ends the process."""
    boot_id: str = ""
    incarnation: Callable[[], str] = str
    """Of the agent at this moment, hex; for the journal."""
