"""What a step gets and what its end looks like; stop, fence and what is left behind; bad input from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from guard_world import GROUP, World, arm, died_by, in_namespace_of, now_ns, stays_dead, until

from agents.fencing import guard_main, leftover, process_table, record_file
from agents.fencing.base import Containment, DownBy, GuardGone, GuardRefused, NotProvenDown, StepEnd
from agents.fencing.guard_client import GuardHandle

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a PID namespace without a user namespace"),
]
S = 1_000_000_000
KINDS = list(Containment)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def armed(world: World, kind: Containment | None = None) -> GuardHandle:
    guard = await world.spawn(kind)
    await arm(guard, 60_000)
    return guard


C_LIBRARY_SIGNALS = 0b11 << 31
"""32 and 33 belong to the C library; some callers (GNU make) leave them ignored, and nobody may set them."""


def log_of(world: World, name: str) -> str:
    return (world.path / f"{name}.log").read_text()


# -- steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_a_step_gets_exactly_what_was_handed_in(world: World, kind: Containment) -> None:
    guard = await armed(world, kind)
    script = "env | sort; pwd; readlink /proc/self/fd/0; ls /proc/self/fd; grep SigIgn /proc/self/status"
    step = world.step("probe", "/bin/sh", "-c", script, env={"EPOCH": "7", "PATH": "/bin:/usr/bin"})
    assert (await guard.run_step(step)).ok
    lines = log_of(world, "probe").split("\n")
    assert [line for line in lines if line.startswith(("EPOCH", "HOME", "LANG"))] == ["EPOCH=7"]
    assert "/" in lines
    assert "/dev/null" in lines
    assert [line for line in lines if line.isdigit()] == ["0", "1", "2", "3"]  # 3 is ls's own
    (ignored,) = (int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
    assert ignored & ~C_LIBRARY_SIGNALS == 0


async def test_a_namespace_shows_only_itself(world: World) -> None:
    guard = await armed(world, Containment.PID_NAMESPACE)
    script = "echo /proc/[0-9]*; cat /proc/self/oom_score_adj; chrt -p $$"
    assert (await guard.run_step(world.step("ps", "sh", "-c", script))).ok
    text = log_of(world, "ps")
    assert text.split("\n")[0].split() == ["/proc/1", "/proc/2"]
    assert "SCHED_OTHER" in text
    assert text.split("\n")[1] == "0"


@pytest.mark.parametrize(
    ("argv", "end", "code", "number"),
    [
        (("sh", "-c", "exit 3"), StepEnd.EXITED, 3, None),
        (("sh", "-c", "kill -9 $$"), StepEnd.SIGNALLED, None, 9),
        (("/nonexistent/program",), StepEnd.NOT_STARTED, None, None),
    ],
)
async def test_how_a_step_ends(
    world: World, argv: tuple[str, ...], end: StepEnd, code: int | None, number: int | None
) -> None:
    guard = await armed(world)
    result = await guard.run_step(world.step("s", *argv))
    assert (result.end, result.exit_code, result.signal) == (end, code, number)
    assert (end is StepEnd.NOT_STARTED) == ("/nonexistent/program" in result.text)


async def test_a_step_that_hangs_is_ended_with_its_group_but_not_its_daemon(world: World) -> None:
    guard = await armed(world)
    daemon = await world.victim(guard, "daemon", "daemon")
    script = "trap '' TERM; sleep 60 & sleep 60"
    result = await guard.run_step(world.step("hang", "sh", "-c", script, timeout_ms=200))
    assert result.end is StepEnd.TIMED_OUT
    before = daemon.read_bytes()
    await until(lambda: daemon.read_bytes() != before, "the daemon of another step lives on")
    waiting = asyncio.create_task(guard.run_step(world.step("c", "sleep", "60")))
    await until_running(guard, "c")
    await guard.cancel_step("c")
    assert (await waiting).end is StepEnd.CANCELLED
    with pytest.raises(GuardRefused, match="unknown-step"):
        await guard.cancel_step("c")


async def until_running(guard: GuardHandle, step_id: str) -> None:
    for _ in range(1_000):
        if step_id in (await guard.status()).steps:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{step_id} does not run")


async def test_the_log_that_cannot_be_opened_is_reported(world: World) -> None:
    guard = await armed(world)
    step = world.step("missing/x", "true")
    result = await guard.run_step(step)
    assert result.end is StepEnd.NOT_STARTED
    assert "missing/x.log" in result.text


# -- stop and fence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_a_graceful_stop_is_over_when_everything_obeyed(world: World, kind: Containment) -> None:
    guard = await armed(world, kind)
    path = await world.victim(guard, "plain", "daemon")
    down = await guard.stop(20 * S)
    assert (down.by, down.cause) == (DownBy.GUARD, "stop")
    assert down.duration_ms < 20_000
    await stays_dead(path)
    assert not (world.path / f"{GROUP}.guard").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_a_stop_kills_what_does_not_obey_in_its_grace(world: World, kind: Containment) -> None:
    guard = await armed(world, kind)
    path = await world.victim(guard, "stubborn", "daemon", "stubborn")
    began = now_ns()
    down = await guard.stop(S // 5)
    assert down.by is DownBy.GUARD
    assert down.duration_ms >= 200
    assert (now_ns() - began) < 20 * S
    await stays_dead(path)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_a_fence_needs_no_answer_of_a_stopped_guard(world: World, kind: Containment) -> None:
    guard = await armed(world, kind)
    path = await world.victim(guard, "stubborn", "daemon", "stubborn")
    os.kill(guard.guard_pid, signal.SIGSTOP)
    down = await guard.fence()
    assert down.by is DownBy.KERNEL
    await stays_dead(path)


async def test_term_to_the_guard_is_a_graceful_stop(world: World) -> None:
    guard = await armed(world)
    path = await world.victim(guard, "plain")
    os.kill(guard.guard_pid, signal.SIGHUP)
    os.kill(guard.guard_pid, signal.SIGTERM)
    assert (await guard.wait_down()).cause == "signal"
    await stays_dead(path)


async def test_a_new_guard_follows_a_spent_one(world: World) -> None:
    for epoch in (1, 2, 3):
        guard = await world.spawn(epoch_finished=epoch - 1)
        await arm(guard, 60_000, epoch=epoch)
        assert (await guard.run_step(world.step("s", "true"))).ok
        await guard.stop(S)
        await guard.release()


def test_the_handle_works_on_uvloop() -> None:
    async def scenario() -> None:
        world = World()
        try:
            guard = await armed(world)
            path = await world.victim(guard, "v", "daemon", "stubborn")
            os.kill(guard.guard_pid, signal.SIGKILL)
            assert (await asyncio.wait_for(guard.wait_down(), 10)).by is DownBy.KERNEL
            await stays_dead(path)
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_guard_that_cannot_start_says_why(world: World) -> None:
    with pytest.raises(GuardGone, match="make its directory"):
        await GuardHandle.spawn(GROUP, world.path / "none")
    with pytest.raises(GuardGone, match="did not become ready"):
        await world.spawn(wrapper=("false",))
    (world.path / f"{GROUP}.guard.tmp").mkdir()
    with pytest.raises(GuardGone, match="Is a directory"):
        await world.spawn()


async def test_a_guard_without_lease_and_agent_leaves(world: World) -> None:
    guard = await world.spawn()
    born = {pid: process_table.start_time(pid) for pid in (guard.guard_pid, guard.init_pid)}
    assert None not in born.values()
    guard._channel.close()
    down = await asyncio.wait_for(guard.wait_down(), 10)
    assert (down.by, down.cause) == (DownBy.KERNEL, "the guard died")  # its last words had nobody to go to
    assert guard._process.exit_words == "it ended with 0", "it left in order"
    for pid, started in born.items():
        assert process_table.start_time(pid) != started
    assert leftover.find_leftovers(world.path, GROUP) == ()


# -- bad input ------------------------------------------------------------------------------------------------


def raw_guard(world: World) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    entry = [sys.executable, "-I", "-S", guard_main.__file__]
    with theirs:
        process = subprocess.Popen(
            [*entry, "guard", GROUP, str(world.path), str(theirs.fileno()), "0", "auto", "{}"],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
    ours.settimeout(10)
    return process, ours


def test_garbage_changes_nothing_and_is_answered() -> None:
    world = World()
    process, sock = raw_guard(world)
    try:
        file = sock.makefile("rwb")
        assert json.loads(file.readline())["type"] == "ready"
        for line, code in (
            (b"garbage", "bad-message"),
            (b"[1]", "bad-message"),
            (b'{"type":"heartbeat","req":1}', "unknown-type"),
            (b'{"type":"deadline","req":1,"epoch":-1}', "bad-message"),
            (b'{"type":"deadline","req":1,"epoch":1.5}', "bad-message"),
            (b"x" * 200_000, "too-long"),
        ):
            file.write(line + b"\n")
            file.flush()
            codes = [json.loads(file.readline())["code"]]
            while code == "too-long" and codes[-1] == "too-long":  # its tail is one more bad line
                codes.append(json.loads(file.readline())["code"])
            assert code in codes
        file.write(b'{"type":"status","req":5}\n')
        file.flush()
        status = json.loads(file.readline())
        assert (status["req"], status["phase"], status["highest_epoch"]) == (5, "dormant", 0)
        file.close()
        sock.close()
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_a_guard_started_by_hand_says_how_it_is_started() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", guard_main.__file__, "guard", "x"], capture_output=True, check=False, timeout=20
    )
    assert done.returncode == 64
    assert b"usage" in done.stderr


def test_a_guard_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", HEAVY], capture_output=True, check=True, timeout=20, text=True
    )
    loaded = set(done.stdout.split())
    assert "agents.fencing.warden" in loaded
    assert not loaded & {"typing", "asyncio", "dataclasses", "inspect", "subprocess", "pathlib", "logging", "threading"}
    assert not {name for name in loaded if name.startswith("proto")}


HEAVY = f"""
import importlib.machinery, importlib.util, sys
spec = importlib.util.spec_from_file_location("entry", {guard_main.__file__!r})
entry = importlib.util.module_from_spec(spec)
spec.loader.exec_module(entry)
entry.stand_in_packages()
import agents.fencing.guard_front, agents.fencing.exec_guard
print(*sys.modules)
"""


# -- leftovers ------------------------------------------------------------------------------------------------


async def test_a_leftover_is_found_refused_ended_and_proven(world: World) -> None:
    guard = await armed(world)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    with pytest.raises(NotProvenDown, match=r"shop\.guard"):
        await GuardHandle.spawn(GROUP, world.path)
    (found,) = leftover.find_leftovers(world.path, GROUP)
    assert found.same_boot
    assert found.guard_alive
    assert found.init_alive
    assert found.record.epoch == 1
    (ended,) = await asyncio.to_thread(leftover.end_leftovers, world.path, GROUP)
    assert ended.leftover.record.guard_pid == guard.guard_pid
    await stays_dead(path)
    assert leftover.find_leftovers(world.path, GROUP) == ()


async def test_a_weak_leftover_is_proven_by_its_init(world: World) -> None:
    guard = await armed(world, Containment.PROCESS_GROUP)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    (ended,) = await asyncio.to_thread(leftover.end_leftovers, world.path, GROUP)
    found = ended.leftover
    assert found.record.containment == Containment.PROCESS_GROUP.value
    assert (found.record.guard_pid, found.record.init_pid) == (guard.guard_pid, guard.init_pid)
    assert (found.same_boot, found.guard_alive, found.init_alive) == (True, True, True)
    await stays_dead(path)
    assert leftover.find_leftovers(world.path, GROUP) == ()


def write_record(world: World, **changes: object) -> Path:
    own = (os.getpid(), process_table.start_time(os.getpid()) or 0)
    record = record_file.GuardRecord(process_table.boot_id(), "pid-namespace", own, own, 3)
    for name, value in changes.items():
        setattr(record, name, value)
    path = world.path / f"{GROUP}.guard"
    record_file.write_atomic(str(path), record.to_bytes())
    return path


async def test_a_reused_pid_is_left_alone(world: World) -> None:
    """The record names this very test process with another start time, then with another boot."""
    path = write_record(world, guard_started=1, init_started=1)
    assert len(leftover.end_leftovers(world.path, GROUP, 1.0)) == 1
    assert not path.exists()
    path = write_record(world, boot_id="another boot")
    assert not leftover.find_leftovers(world.path, GROUP)[0].same_boot
    assert len(leftover.end_leftovers(world.path, GROUP, 1.0)) == 1


async def test_what_cannot_be_proven_is_an_error_with_a_remedy(world: World) -> None:
    path = write_record(world, guard_started=1, init_started=1, containment="process-group")
    with pytest.raises(NotProvenDown, match="remove the file"):
        leftover.end_leftovers(world.path, GROUP, 0.2)
    assert path.exists()
    path.write_text("{")
    with pytest.raises(NotProvenDown, match="remove it"):
        leftover.end_leftovers(world.path, GROUP, 0.2)


async def test_nothing_of_a_namespace_is_left_when_down_is_said(world: World) -> None:
    guard = await armed(world, Containment.PID_NAMESPACE)
    for number in range(5):
        await world.victim(guard, f"v{number}", "daemon", "stubborn")
    members = in_namespace_of(guard.init_pid)
    assert len(members) >= 6
    starts = {pid: process_table.start_time(pid) for pid in members}
    deadline = now_ns()
    await guard.fence()
    for pid, started in starts.items():
        if pid != guard.init_pid:
            assert process_table.start_time(pid) != started
    for number in range(5):
        died_by(world.path / f"v{number}.stamps", deadline + 5 * S)


async def test_guard_and_init_come_first_and_what_they_hold_does_not(world: World) -> None:
    """The kernel's kill goes from the guard to its init: each must be scheduled to die, also on a starved host."""
    guard = await armed(world, Containment.PID_NAMESPACE)
    if not (await guard.status()).privileges["realtime"]:
        pytest.skip("no right to a real-time priority here")
    await world.victim(guard, "v")
    held = [pid for pid in in_namespace_of(guard.init_pid) if pid != guard.init_pid]
    policies = {pid: os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK for pid in (guard.guard_pid, guard.init_pid)}
    assert set(policies.values()) == {os.SCHED_FIFO}
    assert {os.sched_getscheduler(pid) for pid in held} == {os.SCHED_OTHER}
