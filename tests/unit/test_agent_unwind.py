"""Activations that do not succeed are taken back in reverse order, wherever they were cut; others are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_rig import G, World, daemon, well

from agents.actions.plan_journal import PlanJournal
from agents.core.effects import Fence, PlanKind, StartPlan
from agents.core.plan_progress import PlanEnd, PlanHeader, StepInput, StepMark
from agents.fencing.base import Step, StepEnd, StepResult
from agents.fencing.guard_model import Behaviour
from agents.fencing.memory import MemoryGuard
from agents.settings import StepSpec
from proto.units import NS_PER_MS, Epoch

THREE = tuple(StepSpec(name, (f"/do/{name}",), undo=(f"/undo/{name}",)) for name in ("a", "b", "c"))
STOP = (StepSpec("stop", ("/do/stop",)),)


def commands(world: World) -> list[str]:
    return [step.argv[0] for step in world.steps]


def fails(*programs: str) -> Callable[[Step], Behaviour]:
    return lambda step: Behaviour(exit_code=1 if step.argv[0] in programs else 0)


async def test_a_failed_activation_is_taken_back_in_reverse_before_its_guard_is_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, fails("/do/b"), activation=THREE, deactivation=STOP)
    assert not (await world.done(world.start(PlanKind.ACTIVATE)))[0]
    plan = world.start(PlanKind.DEACTIVATE)
    assert await world.done(plan) == (True, "verified down")
    assert commands(world) == ["/do/a", "/do/b", "/undo/b", "/undo/a", "/do/stop"]
    undo = world.steps[2].env
    assert (undo["THIRDSITE_CAUSE"], undo["THIRDSITE_PLAN"], undo["THIRDSITE_EPOCH"]) == ("unwind", "undo-7-1", "7")
    assert world.orderly[plan]
    assert not (tmp_path / "g.plan").exists()


async def test_nothing_of_a_successful_activation_is_taken_back(tmp_path: Path) -> None:
    world = World(tmp_path, well, activation=THREE, deactivation=STOP)
    assert (await world.done(world.start(PlanKind.ACTIVATE)))[0]
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0]
    assert commands(world) == ["/do/a", "/do/b", "/do/c", "/do/stop"]


async def test_what_a_fence_cut_short_is_taken_back_after_the_proof_in_a_guard_of_its_own(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        lambda step: Behaviour(hangs=step.argv[0] == "/do/b"),
        activation=THREE,
    )
    world.start(PlanKind.ACTIVATE)
    await world.until(lambda: "/do/b" in commands(world))
    world.runner.fence(Fence(G, "the lease ran out"))
    await world.until(lambda: world.of("fenced") != [])
    assert world.of("fenced") == [("fenced", True, "nothing runs")]
    assert commands(world) == ["/do/a", "/do/b", "/undo/b", "/undo/a"]
    first, second = world.guards[:2]
    assert first.model.down is not None
    assert world.undo_guards == [second], "it has no lease, so it may hold no address and no port"
    assert second.model.down is not None, "the guard of the undo commands is ended before the fence is told"
    assert world.steps[1].step_id not in second.model.ended
    assert "2" not in {step.env["THIRDSITE_EPOCH"] for step in world.steps}


async def test_an_undo_that_fails_is_retried_then_told_and_delays_nothing(tmp_path: Path) -> None:
    flaky = (StepSpec("a", ("/do/a",), undo=("/undo/a",), retries=1, retry_delay_ms=1), *THREE[1:])
    world = World(tmp_path, fails("/do/b", "/undo/a"), activation=flaky)
    await world.done(world.start(PlanKind.ACTIVATE))
    plan = world.start(PlanKind.DEACTIVATE)
    ok, text = await world.done(plan)
    assert (ok, "not taken back: a: exit code 1, tried 2 times" in text) == (True, True)
    assert commands(world) == ["/do/a", "/do/b", "/undo/b", "/undo/a", "/undo/a"]
    ((_, told),) = world.of("alarm")
    assert "do it by hand: a: exit code 1" in told
    assert not world.orderly[plan], "a license may be in use still: the lock delay is waited"


async def test_an_undo_that_takes_longer_than_all_may_does_not_keep_a_fence_from_its_end(tmp_path: Path) -> None:
    stubborn = (StepSpec("a", ("/do/a",), undo=("/undo/a",), retries=100), StepSpec("b", ("/do/b",), undo=("/undo/b",)))

    def behave(step: Step) -> Behaviour:
        if step.argv[0] == "/undo/b":
            return Behaviour(takes_ns=61_000 * NS_PER_MS, exit_code=1)
        return Behaviour(hangs=step.argv[0] == "/do/b")

    world = World(tmp_path, behave, activation=stubborn)
    world.start(PlanKind.ACTIVATE, 60_000)
    await world.until(lambda: "/do/b" in commands(world))
    world.runner.fence(Fence(G, "the lease ran out"))
    await world.until(lambda: world.of("fenced") != [])
    assert world.of("fenced") == [("fenced", True, "nothing runs")]
    ((_, told),) = world.of("alarm")
    assert "do it by hand: b: exit code 1; a: no time was left for it" in told


async def test_an_undo_with_many_retries_ends_with_the_time_for_all(tmp_path: Path) -> None:
    """Alone they would outlive the guard that they run in, again and again, and the fence would never be proven."""
    stubborn = (StepSpec("a", ("/do/a",), undo=("/undo/a",), retries=100, retry_delay_ms=1),)

    def behave(step: Step) -> Behaviour:
        return (
            Behaviour(takes_ns=4_000 * NS_PER_MS, exit_code=1) if step.argv[0] == "/undo/a" else Behaviour(hangs=True)
        )

    world = World(tmp_path, behave, activation=stubborn)
    world.start(PlanKind.ACTIVATE)
    await world.until(lambda: "/do/a" in commands(world))
    world.runner.fence(Fence(G, "the lease ran out"))
    await world.until(lambda: world.of("fenced") != [])
    assert world.of("fenced") == [("fenced", True, "nothing runs")]
    ((_, told),) = world.of("alarm")
    assert "do it by hand: a: exit code 1, tried 15 times" in told


async def test_a_journal_that_cannot_be_read_has_everything_taken_back(tmp_path: Path) -> None:
    (tmp_path / "g.plan").write_text("rot\n")
    world = World(tmp_path, well, activation=THREE)
    assert await world.done(world.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    assert commands(world) == ["/undo/c", "/undo/b", "/undo/a"]
    assert "g.plan" in world.of("alarm")[0][1]
    assert not (tmp_path / "g.plan").exists()
    assert (await world.done(world.start(PlanKind.VERIFY_DOWN)))[0]
    assert len(world.steps) == 3


async def test_a_step_does_not_start_when_its_begin_cannot_be_noted(tmp_path: Path) -> None:
    def disk_fails(step: Step) -> Behaviour:
        (tmp_path / "g.plan").unlink(missing_ok=True)
        return well(step)

    world = World(tmp_path, disk_fails, activation=THREE, deactivation=STOP)
    ok, text = await world.done(world.start(PlanKind.ACTIVATE))
    assert (ok, "could not be extended" in text) == (False, True)
    assert commands(world) == ["/do/a"]
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0], "a stop goes on without the journal"
    assert commands(world)[-1] == "/do/stop"


# -- a former agent's plan ----------------------------------------------------------------------------------


def header(kind: PlanKind = PlanKind.ACTIVATE, *names: str) -> PlanHeader:
    return PlanHeader(1, kind, Epoch(7), "takeover", "ab" * 16, "boot", 5, names or ("a", "b", "c"))


def journal(tmp_path: Path, *marks: StepMark | PlanEnd, kind: PlanKind = PlanKind.ACTIVATE) -> None:
    former = PlanJournal(tmp_path, G)
    former.begin(header(kind, *(("stop",) if kind is PlanKind.DEACTIVATE else ())))
    for mark in marks:
        former.note(mark)


def at(name: str, *inputs: StepInput) -> list[StepMark]:
    return [StepMark(name, one, 0) for one in inputs]


BEGIN, SUCCEED, FAIL = StepInput.BEGIN, StepInput.SUCCEED, StepInput.FAIL


@pytest.mark.parametrize(
    ("marks", "undone"),
    [
        ([], []),
        (at("a", BEGIN), ["/undo/a"]),
        (at("a", BEGIN, SUCCEED), ["/undo/a"]),
        (at("a", BEGIN, SUCCEED) + at("b", BEGIN), ["/undo/b", "/undo/a"]),
        (at("a", BEGIN, SUCCEED) + at("b", BEGIN, FAIL), ["/undo/b", "/undo/a"]),
        ([*at("a", BEGIN, SUCCEED), *at("b", BEGIN, FAIL), PlanEnd.FAILED], ["/undo/b", "/undo/a"]),
        ([*at("a", BEGIN, FAIL), PlanEnd.FAILED, *at("a", StepInput.UNDO)], ["/undo/a"]),
        ([*at("a", BEGIN, FAIL), PlanEnd.FAILED, *at("a", StepInput.UNDO, StepInput.UNDO_DONE)], []),
        ([*at("a", BEGIN, SUCCEED), PlanEnd.SUCCEEDED], []),
    ],
)
async def test_a_cold_start_takes_back_what_a_crash_left_at_any_point(
    tmp_path: Path, marks: list[StepMark | PlanEnd], undone: list[str]
) -> None:
    """FAULTS A1: the agent died between any two marks and its guard with it."""
    journal(tmp_path, *marks)
    world = World(tmp_path, well, activation=THREE)
    assert await world.done(world.start(PlanKind.VERIFY_DOWN)) == (True, "nothing runs")
    assert commands(world) == undone
    assert not (tmp_path / "g.plan").exists()
    assert PlanJournal(tmp_path, G).progress is None


def resume(world: World, kind: PlanKind = PlanKind.ACTIVATE, plan: int = 1) -> int:
    world.runner.start_plan(StartPlan(G, plan, kind, Epoch(7), "takeover", world.deadlines(), 5_000, resumed=True))
    world.number = plan
    return plan


@pytest.mark.parametrize(
    ("marks", "runs"),
    [
        ([], ["/do/a", "/do/b", "/do/c"]),
        (at("a", BEGIN), ["/do/a", "/do/b", "/do/c"]),
        (at("a", BEGIN, SUCCEED), ["/do/b", "/do/c"]),
        (at("a", BEGIN, SUCCEED) + at("b", BEGIN), ["/do/b", "/do/c"]),
        (at("a", BEGIN, SUCCEED) + at("b", BEGIN, SUCCEED) + at("c", BEGIN, SUCCEED), []),
    ],
)
async def test_a_resumed_activation_goes_on_at_the_first_step_that_is_not_done(
    tmp_path: Path, marks: list[StepMark], runs: list[str]
) -> None:
    journal(tmp_path, *marks)
    world = World(tmp_path, well, activation=THREE)
    assert await world.done(resume(world)) == (True, "active")
    assert commands(world) == runs
    progress = PlanJournal(tmp_path, G).progress
    assert progress is not None
    assert progress.end is PlanEnd.SUCCEEDED


async def test_how_a_step_of_a_former_agent_ended_is_asked_for_and_not_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard outlived its agent; half a second before, a database was started by this very step."""
    asked: list[str] = []

    async def outcome(_self: MemoryGuard, step_id: str) -> StepResult:
        asked.append(step_id)
        return StepResult(step_id, StepEnd.EXITED, exit_code=0)

    monkeypatch.setattr(MemoryGuard, "outcome", outcome)
    journal(tmp_path, *at("a", BEGIN, SUCCEED), *at("b", BEGIN))
    world = World(tmp_path, well, activation=THREE)
    assert await world.done(resume(world)) == (True, "active")
    assert asked == ["1-b-0"]
    assert commands(world) == ["/do/c"]


