"""A guard whose agent process is gone: the next one finds it, hears what happened, and is the only one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from guard_world import GROUP, World, arm, until

from agents.fencing.base import Containment, DownBy, GuardGone, GuardRefused, GuardStatus, StepEnd
from agents.fencing.guard_client import GuardHandle
from agents.fencing.guard_door import GuardDoor, door_path
from agents.fencing.guard_search import call_guard
from agents.runtime.take_over import held_lease

pytestmark = pytest.mark.process
HOLDER = "ab" * 16


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


@pytest.fixture
def world_path(tmp_path: Path) -> Path:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    return deep


async def bound(world: World, ttl_ms: int = 20_000, kind: Containment | None = None) -> GuardHandle:
    guard = await world.spawn(kind)
    await guard.bind(HOLDER)
    await arm(guard, ttl_ms, epoch=7)
    return guard


async def taken(world: World) -> GuardHandle:
    guard = await GuardHandle.attach(GROUP, world.path)
    world.handles.append(guard)
    return guard


async def test_what_is_running_lives_on_and_is_extended_by_the_next_one(world: World) -> None:
    first = await bound(world)
    path = await world.victim(first, "platform")
    before = path.stat().st_ino, first.init_pid
    first.let_go()
    first.close()
    second = await taken(world)
    assert (second.guard_pid, second.init_pid, second.containment) == (
        first.guard_pid,
        first.init_pid,
        first.containment,
    )
    status = await second.status()
    held = held_lease(status)
    assert held is not None
    assert (held.epoch, held.holder) == (7, HOLDER)
    deadline = await arm(second, 30_000, epoch=7)
    assert (await second.status()).deadline_ns == deadline
    assert (path.stat().st_ino, second.init_pid) == before
    down = await second.stop(1_000_000_000)
    assert down.by is DownBy.GUARD
    await second.release()
    assert list(world.path.glob("*.sock")) == []


async def test_steps_that_ended_while_nobody_listened_are_remembered_and_others_waited_for(world: World) -> None:
    first = await bound(world)
    go = world.path / "go"
    slow = ("sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; exit 3")
    tasks = [
        asyncio.create_task(first.run_step(world.step("1-quick-0", "sh", "-c", "sleep 0.2; exit 4"))),
        asyncio.create_task(first.run_step(world.step("1-slow-0", *slow))),
    ]
    await until((world.path / "1-slow-0.log").exists, "both began")
    first.let_go()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    first.close()
    await asyncio.sleep(0.5)  # the quick one ends while there is no agent
    second = await taken(world)
    quick = await second.outcome("1-quick-0")
    assert quick is not None
    assert (quick.end, quick.exit_code) == (StepEnd.EXITED, 4)
    assert await second.outcome("1-never-0") is None
    waiting = asyncio.create_task(second.outcome("1-slow-0"))
    await asyncio.sleep(0)
    assert not waiting.done()
    go.touch()
    slow_end = await asyncio.wait_for(waiting, 10)
    assert slow_end is not None
    assert slow_end.exit_code == 3


async def test_a_step_that_ends_right_behind_the_status_is_not_waited_for_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status still names it as running; its end was read before anybody waited for it."""
    first = await bound(world)
    go, status = world.path / "go", GuardHandle.status
    script = f"while ! [ -e {go} ]; do sleep 0.02; done; exit 3"
    running = asyncio.create_task(first.run_step(world.step("slow", "sh", "-c", script)))
    await until((world.path / "slow.log").exists, "it began")
    first.let_go()
    running.cancel()
    first.close()

    async def late(guard: GuardHandle) -> GuardStatus:
        said = await status(guard)
        go.touch()
        for _ in range(500):
            if not (await status(guard)).steps:
                return said
            await asyncio.sleep(0.01)
        raise AssertionError("the step did not end")

    monkeypatch.setattr(GuardHandle, "status", late)
    second = await taken(world)
    ended = await asyncio.wait_for(second.outcome("slow"), 5)
    assert ended is not None
    assert ended.exit_code == 3


async def test_one_controller_at_a_time_and_one_incarnation_for_life(world: World) -> None:
    first = await bound(world)
    with pytest.raises(GuardGone, match="controlled"):
        await GuardHandle.attach(GROUP, world.path)
    with pytest.raises(GuardRefused, match="another incarnation"):
        await first.bind("cd" * 16)
    await first.bind(HOLDER)
    assert (await first.status()).holder == HOLDER


def test_only_the_guards_own_user_and_root_are_let_in(monkeypatch: pytest.MonkeyPatch, world_path: Path) -> None:
    """The kernel's word, whatever the mode of the socket says."""
    door = GuardDoor(door_path(str(world_path), GROUP))
    try:
        for uid, let_in in ((os.geteuid(), True), (os.geteuid() + 1, os.geteuid() == 0)):
            with monkeypatch.context() as patch, call_guard(world_path, GROUP) as caller:
                patch.setattr(os, "geteuid", lambda uid=uid: uid)
                fd = door.answer(lambda: False)
                assert (fd >= 0) is let_in
                if fd >= 0:
                    os.close(fd)
                else:
                    assert json.loads(caller.makefile("rb").readline())["code"] == "not-yours"
    finally:
        door.close()


async def test_a_dead_guard_and_its_stale_socket_are_no_guard(world: World) -> None:
    first = await bound(world)
    os.kill(first.guard_pid, signal.SIGKILL)
    await first.wait_down()
    with pytest.raises(GuardGone):
        await GuardHandle.attach(GROUP, world.path)
    await first.release()
    third = await world.spawn()
    assert (await third.status()).holder == ""
    assert held_lease(await third.status()) is None


async def test_the_end_is_proven_to_the_next_agent_too(world: World) -> None:
    first = await bound(world, ttl_ms=1_500)
    await world.victim(first, "platform", "stubborn")
    first.let_go()
    first.close()
    second = await taken(world)
    down = await asyncio.wait_for(second.wait_down(), 10)
    assert "deadline" in down.cause
    assert second.is_down
