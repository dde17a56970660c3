"""A runner with the in-memory guard, simulated time and fakes for what surrounds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from agents.actions.parts import RunnerParts
from agents.actions.plan_journal import PlanJournal
from agents.actions.plans import GroupPlans
from agents.actions.runner import GroupRunner
from agents.core.effects import ExtendDeadline, PlanKind, StartPlan
from agents.fencing.base import Guard, GuardGone, NotProvenDown, Step
from agents.fencing.guard_model import Behaviour
from agents.fencing.memory import MemoryGuard
from agents.settings import StepSpec
from proto.clock import ManualClock
from proto.lease import LeaseConstants
from proto.timing import SiteBudgets, local_deadlines
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, SiteId

G = GroupId("g")
CONSTANTS = LeaseConstants(ttl_ms=10_000, drift_max_ppm=10_000, lock_delay_ms=0)


class FakeExecs:
    def __init__(self) -> None:
        self.deadlines: list[int] = []
        self.stopped = 0
        self.fenced = 0
        self.pids: tuple[int, ...] = ()

    def set_deadline(self, group: str, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        self.deadlines.append(deadline_ns)

    async def stop_all(self, group: str, grace_ns: int) -> object:
        self.stopped += 1
        return ()

    def fence(self, group: str) -> None:
        self.fenced += 1

    def running(self, group: str) -> tuple[int, ...]:
        return self.pids


class FakeCheck:
    name = "port"

    def __init__(self) -> None:
        self.says = ""

    async def still_up(self) -> str:
        return self.says


class World:
    """The runner, a clock that jumps to whatever the guard waits for, and all that was reported."""

    def __init__(self, directory: Path, behave: Callable[[Step], Behaviour], **plans: Any) -> None:
        self.clock = ManualClock()
        self.behave = behave
        self.steps: list[Step] = []
        self.guards: list[MemoryGuard] = []
        self.undo_guards: list[Guard] = []
        self.released: list[Guard] = []
        self.execs = FakeExecs()
        self.check = FakeCheck()
        self.reports: list[tuple[Any, ...]] = []
        self.orderly: dict[int, bool] = {}
        self.leftover_problem = ""
        self.leftovers_ended = 0
        self.start_problem = ""
        self.host_misses: tuple[str, ...] = ()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.tasks: list[asyncio.Task[None]] = []
        shape: dict[str, Any] = {"enforce": True, "activation": (), "deactivation": ()} | plans
        self.runner = GroupRunner(
            GroupPlans(G, SiteId("dc-a"), checks=(self.check,), log_dir=directory, **shape),
            self._parts(),
            self,
            journal=PlanJournal(directory, G),
        )
        self.number = 0

    def _parts(self) -> RunnerParts:
        return RunnerParts(
            start_guard=self._start,
            start_undo_guard=self._start_undo,
            release_guard=self._release,
            end_leftovers=self._end_leftovers,
            execs=self.execs,
            clock=self.clock,
            spawn=self._spawn,
        )

    async def _start(self, _group: GroupId, finished: Epoch) -> Guard:
        await self.may_start.wait()
        if self.start_problem:
            raise GuardGone(self.start_problem)
        self.guards.append(MemoryGuard(self.clock.now, self._behave, finished))
        self.guards[-1].missing = self.host_misses
        return self.guards[-1]

    async def _start_undo(self, group: GroupId, finished: Epoch) -> Guard:
        self.undo_guards.append(await self._start(group, finished))
        return self.undo_guards[-1]

    def _behave(self, step: Step) -> Behaviour:
        self.steps.append(step)
        return self.behave(step)

    async def _release(self, guard: Guard) -> None:
        self.released.append(guard)

    def _end_leftovers(self, _group: GroupId) -> None:
        self.leftovers_ended += 1
        if self.leftover_problem:
            raise NotProvenDown(self.leftover_problem)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=name))
        return self.tasks[-1]

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str, *, orderly: bool = True) -> None:
        self.reports.append(("plan", plan, ok, text))
        self.orderly[plan] = orderly

    def fenced(self, group: GroupId, ok: bool, text: str) -> None:
        self.reports.append(("fenced", ok, text))

    def guard_lost(self, group: GroupId, text: str) -> None:
        self.reports.append(("lost", text))

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        self.reports.append(("lacks", lacks))

    def guard_containment(self, group: GroupId, words: str) -> None:
        self.reports.append(("containment", words))

    def alarm(self, group: GroupId, text: str) -> None:
        self.reports.append(("alarm", text))

    # -- what tests say -----------------------------------------------------------------------------------

    def deadlines(self, ttl_ms: int = 10_000) -> Any:
        at = InstantNs(self.clock.now() + ttl_ms * NS_PER_MS)
        return local_deadlines(at, SiteBudgets(2_500, 1_000))

    def start(self, kind: PlanKind, timeout_ms: int = 5_000) -> int:
        self.number += 1
        self.runner.start_plan(StartPlan(G, self.number, kind, Epoch(7), "takeover", self.deadlines(), timeout_ms))
        return self.number

    def extend(self) -> int:
        deadlines = self.deadlines()
        self.runner.extend(ExtendDeadline(G, Epoch(7), deadlines, CONSTANTS))
        return int(deadlines.deadline)

    def armed(self) -> int | None:
        rungs = self.guards[0].model.authority.rungs
        return rungs.deadline_ns if rungs else None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Lets simulated time jump to whatever a step of the guard waits for, never to its deadline."""
        async with asyncio.timeout(20):
            while not condition():
                for guard in self.guards:
                    steps = [p.ends_ns for p in guard.model._processes if p.ends_ns is not None]
                    if steps and guard.model.down is None:
                        self.clock.advance(max(0, min(steps) - self.clock.now()))
                    guard.advance()
                await asyncio.sleep(0.001)

    async def done(self, plan: int) -> tuple[bool, str]:
        await self.until(lambda: self.ends(plan) != [])
        ((_, _, ok, text),) = self.ends(plan)
        return ok, text

    def plan_tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in self.tasks if task.get_name().startswith(("plan", "fence"))]

    def settled(self) -> bool:
        return all(task.done() for task in self.tasks if task.get_name().startswith("settle"))

    def ends(self, plan: int) -> list[tuple[Any, ...]]:
        return [report for report in self.reports if report[:2] == ("plan", plan)]

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [report for report in self.reports if report[0] == kind]


def well(_step: Step) -> Behaviour:
    return Behaviour()


def daemon(_step: Step) -> Behaviour:
    return Behaviour(leaves_running=True)


ONE = (StepSpec("one", ("/bin/one",), env={"OWN": "1"}),)
TWO = (*ONE, StepSpec("two", ("/bin/two",)))


async def active(world: World) -> None:
    assert (await world.done(world.start(PlanKind.ACTIVATE)))[0]
