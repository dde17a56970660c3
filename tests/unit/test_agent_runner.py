"""A group's plans: steps in order under an armed guard, answered once, ended only on proof."""

from __future__ import annotations

import asyncio
from pathlib import Path

from runner_rig import ONE, TWO, World, well

from agents.components.spec import ComponentKind, ComponentSpec
from agents.core.effects import PlanKind
from agents.fencing.base import Step
from agents.fencing.guard_model import Behaviour
from agents.settings import StepSpec
from proto.units import NS_PER_MS


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
    ok, text = await world.done(world.start(PlanKind.ACTIVATE, 1_000))
    assert (ok, text) == (False, "not done within 1000 ms, at step 1 of 1: one")
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


class StrayComponent:
    """Up until it is ended."""

    spec = ComponentSpec("db", ComponentKind.DATABASE, down=("/bin/true",))

    def __init__(self) -> None:
        self.up = False
        self.ends = 0

    async def still_up(self) -> str:
        return "it runs" if self.up else ""

    async def end(self) -> str:
        self.up = False
        self.ends += 1
        return ""


async def test_a_component_that_comes_up_while_dormant_is_ended_and_costs_no_guard(tmp_path: Path) -> None:
    """The guard that waits for the next activation is alive and has a record: it must not be taken for a leftover."""
    stray = StrayComponent()
    world = World(tmp_path, well, activation=ONE, components=(stray,))
    assert (await world.done(world.start(PlanKind.VERIFY_DOWN)))[0]
    await world.until(lambda: world.of("containment") != [])
    looks = world.leftovers_ended
    stray.up = True
    world.runner.component_found("db: it runs")
    await world.until(lambda: stray.ends == 1 and world.settled())
    assert world.leftovers_ended == looks
    assert (await world.done(world.start(PlanKind.ACTIVATE)))[0]
    assert len(world.guards) == 1
