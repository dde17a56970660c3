"""A group's plans and fences with the in-memory guard: answered once, ended only on proof."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agents.actions.holding import containment_words
from agents.actions.parts import RunnerParts
from agents.actions.plans import GroupPlans
from agents.actions.runner import WATCHES_ONLY, GroupRunner
from agents.core.effects import ExtendDeadline, Fence, PlanKind, StartPlan
from agents.fencing.base import Containment, Guard, GuardGone, GuardStatus, NotProvenDown, Step
from agents.fencing.containment import NOTES, PID_NAMESPACE, PROCESS_GROUP
from agents.fencing.memory import Behaviour, MemoryGuard
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
        self.released: list[Guard] = []
        self.execs = FakeExecs()
        self.check = FakeCheck()
        self.reports: list[tuple[Any, ...]] = []
        self.leftover_problem = ""
        self.start_problem = ""
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.tasks: list[asyncio.Task[None]] = []
        shape: dict[str, Any] = {"enforce": True, "activation": (), "deactivation": ()} | plans
        self.runner = GroupRunner(
            GroupPlans(G, SiteId("dc-a"), checks=(self.check,), log_dir=directory, **shape),
            self._parts(),
            self,
        )
        self.number = 0

    def _parts(self) -> RunnerParts:
        return RunnerParts(
            start_guard=self._start,
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
        return self.guards[-1]

    def _behave(self, step: Step) -> Behaviour:
        self.steps.append(step)
        return self.behave(step)

    async def _release(self, guard: Guard) -> None:
        self.released.append(guard)

    def _end_leftovers(self, _group: GroupId) -> None:
        if self.leftover_problem:
            raise NotProvenDown(self.leftover_problem)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=name))
        return self.tasks[-1]

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str) -> None:
        self.reports.append(("plan", plan, ok, text))

    def fenced(self, group: GroupId, ok: bool, text: str) -> None:
        self.reports.append(("fenced", ok, text))

    def guard_lost(self, group: GroupId, text: str) -> None:
        self.reports.append(("lost", text))

    def guard_containment(self, group: GroupId, words: str) -> None:
        self.reports.append(("containment", words))

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


async def test_verify_down_needs_every_proof(tmp_path: Path) -> None:
    world = World(tmp_path, well)
    assert await world.done(world.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    await world.until(lambda: world.of("containment") == [("containment", "pid-namespace (simulated)")])
    world.check.says = "takes connections"
    assert await world.done(world.start(PlanKind.VERIFY_DOWN, 300)) == (
        False,
        "not down: port: takes connections",
    )
    world.check.says = ""
    world.leftover_problem = "guard is still alive"
    assert await world.done(world.start(PlanKind.VERIFY_DOWN, 300)) == (False, "guard is still alive")
    world.leftover_problem = ""
    world.execs.pids = (4711,)
    ok, text = await world.done(world.start(PlanKind.VERIFY_DOWN, 300))
    assert (ok, "4711" in text) == (False, True)


async def test_steps_run_in_order_under_an_armed_guard(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=TWO)
    plan = world.start(PlanKind.ACTIVATE)
    deadline = world.runner._arming.latest
    assert await world.done(plan) == (True, "active")
    assert [step.argv for step in world.steps] == [("/bin/one",), ("/bin/two",)]
    env = world.steps[0].env
    assert env["OWN"] == "1"
    assert env["THIRDSITE_GROUP"] == "g"
    assert env["THIRDSITE_SITE"] == "dc-a"
    assert env["THIRDSITE_EPOCH"] == "7"
    assert env["THIRDSITE_CAUSE"] == "takeover"
    assert env["THIRDSITE_PLAN"] == "activate-7-1"
    assert deadline is not None
    assert env["THIRDSITE_DEADLINE_BOOTTIME_NS"] == str(deadline[1].deadline) == str(world.armed())
    assert world.execs.deadlines == [deadline[1].deadline]
    assert world.guards[0].model.authority.highest_epoch == 7


async def test_a_failing_step_is_retried_then_told_with_its_last_words(tmp_path: Path) -> None:
    def behave(step: Step) -> Behaviour:
        step.log_path.write_text("connecting\nlicense refused\n")
        return Behaviour(exit_code=3)

    spec = StepSpec("lic", ("/bin/lic",), retries=2, retry_delay_ms=1)
    world = World(tmp_path, behave, activation=(spec, *ONE))
    ok, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert not ok
    assert text == "lic: exit code 3, tried 3 times; it said: connecting | license refused"
    assert [step.step_id for step in world.steps] == ["1-lic-0", "1-lic-1", "1-lic-2"]


async def test_an_activation_that_takes_too_long_is_cancelled(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _step: Behaviour(hangs=True), activation=ONE)
    ok, text = await world.done(world.start(PlanKind.ACTIVATE, 200))
    assert (ok, text) == (False, "not done within 200 ms, at step 1 of 1: one")
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0], "the guard of a failed activation is ended"
    assert world.guards[0].model.down is not None


async def test_a_guard_that_cannot_start_fails_the_plan(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    world.start_problem = "no memory"
    ok, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert (ok, "no memory" in text) == (False, True)
    assert world.steps == []
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0]


async def test_renewals_reach_the_guard_also_while_steps_run(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _step: Behaviour(hangs=True), activation=ONE)
    world.start(PlanKind.ACTIVATE)
    await world.until(lambda: len(world.steps) == 1)
    world.clock.advance(1_000 * NS_PER_MS)
    extended = world.extend()
    await world.until(lambda: world.armed() == extended)
    assert world.execs.deadlines[-1] == extended


async def test_renewals_before_the_guard_is_ready_are_not_lost(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    world.may_start.clear()
    plan = world.start(PlanKind.ACTIVATE)
    await asyncio.sleep(0)
    world.clock.advance(100 * NS_PER_MS)
    extended = world.extend()
    world.may_start.set()
    assert (await world.done(plan))[0]
    assert world.armed() == extended


async def test_a_lost_guard_is_told_once(tmp_path: Path) -> None:
    world = World(tmp_path, daemon, activation=ONE)
    await active(world)
    world.guards[0].crash()
    await world.until(lambda: world.of("lost") != [])
    world.runner.fence(Fence(G, "guard lost"))
    await world.until(lambda: world.of("fenced") != [])
    assert world.of("lost") == [("lost", "the guard died")]
    assert world.of("fenced") == [("fenced", True, "nothing runs")]
    assert world.released == world.guards[:1]


async def test_deactivation_ends_everything_and_loses_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, daemon, activation=ONE, deactivation=TWO)
    await active(world)
    assert await world.done(world.start(PlanKind.DEACTIVATE)) == (True, "verified down")
    assert world.guards[0].model.down is not None
    assert not world.guards[0].model.alive
    assert (world.execs.stopped, world.of("lost")) == (1, [])
    assert world.steps[-1].env["THIRDSITE_PLAN"] == "deactivate-7-2"
    refused, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert (refused, "epoch-too-low" in text) == (False, True), "a finished epoch is never activated again"
    assert len(world.guards) == 2, "a spent guard is never used again"


async def test_the_next_guard_starts_while_dormant_and_is_used(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    assert await world.done(world.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    await world.until(lambda: len(world.guards) == 1)
    assert world.guards[0].model.authority.rungs is None, "it holds nothing"
    await active(world)
    assert len(world.guards) == 1
    assert world.armed() is not None


async def test_a_dormant_guard_that_dies_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    await world.done(world.start(PlanKind.VERIFY_DOWN))
    await world.until(lambda: len(world.guards) == 1)
    world.guards[0].crash()
    await world.until(lambda: len(world.guards) == 2)
    assert world.of("lost") == []
    assert world.released == world.guards[:1]
    await active(world)
    assert world.guards[1].model.authority.rungs is not None


async def test_a_failed_deactivation_step_delays_nothing(tmp_path: Path) -> None:
    def behave(step: Step) -> Behaviour:
        return Behaviour(exit_code=1) if step.argv == ("/bin/one",) else Behaviour(leaves_running=True)

    world = World(tmp_path, behave, activation=(TWO[1],), deactivation=ONE)
    await active(world)
    ok, text = await world.done(world.start(PlanKind.DEACTIVATE))
    assert (ok, text) == (True, "verified down; a step failed: one: exit code 1")


async def test_deactivation_without_proof_is_no_deactivation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.actions.runner.PROOF_S", 0.1)
    world = World(tmp_path, daemon, activation=ONE)
    await active(world)
    world.check.says = "takes connections"
    ok, text = await world.done(world.start(PlanKind.DEACTIVATE))
    assert (ok, text) == (False, "not down: port: takes connections")


async def test_a_fence_overtakes_a_plan_which_is_answered_once(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _step: Behaviour(hangs=True, ignores_term=True), activation=ONE)
    plan = world.start(PlanKind.ACTIVATE)
    await world.until(lambda: len(world.steps) == 1)
    world.runner.fence(Fence(G, "the lease ran out"))
    assert world.ends(plan) == [("plan", plan, False, "cut short by a fence: the lease ran out")]
    await world.until(lambda: world.of("fenced") != [])
    await asyncio.gather(*world.plan_tasks(), return_exceptions=True)
    assert len(world.ends(plan)) == 1
    assert world.of("fenced") == [("fenced", True, "nothing runs")]
    assert not world.guards[0].model.alive
    assert world.of("lost") == []


async def test_a_fence_waits_for_a_guard_that_is_being_started(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    world.may_start.clear()
    world.start(PlanKind.ACTIVATE)
    await asyncio.sleep(0)
    world.runner.fence(Fence(G, "revoked"))
    await asyncio.sleep(0.01)  # the fence has this long to say too much
    assert world.of("fenced") == []
    world.may_start.set()
    await world.until(lambda: world.of("fenced") != [])
    assert world.guards[0].model.down is not None
    assert world.steps == []


async def test_a_fence_goes_on_until_it_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.actions.runner.PROOF_S", 0.05)
    world = World(tmp_path, daemon, activation=ONE)
    await active(world)
    world.leftover_problem = "its init is still there"
    world.runner.fence(Fence(G, "x"))
    world.runner.fence(Fence(G, "x again"))
    await world.until(lambda: len(world.of("fenced")) >= 2)
    assert all(report == ("fenced", False, "its init is still there") for report in world.of("fenced"))
    world.leftover_problem = ""
    await world.until(lambda: world.of("fenced")[-1][1])
    await asyncio.gather(*world.plan_tasks(), return_exceptions=True)
    assert [report[1] for report in world.of("fenced")].count(True) == 1


async def test_a_group_that_is_only_watched_is_never_touched(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE, enforce=False)
    for kind in PlanKind:
        world.start(kind)
    world.runner.fence(Fence(G, "x"))
    world.extend()
    assert [report[-1] for report in world.reports] == [WATCHES_ONLY] * 4
    assert (world.guards, world.tasks, world.execs.fenced, world.execs.deadlines) == ([], [], 0, [])


async def test_renewals_after_the_end_was_asked_arm_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, daemon, activation=ONE)
    await active(world)
    before = world.armed()
    world.runner.fence(Fence(G, "x"))
    world.clock.advance(NS_PER_MS)
    world.extend()
    await world.until(lambda: world.of("fenced") != [])
    assert world.armed() == before
    assert len(world.execs.deadlines) == 1


async def test_no_guard_is_started_beside_a_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.actions.runner.PROOF_S", 0.05)
    monkeypatch.setattr("agents.actions.runner.SPARE_AGAIN_S", (0.01,))
    world = World(tmp_path, well, activation=ONE)
    world.start_problem = "no memory"
    assert (await world.done(world.start(PlanKind.VERIFY_DOWN)))[0]
    await world.until(lambda: len(world.of("containment")) >= 2)
    world.leftover_problem = "its init is still there"
    world.runner.fence(Fence(G, "x"))
    world.start_problem = ""
    await world.until(lambda: len(world.of("fenced")) >= 3)
    assert world.guards == []
    world.leftover_problem = ""
    await world.until(lambda: world.of("fenced")[-1][1] and len(world.guards) == 1)


def test_the_strongest_holding_needs_no_words() -> None:
    def words(kind: Containment, note: str) -> str:
        return containment_words(GuardStatus("dormant", kind, note, 0, None, None, None, ()))

    whole = NOTES[PID_NAMESPACE]
    assert words(Containment.PID_NAMESPACE, whole) == "pid-namespace"
    assert words(Containment.PID_NAMESPACE, f"{whole}; no own /proc") == "pid-namespace (no own /proc)"
    assert "weaker" in words(Containment.PROCESS_GROUP, NOTES[PROCESS_GROUP])
