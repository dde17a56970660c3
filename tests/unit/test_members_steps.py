"""Steps on a member: one attempt is begun once, only under the epoch that is asked for, and never two at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.fencing.base import Guard, Step
from agents.fencing.memory import Behaviour, MemoryGuard
from agents.member.steps import MemberSteps, StepWorld
from agents.settings import StepSpec
from proto.clock import ManualClock
from proto.member_messages import RunStep, StepEnded
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, SiteId

G = GroupId("shop")
SPECS = {
    "start-db": StepSpec("start-db", ("/bin/start",), env={"OWN": "1"}, undo=("/bin/undo",), timeout_ms=5_000),
    "plain": StepSpec("plain", ("/bin/plain",)),
    "hangs": StepSpec("hangs", ("/bin/hangs",)),
}
ORDER = RunStep(G, Epoch(7), "1-start-db-0", "start-db", False, "takeover", "activate-7-1", 3_000)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.begun: list[Step] = []
        self.guard = MemoryGuard(self.clock.now, self._behave, 6)
        self.undo_guards: list[MemoryGuard] = []
        self.ended_undo_guards: list[Guard] = []
        self.epoch = Epoch(7)
        self.down = True
        at = self.clock.now()
        rungs = [InstantNs(at + ms * NS_PER_MS) for ms in (60_000, 80_000, 100_000)]
        self.deadlines = LocalDeadlines(*rungs)
        self.guard.model.arm(7, *rungs, at)
        self.steps = MemberSteps(
            StepWorld(
                site=SiteId("dc-a"),
                group=G,
                steps=SPECS,
                log_dir=directory,
                clock=self.clock,
                guard_of=lambda epoch: self.guard if epoch == self.epoch else None,
                deadlines=lambda: self.deadlines,
                down=lambda: self.down,
                start_undo_guard=self._undo_guard,
                end_undo_guard=self._end_undo_guard,
            )
        )

    def _behave(self, step: Step) -> Behaviour:
        self.begun.append(step)
        return Behaviour(hangs=step.argv == ("/bin/hangs",))

    async def _undo_guard(self, finished: Epoch) -> Guard:
        self.undo_guards.append(MemoryGuard(self.clock.now, self._behave, finished))
        return self.undo_guards[-1]

    async def _end_undo_guard(self, guard: Guard) -> None:
        self.ended_undo_guards.append(guard)

    async def run(self, order: RunStep) -> StepEnded:
        task = asyncio.create_task(self.steps.run(order))
        await self.until(task.done)
        return task.result()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.clock.advance(2 * NS_PER_MS)
                for guard in (self.guard, *self.undo_guards):
                    guard.advance()
                await asyncio.sleep(0.001)


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_an_attempt_is_begun_once_and_answered_from_the_record(rig: Rig) -> None:
    first = await rig.run(ORDER)
    assert (first.end, first.exit_code) == ("exited", 0)
    assert await rig.run(ORDER) == first
    assert len(rig.begun) == 1
    second = await rig.run(other("1-start-db-1"))
    assert second.step_id == "1-start-db-1"
    assert len(rig.begun) == 2


def other(step_id: str, step: str = "start-db", *, epoch: int = 7, undo: bool = False) -> RunStep:
    return RunStep(G, Epoch(epoch), step_id, step, undo, "takeover", "activate-7-1", 3_000)


async def test_it_runs_the_own_command_with_the_own_deadline(rig: Rig) -> None:
    await rig.run(ORDER)
    (step,) = rig.begun
    assert step.argv == ("/bin/start",)
    assert step.timeout_ms == 3_000
    told = {name: value for name, value in step.env.items() if name.startswith("THIRDSITE_")}
    assert told == {
        "THIRDSITE_GROUP": "shop",
        "THIRDSITE_SITE": "dc-a",
        "THIRDSITE_EPOCH": "7",
        "THIRDSITE_CAUSE": "takeover",
        "THIRDSITE_PLAN": "activate-7-1",
        "THIRDSITE_DEADLINE_BOOTTIME_NS": str(rig.deadlines.deadline),
    }
    assert step.env["OWN"] == "1"


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (other("a", "unknown"), "no step unknown"),
        (other("b", epoch=8), "does not hold epoch 8"),
        (other("c", epoch=6), "does not hold epoch 6"),
    ],
)
async def test_nothing_runs_that_is_not_known_or_not_held(rig: Rig, order: RunStep, says: str) -> None:
    ended = await rig.run(order)
    assert ended.end == "not-started"
    assert says in ended.text
    assert rig.begun == []


async def test_a_new_attempt_ends_the_one_that_the_lead_has_given_up(rig: Rig) -> None:
    hanging = asyncio.create_task(rig.steps.run(other("1-hangs-0", "hangs")))
    await rig.until(lambda: rig.begun)
    ended = await rig.run(other("1-hangs-1", "plain"))
    assert ended.end == "exited"
    assert (await hanging).end == "cancelled"
    assert [step.step_id for step in rig.begun] == ["1-hangs-0", "1-hangs-1"]


async def test_an_undo_runs_in_the_guard_of_its_epoch_while_there_is_one(rig: Rig) -> None:
    assert (await rig.run(other("u", undo=True))).exit_code == 0
    assert [step.argv for step in rig.begun] == [("/bin/undo",)]
    assert rig.undo_guards == []


async def test_an_undo_without_the_lease_runs_in_a_guard_of_its_own(rig: Rig) -> None:
    ended = await rig.run(other("u", epoch=5, undo=True))
    assert (ended.end, ended.exit_code) == ("exited", 0)
    assert len(rig.undo_guards) == 1
    assert rig.ended_undo_guards == rig.undo_guards
    assert rig.guard.model.running == ()


async def test_a_step_without_undo_has_nothing_to_take_back(rig: Rig) -> None:
    ended = await rig.run(other("u", "plain", undo=True))
    assert (ended.exit_code, "nothing to take back" in ended.text) == (0, True)
    assert rig.begun == []


async def test_a_guard_that_ends_is_told_as_that(rig: Rig) -> None:
    task = asyncio.create_task(rig.steps.run(other("1-hangs-0", "hangs")))
    await rig.until(lambda: rig.begun)
    rig.guard.crash()
    assert (await task).end == "guard-down"


async def test_what_is_kept_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.member.steps.STEPS_KEPT_MAX", 3)
    for number in range(8):
        await rig.run(other(f"1-plain-{number}", "unknown"))
    assert len(rig.steps._known) <= 4


async def test_as_many_attempts_are_remembered_as_is_said(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.member.steps.STEPS_KEPT_MAX", 6)
    orders = [other(f"1-start-db-{n}") for n in range(6)]
    for order in orders:
        await rig.run(order)
    assert [step_id for _, step_id in rig.steps._known] == [order.step_id for order in orders]
    await rig.run(other("1-start-db-6"))
    assert len(rig.steps._known) == 6


async def test_an_undo_waits_until_everything_is_down_here_and_does_not_run_beside_an_end(rig: Rig) -> None:
    rig.epoch, rig.down = Epoch(8), False
    given_up = await rig.run(RunStep(G, Epoch(7), "undo-1", "start-db", True, "unwind", "undo-7-1", 100))
    assert (given_up.end, rig.undo_guards, rig.begun) == ("not-started", [], [])
    assert "not verified down" in given_up.text
    waits = asyncio.create_task(rig.steps.run(other("undo-2", undo=True)))
    await asyncio.sleep(0)
    assert rig.undo_guards == []
    rig.down = True
    await rig.until(waits.done)
    assert waits.result().exit_code == 0
    assert len(rig.begun) == len(rig.undo_guards) == 1
