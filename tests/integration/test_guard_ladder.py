"""The guard's ladder on real processes: what ended a platform that resists, when, and what could not be had is said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from guard_world import MS, World, arm, now_ns, stamps, stays_dead, until, until_ns

from agents.fencing import cgroup
from agents.fencing.base import Containment, DownBy, GuardRefused, NotProvenDown
from agents.fencing.guard_client import GuardHandle

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups and signals to everybody are tried"),
]


def cgroup2() -> str:
    try:
        mount = cgroup.mount_point()
    except OSError:
        return ""
    return mount if os.access(f"{mount}/cgroup.procs", os.W_OK) else ""


needs_cgroup2 = pytest.mark.skipif(not cgroup2(), reason="needs a cgroup2 hierarchy that this user may write")
V1_FREEZER = Path("/sys/fs/cgroup/freezer")
needs_freezer = pytest.mark.skipif(
    not os.access(V1_FREEZER / "cgroup.procs", os.W_OK), reason="needs the freezer of cgroup v1: it holds off a SIGKILL"
)
CGROUP = json.dumps({"cgroup": True, "required": ["cgroup"]})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


def group_of(pid: int) -> str:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return next(line[3:] for line in lines if line.startswith("0::"))


def rungs(down: object) -> dict[str, str]:
    return {rung.name: rung.found for rung in down.rungs}  # type: ignore[attr-defined]  # a Down


@needs_cgroup2
@pytest.mark.parametrize("kind", [Containment.PID_NAMESPACE, Containment.PROCESS_GROUP], ids=lambda kind: kind.value)
async def test_everything_protected_is_in_a_group_of_its_own_which_is_killed_proven_and_removed(
    world: World, kind: Containment
) -> None:
    guard = await world.spawn(kind, options=CGROUP)
    status = await guard.status()
    assert (status.missing, status.ladder) == ((), ("term", "cgroup", "kill"))
    group = group_of(guard.init_pid)
    assert group.split("/")[-1].startswith("thirdsite-shop-")
    assert group_of(guard.guard_pid) != group
    await arm(guard, 20_000)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    directory = Path(cgroup2() + group)
    assert len((directory / "cgroup.procs").read_text().split()) >= 2
    down = await guard.stop(100 * MS)
    assert down.by is DownBy.GUARD
    assert rungs(down) == {"term": "", "cgroup": "no process is left", "kill": ""}
    assert [rung.after_ms >= 100 for rung in down.rungs] == [False, True, True]
    await stays_dead(path)
    assert not os.path.exists(directory)  # noqa: ASYNC240, PTH110 - one stat of a local file


@needs_cgroup2
async def test_a_platform_that_obeys_is_ended_by_term_alone(world: World) -> None:
    guard = await world.spawn(options=CGROUP)
    await arm(guard, 20_000)
    await world.victim(guard, "plain")
    down = await guard.stop(10_000 * MS)
    assert down.duration_ms < 5_000
    assert down.rungs[0].name == "term"


@needs_cgroup2
async def test_a_unit_outside_of_the_guard_is_frozen_and_killed_with_it_and_can_start_again(world: World) -> None:
    outside = Path(cgroup2()) / f"thirdsite-test-outside-{os.getpid()}"
    outside.mkdir()
    try:
        unit = await in_group(outside)
        guard = await world.spawn(options=json.dumps({"outside": [outside.name]}))
        await arm(guard, 700)
        down = await guard.wait_down()
        assert rungs(down)["outside"] == "no process is left"
        assert await asyncio.wait_for(unit.wait(), 5) == -signal.SIGKILL
        again = await in_group(outside)
        await until(lambda: state_of(again.pid) == "S", "the next life of the unit is not born frozen")
        again.kill()
        await again.wait()
    finally:
        await until(lambda: removed(outside), "the group is empty")


async def in_group(directory: Path) -> asyncio.subprocess.Process:
    words = f"echo $$ > {directory}/cgroup.procs; trap '' TERM; while :; do sleep 0.05; done"
    unit = await asyncio.create_subprocess_exec("sh", "-c", words)
    await until(lambda: str(unit.pid) in (directory / "cgroup.procs").read_text().split(), "the unit runs")
    return unit


def removed(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        directory.rmdir()
    return not directory.exists()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@needs_cgroup2
async def test_groups_that_dead_guards_left_are_taken_away_by_the_next(world: World) -> None:
    guard = await world.spawn(options=CGROUP)
    left = Path(cgroup2() + group_of(guard.init_pid))
    os.kill(guard.guard_pid, signal.SIGKILL)
    await guard.wait_down()
    await until(left.exists, "nobody took it away")
    await world.spawn(options=CGROUP)
    assert not os.path.exists(left)  # noqa: ASYNC240, PTH110 - one stat of a local file


@contextlib.contextmanager
def frozen_by_the_old_freezer() -> Iterator[Path]:
    """A SIGKILL to what it froze waits for the thaw: the nearest thing to a process that hangs in a device."""
    directory = V1_FREEZER / f"thirdsite-test-{os.getpid()}"
    directory.mkdir()
    try:
        yield directory
    finally:
        (directory / "freezer.state").write_text("THAWED")
        for _ in range(1_000):
            with contextlib.suppress(OSError):
                directory.rmdir()
                break


@needs_freezer
async def test_what_no_kill_ends_is_reset_before_the_deadline(world: World) -> None:
    trigger = world.path / "sysrq-trigger"
    trigger.write_bytes(b"")
    options = json.dumps({"reset_trigger": str(trigger), "reset_before_ms": 200, "required": ["reset"]})
    guard = await world.spawn(options=options)
    assert (await guard.status()).ladder == ("term", "kill", "reset")
    with frozen_by_the_old_freezer() as freezer:
        deadline = await arm(guard, 1_500, term=0.4, kill=0.6)
        path = await world.victim(guard, "stuck", "stubborn")
        pid = int(path.read_bytes().split(b"\n")[0].split()[1])
        host_pid = next(one for one in guard_children(guard) if pid_inside(one) == pid)
        (freezer / "cgroup.procs").write_text(str(host_pid))
        (freezer / "freezer.state").write_text("FROZEN")
        await until_ns(deadline - 210 * MS)
        assert trigger.read_bytes() == b"", "not before its time: the kill may still work"
        await until(trigger.read_bytes, "the reset was asked for")
        assert now_ns() < deadline + 100 * MS
        assert trigger.read_bytes() == b"b"
        assert not guard.is_down, "nothing is called down that may be alive"
        with pytest.raises(NotProvenDown):
            await guard.fence()
    await guard.wait_down()


def guard_children(guard: GuardHandle) -> list[int]:
    from guard_world import in_namespace_of

    return in_namespace_of(guard.init_pid)


def pid_inside(host_pid: int) -> int:
    lines = Path(f"/proc/{host_pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


async def test_no_reset_is_asked_for_when_the_kill_works(world: World) -> None:
    trigger = world.path / "sysrq-trigger"
    trigger.write_bytes(b"")
    guard = await world.spawn(options=json.dumps({"reset_trigger": str(trigger), "reset_before_ms": 100}))
    deadline = await arm(guard, 900)
    path = await world.victim(guard, "daemon", "daemon", "stubborn")
    await guard.wait_down()
    await until_ns(deadline)
    assert trigger.read_bytes() == b""
    assert stamps(path)[-1] < deadline


@pytest.mark.parametrize("required", [True, False])
async def test_rungs_that_cannot_be_had_are_said_and_required_ones_make_the_site_not_ready(
    world: World, required: bool
) -> None:
    said = {
        "watchdog": f"{world.path}/watchdog",
        "reset_trigger": f"{world.path}/nosuch",
        "reset_before_ms": 100,
        "required": ["watchdog", "reset"] if required else [],
    }
    guard = await world.spawn(options=json.dumps(said))
    status = await guard.status()
    assert status.ladder == ("term", "kill")
    wanted = ("is its driver loaded", "nosuch cannot be written")
    told = "; ".join(status.missing) if required else status.note
    assert all(words in told for words in wanted), told
    assert (status.missing != ()) == required
    if required:
        with pytest.raises(GuardRefused, match="watchdog"):
            await arm(guard, 5_000)
        await guard.wait_down()
    else:
        await arm(guard, 5_000)
        assert guard.lacks == ()
