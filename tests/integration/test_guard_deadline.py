"""What the kernel-held lease promises, on real processes: nothing lives past the deadline, whatever was stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from guard_world import (
    AS_NOBODY,
    MS,
    NOBODY,
    World,
    arm,
    arm_floor_only,
    died_by,
    in_namespace_of,
    lives,
    now_ns,
    stamps,
    stays_dead,
    until,
    until_ns,
)

from agents.fencing import guard_main, process_table
from agents.fencing.base import Containment, DownBy, GuardGone, GuardRefused, StepEnd

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: PID namespaces and a second user are tried"),
]

HERE = Path(__file__).parent
KINDS = [Containment.PID_NAMESPACE, Containment.USER_PID_NAMESPACE, Containment.PROCESS_GROUP]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def stop_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)


def continue_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_daemons_that_ignore_term_die_at_the_deadline(world: World, kind: Containment) -> None:
    guard = await world.spawn(kind)
    deadline = await arm(guard, 800)
    plain = await world.victim(guard, "plain")
    daemon = await world.victim(guard, "daemon", "daemon", "stubborn")
    down = await guard.wait_down()
    assert down.by is DownBy.GUARD
    assert "deadline" in down.cause
    for path in (plain, daemon):
        died_by(path, deadline)
        await stays_dead(path)
    # The obedient one left at TERM, the stubborn one was seen alive after it.
    assert stamps(plain)[-1] < stamps(daemon)[-1]


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.value)
@pytest.mark.parametrize("whom", ["guard", "guard-and-init", "everything"])
async def test_a_stopped_site_is_dead_by_the_deadline_and_cont_wakes_nothing(
    world: World, kind: Containment, whom: str
) -> None:
    guard = await world.spawn(kind)
    deadline = await arm(guard, 600)
    paths = [await world.victim(guard, "plain"), await world.victim(guard, "daemon", "daemon", "stubborn")]
    everything = in_namespace_of(guard.init_pid)
    assert len(everything) >= 3
    targets = {"guard": [], "guard-and-init": [guard.init_pid], "everything": everything}[whom]
    stop_all([guard.guard_pid, *targets])
    await until_ns(deadline)
    down = await guard.wait_down()
    assert down.by is DownBy.KERNEL
    continue_all([guard.guard_pid, *everything])
    for path in paths:
        died_by(path, deadline)
        await stays_dead(path)


async def test_the_floor_alone_ends_a_running_site(world: World) -> None:
    guard = await world.spawn()
    deadline = await arm_floor_only(guard, 500)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    os.kill(guard.guard_pid, signal.SIGSTOP)
    down = await guard.wait_down()
    assert down.by is DownBy.KERNEL
    assert "kernel" in down.cause
    died_by(path, deadline)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_the_death_of_the_guard_takes_everything_with_it(world: World, kind: Containment) -> None:
    guard = await world.spawn(kind)
    await arm(guard, 30_000)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    os.kill(guard.guard_pid, signal.SIGKILL)
    down = await asyncio.wait_for(guard.wait_down(), 10)
    assert down.by is DownBy.KERNEL
    await stays_dead(path)
    with pytest.raises(GuardGone):
        await guard.run_step(world.step("late", "true"))


async def test_the_death_of_the_init_is_down_too(world: World) -> None:
    guard = await world.spawn(Containment.PID_NAMESPACE)
    await arm(guard, 30_000)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    os.kill(guard.init_pid, signal.SIGKILL)
    down = await asyncio.wait_for(guard.wait_down(), 10)
    assert "init ended by itself" in down.cause
    await stays_dead(path)


async def test_renewals_re_arm_the_timer(world: World) -> None:
    guard = await world.spawn()
    first = await arm(guard, 500)
    path = await world.victim(guard, "plain")
    deadline = first
    for _ in range(6):
        await asyncio.sleep(0.15)
        deadline = await arm(guard, 500)
    assert now_ns() > first
    assert stamps(path)[-1] > first
    assert (await guard.status()).floor_ns == deadline - 50 * MS
    await guard.wait_down()
    died_by(path, deadline)


async def test_a_passed_deadline_is_final(world: World) -> None:
    guard = await world.spawn()
    await arm(guard, 300)
    await guard.wait_down()
    with pytest.raises((GuardGone, GuardRefused)):
        await arm(guard, 5_000, epoch=2)


async def test_a_renewal_in_the_end_is_refused(world: World) -> None:
    guard = await world.spawn()
    deadline = await arm(guard, 3_000, term=0.1, kill=0.9)
    await world.victim(guard, "stubborn", "stubborn")
    await until(lambda: guard.fencing_cause, "the ladder has begun")
    for epoch in (1, 2):
        with pytest.raises(GuardRefused) as refused:
            await arm(guard, 9_000, epoch=epoch)
        assert refused.value.code == "ended"
    with pytest.raises(GuardRefused):
        await guard.run_step(world.step("late", "true"))
    assert (await guard.wait_down()).by is DownBy.GUARD
    assert now_ns() < deadline + 5_000 * MS


async def test_nothing_runs_before_a_deadline_and_lower_epochs_are_refused(world: World) -> None:
    guard = await world.spawn(epoch_finished=4)
    with pytest.raises(GuardRefused, match="not-armed"):
        await guard.run_step(world.step("early", "true"))
    with pytest.raises(GuardRefused, match="epoch-too-low"):
        await arm(guard, 5_000, epoch=4)
    await arm(guard, 5_000, epoch=6)
    with pytest.raises(GuardRefused, match="epoch-too-low"):
        await arm(guard, 9_000, epoch=5)
    at = now_ns()
    with pytest.raises(GuardRefused, match="deadline-passed"):
        await guard.arm(7, at - 3 * MS, at - 2 * MS, at + 60 * MS)
    with pytest.raises(GuardRefused, match="not-an-extension"):
        await arm(guard, 1_000, epoch=6)
    assert (await guard.run_step(world.step("now", "true"))).ok


async def test_without_root_the_kernel_holds_the_lease_too(world: World) -> None:
    try:
        guard = await world.spawn(wrapper=AS_NOBODY)
    except GuardGone as error:
        pytest.skip(f"the interpreter cannot be run by another user here: {error}")
    if guard.containment is Containment.PROCESS_GROUP:
        pytest.skip(f"no user namespaces for unprivileged users here: {guard.note}")
    assert guard.containment is Containment.USER_PID_NAMESPACE
    deadline = await arm(guard, 700)
    result = await guard.run_step(world.step("who", "id", "-u"))
    assert (world.path / "who.log").read_text().strip() == str(NOBODY), result
    path = await world.victim(guard, "daemon", "shell")
    stop_all([guard.guard_pid, *in_namespace_of(guard.init_pid)])
    down = await guard.wait_down()
    assert down.by is DownBy.KERNEL
    died_by(path, deadline)
    await stays_dead(path)


async def test_many_renewals_race_with_the_end(world: World) -> None:
    """Whatever the interleaving, the last accepted deadline is the one that counts."""
    guard = await world.spawn()
    deadline = await arm(guard, 300)
    path = await world.victim(guard, "daemon", "daemon")
    with contextlib.suppress(GuardGone, GuardRefused):
        for wait_ms in (20, 60, 100, 140, 170, 176, 178, 180, 182, 184, 190):
            await asyncio.sleep(wait_ms / 1_000)
            deadline = await arm(guard, 300)
    await guard.wait_down()
    died_by(path, deadline)
    await stays_dead(path)


async def test_a_step_that_is_running_at_the_end_is_reported_as_such(world: World) -> None:
    guard = await world.spawn()
    await arm(guard, 400)
    path = world.path / "x.stamps"
    result = asyncio.create_task(guard.run_step(world.step("long", "sh", "-c", f"echo 1 1 >{path}; sleep 60")))
    await until(path.exists, "the step runs")
    assert (await result).end in (StepEnd.GUARD_DOWN, StepEnd.SIGNALLED)


async def test_the_agents_death_changes_nothing_before_the_deadline(world: World) -> None:
    script = world.path / "agent.py"
    script.write_text(AGENT)
    agent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(world.path), str(HERE), stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout is not None
    deadline = int(await asyncio.wait_for(agent.stdout.readline(), 20))
    path = world.path / "v.stamps"
    await lives(path)
    agent.kill()
    await agent.wait()
    killed_at = now_ns()
    await until(lambda: stamps(path)[-1] > killed_at + 200 * MS, "the victim outlives the agent")
    await until_ns(deadline + 60 * MS)
    died_by(path, deadline)
    await stays_dead(path)
    record = world.path / "shop.guard"
    await until(lambda: not record.exists(), "the guard cleared its record")


AGENT = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from guard_world import GROUP, arm, victim_argv
from agents.fencing.base import Step
from agents.fencing.guard_client import GuardHandle

async def main(path):
    guard = await GuardHandle.spawn(GROUP, path)
    print(await arm(guard, 2000), flush=True)
    step = Step("v", victim_argv(path / "v.stamps", "daemon", "stubborn"), {}, path / "v.log")
    await guard.run_step(step)
    await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1])))
"""

# An init whose guard dies before it answers: bound, but never released.
HALF_BORN = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("entry", sys.argv[1])
entry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(entry)
entry.stand_in_packages()
from agents.fencing import containment, init_link
containment.enter("pid-namespace")
link = init_link.fork_init("pid-namespace", "", [])
link.await_bound()
os.write(1, b"%d %d\\n" % (link.pid, link.started))
if sys.argv[2] == "stopped":
    os.kill(link.pid, signal.SIGSTOP)
sys.stdin.read()
"""


@pytest.mark.parametrize("manner", ["waiting", "stopped"])
async def test_an_init_that_was_never_released_dies_with_its_guard(manner: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", HALF_BORN, guard_main.__file__, manner),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid, started = (int(word) for word in (await asyncio.wait_for(parent.stdout.readline(), 20)).split())
    pidfd = process_table.open_process(pid, started)
    assert pidfd is not None
    try:
        parent.kill()
        await parent.wait()
        await until(lambda: select.select([pidfd], [], [], 0)[0], "the init is gone")
    finally:
        os.close(pidfd)
