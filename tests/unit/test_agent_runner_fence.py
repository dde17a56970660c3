"""A group's guards and fences: watched from start to end, overtaking plans, going on until they are proven."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from runner_rig import ONE, TWO, G, World, active, daemon, well

from agents.actions.holding import containment_words
from agents.actions.runner import WATCHES_ONLY
from agents.core.effects import Fence, PlanKind
from agents.fencing.base import Containment, Down, DownBy, GuardStatus, Step
from agents.fencing.containment import NOTES, PID_NAMESPACE, PROCESS_GROUP
from agents.fencing.guard_model import Behaviour
from agents.fencing.memory import MemoryGuard
from proto.units import NS_PER_MS


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
    assert all(world.orderly.values())
    assert (world.execs.stopped, world.of("lost")) == (1, [])
    assert world.steps[-1].env["THIRDSITE_PLAN"] == "deactivate-7-2"
    refused, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert (refused, "epoch-too-low" in text) == (False, True), "a finished epoch is never activated again"
    assert len(world.guards) == 2, "a spent guard is never used again"


async def test_a_finished_epoch_is_refused_also_when_no_next_guard_has_started_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard that is started for the activation itself knows the end of the epoch as the dormant one does."""
    world = World(tmp_path, well, activation=ONE)
    monkeypatch.setattr(world.runner._guards, "prepare", lambda: None)
    await active(world)
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0]
    ok, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert (ok, "epoch-too-low" in text) == (False, True)


async def test_the_next_guard_starts_while_dormant_and_is_used(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=ONE)
    assert await world.done(world.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    await world.until(lambda: len(world.guards) == 1)
    assert world.guards[0].model.authority.rungs is None, "it holds nothing"
    await active(world)
    assert len(world.guards) == 1
    assert world.armed() is not None


async def test_what_a_guard_lacks_is_told_when_it_changes_and_the_rungs_are_in_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = ("watchdog /dev/watchdog: is not there",)
    plain = MemoryGuard.status

    async def status(self: MemoryGuard) -> GuardStatus:
        return replace(await plain(self), missing=lacks, ladder=("term", "kill"), privileges={"realtime": False})

    monkeypatch.setattr(MemoryGuard, "status", status)
    world = World(tmp_path, well, activation=ONE)
    await world.done(world.start(PlanKind.VERIFY_DOWN))
    await world.until(lambda: world.of("lacks") != [])
    assert world.runner.status()["ladder"] == ("term", "kill")
    assert world.runner.status()["privileges"] == {"realtime": False}
    world.guards[0].lacks = lacks
    await active(world)
    assert world.of("lacks") == [("lacks", lacks)], "once"
    world.guards[0].lacks = ()
    world.extend()
    await world.until(lambda: len(world.of("lacks")) == 2)
    assert world.of("lacks")[1] == ("lacks", ())


async def test_what_a_dormant_guard_lacks_is_looked_for_again_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.actions.group_guard.LACKING_AGAIN_S", (0.01,))
    world = World(tmp_path, well)
    world.host_misses = ("watchdog /dev/watchdog: there is no such device",)
    await world.done(world.start(PlanKind.VERIFY_DOWN))
    await world.until(lambda: len(world.guards) >= 3)
    assert world.of("lacks") == [("lacks", world.host_misses)], "told once"
    world.host_misses = ()
    await world.until(lambda: world.of("lacks")[-1] == ("lacks", ()))
    kept = len(world.guards)
    assert world.released == world.guards[:-1]
    assert all(guard.model.down is not None for guard in world.guards[:-1])
    await world.done(world.start(PlanKind.ACTIVATE))
    assert len(world.guards) == kept, "the guard that lacks nothing is the one that is armed"
    assert world.guards[-1].model.authority.rungs is not None


async def test_a_plan_waits_for_the_end_of_a_guard_that_lacked_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.actions.group_guard.LACKING_AGAIN_S", (0.01, 60.0))
    world = World(tmp_path, well)
    world.host_misses = ("reset",)
    let_end = asyncio.Event()
    right = MemoryGuard.fence

    async def fence(self: MemoryGuard) -> Down:
        await let_end.wait()
        return await right(self)

    monkeypatch.setattr(MemoryGuard, "fence", fence)
    await world.done(world.start(PlanKind.VERIFY_DOWN))
    await world.until(lambda: world.runner._guards.replacing is not None)
    plan = world.start(PlanKind.ACTIVATE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(world.guards) == 1
    let_end.set()
    assert (await world.done(plan))[0]
    assert world.guards[0].model.down is not None
    assert len(world.guards) == 2


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
    assert list(world.orderly.values()) == [True, False], "whoever releases must wait for the lock delay"


async def test_what_the_deadline_ended_after_its_steps_may_have_left_a_session_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site stood still between its last step and the stop of its guard, and the kernel ended what was left (make sim,
    seed 400621)."""

    async def stop(self: MemoryGuard, _grace_ns: int) -> Down:
        self.crash()
        return Down("deadline: the kernel's timer ended the guard", 0, DownBy.KERNEL)

    world = World(tmp_path, daemon, activation=ONE, deactivation=TWO)
    await active(world)
    monkeypatch.setattr(MemoryGuard, "stop", stop)
    assert await world.done(world.start(PlanKind.DEACTIVATE)) == (True, "verified down")
    assert list(world.orderly.values()) == [True, False]


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
    await world.until(lambda: world.runner._guards._starting is not None)
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
    assert [report[-1] for report in world.reports] == [WATCHES_ONLY] * (len(PlanKind) + 1)
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
    monkeypatch.setattr("agents.actions.group_guard.SPARE_AGAIN_S", (0.01,))
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