async def test_a_plan_whose_steps_changed_is_not_resumed_but_taken_back(tmp_path: Path) -> None:
    journal(tmp_path, *at("a", BEGIN, SUCCEED))
    world = World(tmp_path, well, activation=(THREE[0], THREE[2]))
    ok, text = await world.done(resume(world))
    assert (ok, "steps are others now" in text) == (False, True)
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0]
    assert commands(world) == ["/undo/a"]


async def test_a_crash_between_a_steps_failure_and_the_plans_is_a_failed_plan_and_taken_back(tmp_path: Path) -> None:
    journal(tmp_path, *at("a", BEGIN, SUCCEED), *at("b", BEGIN, FAIL))
    world = World(tmp_path, well, activation=THREE)
    ok, text = await world.done(resume(world))
    assert (ok, "a step failed" in text) == (False, True)
    assert (await world.done(world.start(PlanKind.DEACTIVATE)))[0]
    assert commands(world) == ["/undo/b", "/undo/a"]


async def test_a_deactivation_whose_step_had_failed_goes_on_to_its_end(tmp_path: Path) -> None:
    journal(tmp_path, *at("stop", BEGIN, FAIL), kind=PlanKind.DEACTIVATE)
    world = World(tmp_path, well, activation=THREE, deactivation=STOP)
    assert (await world.done(resume(world, PlanKind.DEACTIVATE)))[0]
    assert commands(world) == []


