"""One suite for both bodies of the Guard seam: real processes on real time, and the model on simulated time."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from guard_world import MS, World, now_ns

from agents.fencing.base import DownBy, Guard, GuardError, GuardGone, GuardRefused, Step, StepEnd
from agents.fencing.guard_model import Behaviour
from agents.fencing.memory import MemoryGuard

T = TypeVar("T")
S = 1_000 * MS

# What each step does, for the shell and for the model.
SCRIPTS = {
    "ok": ("exit 0", Behaviour()),
    "fails": ("exit 3", Behaviour(exit_code=3)),
    "hangs": ("sleep 600", Behaviour(hangs=True)),
    "stubborn": ("trap '' TERM; while :; do sleep 0.01; done", Behaviour(hangs=True, ignores_term=True)),
    "daemon": ("sleep 600 & exit 0", Behaviour(leaves_running=True)),
    "stubborn-daemon": (
        "trap '' TERM; (while :; do sleep 0.01; done) & exit 0",
        Behaviour(leaves_running=True, ignores_term=True),
    ),
}


class Stage:
    """A guard and the time it lives in."""

    guard: Guard

    def now(self) -> int:
        return now_ns()

    async def settle(self, awaitable: Awaitable[T]) -> T:
        return await asyncio.wait_for(awaitable, 20)

    async def pass_ns(self, duration_ns: int) -> None:
        await asyncio.sleep(duration_ns / S)  # the suite asks for this span to pass

    def step(self, name: str) -> Step:
        return Step(name, ("sh", "-c", SCRIPTS[name][0]), {"PATH": os.defpath}, Path("/dev/null"))

    async def arm(self, ttl_ms: int, epoch: int = 1) -> int:
        at = self.now()
        await self.guard.arm(epoch, at + ttl_ms * MS // 2, at + ttl_ms * MS * 3 // 4, at + ttl_ms * MS)
        return at + ttl_ms * MS


class MemoryStage(Stage):
    def __init__(self) -> None:
        self._now = 10 * S
        self.memory = MemoryGuard(lambda: self._now, lambda step: SCRIPTS[step.step_id][1])
        self.guard = self.memory

    def now(self) -> int:
        return self._now

    async def settle(self, awaitable: Awaitable[T]) -> T:
        task = asyncio.ensure_future(awaitable)
        for _ in range(1_000):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if task.done():
                return task.result()
            due = self.memory.model.next_deadline()
            if due is not None:
                self._now = max(self._now, due)
                self.memory.advance()
        task.cancel()
        raise AssertionError("nothing more is due, and it still waits")

    async def pass_ns(self, duration_ns: int) -> None:
        await asyncio.sleep(0)
        self._now += duration_ns
        self.memory.advance()
        await asyncio.sleep(0)


@pytest.fixture(params=["memory", "real"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "memory":
        yield MemoryStage()
        return
    world = World()
    made = Stage()
    try:
        made.guard = await world.spawn()
        yield made
    finally:
        await world.close()


async def started(stage: Stage, name: str) -> asyncio.Task[object]:
    """A step that goes on; returned once the guard lists it."""
    task: asyncio.Task[object] = asyncio.ensure_future(stage.guard.run_step(stage.step(name)))
    for _ in range(2_000):
        await asyncio.sleep(0.002 if type(stage) is Stage else 0)
        if name in (await stage.guard.status()).steps:
            return task
    raise AssertionError(f"{name} did not start")


async def test_nothing_runs_unarmed(stage: Stage) -> None:
    with pytest.raises(GuardRefused, match="not-armed"):
        await stage.settle(stage.guard.run_step(stage.step("ok")))


async def test_steps_report_their_end(stage: Stage) -> None:
    await stage.arm(20_000)
    assert (await stage.settle(stage.guard.run_step(stage.step("ok")))).ok
    result = await stage.settle(stage.guard.run_step(stage.step("fails")))
    assert (result.end, result.exit_code, result.ok) == (StepEnd.EXITED, 3, False)


async def test_a_cancelled_step_ends(stage: Stage) -> None:
    await stage.arm(20_000)
    task = await started(stage, "hangs")
    await stage.guard.cancel_step("hangs")
    result = await stage.settle(task)
    assert getattr(result, "end", None) is StepEnd.CANCELLED


async def test_epochs_and_deadlines_only_go_forward(stage: Stage) -> None:
    await stage.arm(20_000, epoch=3)
    for ttl_ms, epoch, code in ((20_000, 2, "epoch-too-low"), (5_000, 3, "not-an-extension")):
        with pytest.raises(GuardRefused) as refused:
            await stage.arm(ttl_ms, epoch)
        assert refused.value.code == code
    at = stage.now()
    with pytest.raises(GuardRefused, match="rungs-out-of-order"):
        await stage.guard.arm(4, at + 2 * S, at + 1 * S, at + 3 * S)
    with pytest.raises(GuardRefused, match="rungs-out-of-order"):
        await stage.guard.arm(4, at + 2 * S, at + 3 * S, at + 3 * S)
    deadline = await stage.arm(10_000, epoch=4)
    status = await stage.guard.status()
    assert (status.phase, status.epoch, status.highest_epoch, status.deadline_ns) == ("armed", 4, 4, deadline)


@pytest.mark.parametrize("name", ["daemon", "stubborn-daemon"])
async def test_stop_is_verified_and_final(stage: Stage, name: str) -> None:
    await stage.arm(20_000)
    await stage.settle(stage.guard.run_step(stage.step(name)))
    began = stage.now()
    down = await stage.settle(stage.guard.stop(S // 5))
    assert (down.cause, down.by) == ("stop", DownBy.GUARD)
    assert (down.duration_ms >= 200) == (name == "stubborn-daemon")
    assert down.duration_ms <= (stage.now() - began) // MS
    assert await stage.settle(stage.guard.wait_down()) == down
    with pytest.raises((GuardGone, GuardRefused)):
        await stage.arm(20_000, epoch=9)
    with pytest.raises(GuardError):
        await stage.settle(stage.guard.run_step(stage.step("ok")))


async def test_stop_without_anything_running(stage: Stage) -> None:
    assert (await stage.settle(stage.guard.stop(S))).cause == "stop"


async def test_fence_waits_for_nothing(stage: Stage) -> None:
    await stage.arm(20_000)
    task = await started(stage, "stubborn")
    assert (await stage.settle(stage.guard.fence())).cause == "fence"
    result = await stage.settle(task)
    assert getattr(result, "end", None) is StepEnd.GUARD_DOWN


@pytest.mark.parametrize("name", ["hangs", "stubborn"])
async def test_the_deadline_ends_everything_by_rungs(stage: Stage, name: str) -> None:
    deadline = await stage.arm(600)
    task = await started(stage, name)
    down = await stage.settle(stage.guard.wait_down())
    assert "deadline" in down.cause
    assert (down.duration_ms >= 150) == (name == "stubborn")
    assert stage.now() < deadline + 10 * S
    assert getattr(await stage.settle(task), "end", None) in (StepEnd.GUARD_DOWN, StepEnd.SIGNALLED)


async def test_renewals_carry_it_over(stage: Stage) -> None:
    first = await stage.arm(800)
    task = await started(stage, "hangs")
    for _ in range(5):
        await stage.pass_ns(200 * MS)
        await stage.arm(800)
    assert stage.now() > first
    assert not task.done()
    await stage.settle(stage.guard.fence())
    with contextlib.suppress(GuardError):
        await stage.settle(task)
