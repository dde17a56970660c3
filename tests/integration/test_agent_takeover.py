"""A new agent process goes on where one was killed or upgraded: the platform never notices, no site takes over."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_process import SITE_AGENT, World, make_pki, runs, until

from proto.health import SiteState

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

# Beats every 5 ms into a file for as long as it lives.
PLATFORM = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    os.write(fd, b"%d %d\\n" % (time.clock_gettime_ns(time.CLOCK_BOOTTIME), os.getpid()))
    time.sleep(0.005)
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def world(tmp_path: Path, pki: Path) -> AsyncIterator[World]:
    made = World(tmp_path, pki)
    made.lease.ttl_ms = 60_000  # the next process may be slow to start on a busy machine
    async with made.witness:
        write_platform(made)
        yield made


def write_platform(world: World, *more: str) -> None:
    script = world.dir / "platform.py"
    script.write_text(PLATFORM)
    command = f"{SITE_AGENT[0]} -I -S {script} {world.dir}/beats &"
    start = f'{{name: start, command: [/bin/sh, -c, "{command}"]}}'
    world.write_config(activation=", ".join([*more, start]))


def beats(world: World) -> list[tuple[int, int]]:
    """(BOOTTIME, pid) of every sign of life; the last line may be torn."""
    lines = (world.dir / "beats").read_bytes().split(b"\n")[:-1]
    return [(int(at), int(pid)) for at, pid in (line.split() for line in lines)]


def unbroken(world: World) -> int:
    """The longest pause in ms of the one platform process that ever lived."""
    seen = beats(world)
    assert len({pid for _, pid in seen}) == 1, "the platform was started again"
    return max(later - sooner for (sooner, _), (later, _) in itertools.pairwise(seen)) // 1_000_000


async def active(world: World, epoch: int = 4) -> None:
    await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
    world.lease.grant(epoch)
    await until(lambda: world.lease.state is SiteState.ACTIVE and (world.dir / "beats").exists(), world.log())


def record(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.dir / "run" / "shop.guard").read_text())
    return found


async def renewed_by(world: World, hellos: int, more: int = 1) -> None:
    """The next process has said hello and renewed."""
    await until(lambda: len(world.witness.hellos) > hellos, f"no new process spoke: {world.log()}")
    renewal = world.lease.renewal
    await until(lambda: world.lease.renewal >= renewal + more, f"no renewals: {world.log()}")


async def test_kill_9_of_the_agent_and_a_new_one_goes_on_with_incarnation_epoch_and_platform(world: World) -> None:
    async with world.running() as process:
        await active(world)
        guard = record(world)
        process.kill()
        process.wait()
        hellos, killed = len(world.witness.hellos), time.monotonic()
        assert runs(guard["guard_pid"]), "the guard survives its agent"
    async with world.running():
        await renewed_by(world, hellos)
        gap_s = time.monotonic() - killed
        view = await world.status()
        assert {hello.incarnation for hello in world.witness.hellos} == {world.witness.hellos[0].incarnation}
        assert record(world) == guard, "it is the same guard"
        (group,) = view["groups"]
        assert (group["state"], group["epoch"], group["active"]) == ("active", 4, True)
        assert view["process"]["life"] == 1
        assert "namespace" in group["containment"] or "process-group" in group["containment"]
        assert world.lease.releases == []
        assert unbroken(world) < 1_000 * gap_s + 1_000

    assert [release.epoch for release in world.lease.releases] == [4], "an orderly stop still releases"
    assert not runs(guard["init_pid"])


async def test_an_upgrade_while_active_keeps_pid_incarnation_guard_and_platform(world: World) -> None:
    async with world.running() as process:
        await active(world)
        guard, hellos = record(world), len(world.witness.hellos)
        for life in (2, 4):  # a stand-in held in between
            done = await world.cli("upgrade", "-c", str(world.config), "--wait", "200")
            assert done.returncode == 0, done.stderr + world.log()
            assert "still holding shop" in done.stdout
            await renewed_by(world, hellos)
            hellos = len(world.witness.hellos)
            view = await world.status()
            assert (view["process"]["pid"], view["process"]["life"]) == (process.pid, life)
        assert len({hello.incarnation for hello in world.witness.hellos}) == 1
        assert record(world) == guard
        assert world.lease.releases == []
        assert unbroken(world) < 1_000, "the platform stood still"
    assert [release.epoch for release in world.lease.releases] == [4]
    assert process.returncode == 0


async def test_an_upgrade_that_would_not_start_is_refused_and_changes_nothing(world: World) -> None:
    async with world.running() as process:
        await active(world)
        good = world.config.read_text()
        world.config.write_text(good.replace("runtime_dir", "runtimedir"))
        process.send_signal(signal.SIGUSR2)
        await until(lambda: "upgrade_refused" in world.log(), world.log())
        assert "did you mean 'runtime_dir'?" in world.log()
        renewal = world.lease.renewal
        await until(lambda: world.lease.renewal > renewal, "it no longer renews")
        world.config.write_text(good)
        with rotten(good):
            done = await world.cli("upgrade", "-c", str(world.config), "--wait", "200")
        assert done.returncode == 78
        assert "refused, the agent goes on as it is" in done.stderr
        assert world.lease.state is SiteState.ACTIVE


@contextlib.contextmanager
def rotten(config: str) -> Iterator[None]:
    """Its certificate cannot be read for a while."""
    certificate = Path(config.split("cert: ")[1].split(",", maxsplit=1)[0])
    kept = certificate.read_bytes()
    certificate.write_bytes(b"rot")
    try:
        yield
    finally:
        certificate.write_bytes(kept)


async def test_a_crash_within_a_step_is_resumed_and_the_step_runs_once(world: World) -> None:
    """The step goes on under the guard while no agent lives, and its end is remembered for the next one."""
    ran, go = world.dir / "ran", world.dir / "go"
    slow = f'{{name: slow, command: [/bin/sh, -c, "echo x >> {ran}; until [ -e {go} ]; do sleep 0.02; done"]}}'
    write_platform(world, slow)
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(ran.exists, world.log())
        process.kill()
        process.wait()
        go.touch()
        hellos = len(world.witness.hellos)
    async with world.running():
        await renewed_by(world, hellos)
        await until(lambda: world.lease.state is SiteState.ACTIVE, world.log())
        assert ran.read_text() == "x\n"
        assert world.lease.releases == []
        assert len({hello.incarnation for hello in world.witness.hellos}) == 1


async def test_an_upgrade_within_a_step_waits_for_it_too(world: World) -> None:
    ran, go = world.dir / "ran", world.dir / "go"
    slow = f'{{name: slow, command: [/bin/sh, -c, "echo x >> {ran}; until [ -e {go} ]; do sleep 0.02; done"]}}'
    write_platform(world, slow)
    async with world.running():
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(ran.exists, world.log())
        assert (await world.cli("upgrade", "-c", str(world.config), "--wait", "200")).returncode == 0, world.log()
        go.touch()
        await until(lambda: world.lease.state is SiteState.ACTIVE, world.log())
        assert ran.read_text() == "x\n"


async def test_when_the_guard_is_gone_too_the_next_agent_starts_cold_and_takes_back(world: World) -> None:
    undone = world.dir / "undone"
    fails = f'{{name: hangs, command: [/bin/sleep, "600"], timeout: 60s, undo: [/bin/touch, "{undone}"]}}'
    write_platform(world, fails)
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(lambda: world.lease.state is SiteState.ACTIVATING, world.log())
        journal = world.dir / "state" / "shop.plan"
        await until(lambda: journal.exists() and b'"begin"' in journal.read_bytes(), world.log())
        guard = record(world)
        process.kill()
        process.wait()
        os.kill(guard["guard_pid"], signal.SIGKILL)
    first = world.witness.hellos[0].incarnation
    world.lease.expire()
    world.lease.reports.clear()
    async with world.running():
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        assert world.witness.hellos[-1].incarnation != first
        await until(lambda: world.witness.ended == (first,), "it names the incarnation that ended before it")
        assert undone.exists()
        assert not runs(guard["init_pid"])
        await until(lambda: world.lease.reports[-1].finished_epoch == 4, world.log())


async def test_a_second_agent_gets_neither_the_directory_nor_the_guard(world: World) -> None:
    async with world.running():
        await active(world)
        second = await world.cli("run", "-c", str(world.config))
        assert second.returncode == 69
        door = world.dir / "run" / "shop.guard.sock"
        assert door.stat().st_mode & 0o777 == 0o600
        asked = await asyncio.to_thread(ask_door, door)
        assert asked["code"] == "controlled"
        renewal = world.lease.renewal
        await until(lambda: world.lease.renewal > renewal, "the first one no longer renews")


def ask_door(path: Path) -> dict[str, Any]:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        answer: dict[str, Any] = json.loads(sock.makefile("rb").readline())
        return answer