async def test_a_resumed_deactivation_skips_what_is_done(tmp_path: Path) -> None:
    journal(tmp_path, *at("stop", BEGIN, SUCCEED), kind=PlanKind.DEACTIVATE)
    world = World(tmp_path, well, activation=THREE, deactivation=STOP)
    assert await world.done(resume(world, PlanKind.DEACTIVATE)) == (True, "verified down")
    assert commands(world) == []


# -- the lease's end ------------------------------------------------------------------------------------------


async def test_a_step_is_not_begun_with_less_left_than_it_needs(tmp_path: Path) -> None:
    """It waits for a renewal, and when none comes it has failed without having run."""
    slow = (StepSpec("slow", ("/do/slow",), timeout_ms=9_000, needs_ms=6_000),)
    world = World(tmp_path, well, activation=slow)
    plan = world.start(PlanKind.ACTIVATE)
    await world.until(lambda: world.guards != [])
    world.clock.advance(2_000 * NS_PER_MS)  # of ten seconds 7.5 are left before the stop; then 5.5
    await asyncio.sleep(0)
    world.extend()
    assert (await world.done(plan))[0]
    waiting = World(tmp_path / "other", well, activation=slow)
    (tmp_path / "other").mkdir()
    plan = waiting.start(PlanKind.ACTIVATE)
    waiting.clock.advance(2_000 * NS_PER_MS)
    await waiting.until(lambda: "waits for a renewal" in str(waiting.runner.status()["plan"]))
    assert waiting.steps == []
    waiting.clock.advance(6_000 * NS_PER_MS)
    ok, text = await waiting.done(plan)
    assert (ok, "not begun: it needs 6000 ms" in text) == (False, True)
    assert waiting.steps == []


async def test_a_lease_that_runs_out_ends_the_platform_by_the_guards_term_without_the_steps(tmp_path: Path) -> None:
    """Both are due at the same instant, and a guard begins nothing in its end (docs/operating/fencing.md)."""
    world = World(tmp_path, daemon, activation=THREE[:1], deactivation=STOP)
    assert (await world.done(world.start(PlanKind.ACTIVATE)))[0]
    rungs = world.guards[0].model.authority.rungs
    assert rungs is not None
    world.clock.advance(rungs.term_at_ns - world.clock.now())
    world.guards[0].advance()
    world.runner.start_plan(StartPlan(G, 2, PlanKind.DEACTIVATE, Epoch(7), "lease-end", None, 5_000))
    ok, text = await world.done(2)
    assert (ok, "stop: not begun" in text) == (True, True)
    assert commands(world) == ["/do/a"]
    assert not world.orderly[2]
