"""What a runner needs around it: guards, exec guards, what a former life left, a clock, tasks that are watched.

The real bodies are in agents/actions/real.py; tests put in-memory ones here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.fencing.base import Guard, StepEnd, StepResult
from proto.clock import Clock
from proto.units import Epoch, GroupId, MemberName


class ExecGuards(Protocol):
    """What holds processes beside the group's own guard: the exec guards of this host
    (agents/fencing/exec_registry.py), and the site's members (agents/members/beside.py).
    """

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None: ...

    async def stop_all(self, group: str, grace_ns: int) -> object:
        """Returns when each is proven down, or what it was given has run out."""

    def fence(self, group: str) -> None: ...

    def running(self, group: str) -> tuple[int, ...]:
        """Process ids of exec guards that say something runs under them."""


@dataclass(frozen=True, slots=True)
class MemberStep:
    """A step that runs on a member; its command is in the member's own configuration."""

    member: MemberName
    group: GroupId
    epoch: Epoch
    step_id: str
    """Equal for each time that the same attempt is asked for: a member begins it once in an epoch."""
    step: str
    undo: bool
    cause: str
    plan: str
    timeout_ms: int


class MemberGuards(Protocol):
    """The members of this site, as plans see them; their end is ExecGuards' business."""

    async def armed(self, group: GroupId, epoch: Epoch) -> None:
        """Until each required member holds the epoch. Raises GuardError after a bounded time."""

    def orderly(self, group: GroupId) -> bool:
        """Of the last end: each said that it is verified down. One that ran out may have left a session open."""

    def still_out(self, group: GroupId) -> str:
        """Which members may hold authority, in words; '' when all are verified down or out of authority."""

    async def run_step(self, step: MemberStep) -> StepResult:
        """Bounded by the step's time-out and a margin, also when the member is not heard."""


class NoMembers:
    """Of a site that has one host."""

    async def armed(self, _group: GroupId, _epoch: Epoch) -> None:
        return

    def orderly(self, _group: GroupId) -> bool:
        return True

    def still_out(self, _group: GroupId) -> str:
        return ""

    async def run_step(self, step: MemberStep) -> StepResult:
        return StepResult(step.step_id, StepEnd.NOT_STARTED, text=f"there is no member {step.member}")


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
    members: MemberGuards = field(default_factory=NoMembers)
    boot_id: str = ""
    incarnation: Callable[[], str] = str
    """Of the agent at this moment, hex; for the journal."""
