"""`site-agent` as its users start it: command line, certificates, signals, a second instance, its socket."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_process import SITE_AGENT, WAIT_S, World, command_line, make_pki, mapped, runs, start, until

from proto.health import SiteState
from proto.messages import RevokePhase

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
async def world(tmp_path: Path, pki: Path) -> AsyncIterator[World]:
    made = World(tmp_path, pki)
    async with made.witness:
        made.write_config()
        yield made


async def test_run_status_and_an_orderly_stop(world: World) -> None:
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(lambda: world.lease.state is SiteState.ACTIVE, world.log())
        view = await world.status()
        (group,) = view["groups"]
        assert (group["state"], group["active"], group["epoch"], group["ready"]) == ("active", True, 4, True)
        assert group["probes"] == {"ok": {"passing": True, "detail": ""}}
        assert view["streams"][0]["state"] == "open"
        assert view["resident_bytes"] > 0
        table = await world.cli("status", "-c", str(world.config))
        assert "shop" in table.stdout
        assert "active" in table.stdout
        assert b"agents.runtime" in command_line(process.pid), "the checker's interpreter was replaced"
        second = await world.cli("run", "-c", str(world.config))
        assert second.returncode == 69
        assert f"pid {process.pid}" in second.stderr
        process.send_signal(signal.SIGHUP)
        await until(lambda: "certificates_reloaded" in world.log(), "no reload")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT_S) == 0, world.log()
    assert [release.epoch for release in world.lease.releases] == [4]
    gone = await world.cli("status", "-c", str(world.config))
    assert gone.returncode == 69


async def test_a_killed_agent_leaves_nothing_beyond_the_lease(world: World) -> None:
    """The next one goes on for its incarnation, hears that the lease is over, and proves everything down."""
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(lambda: world.lease.state is SiteState.ACTIVE, world.log())
        record = json.loads((world.dir / "run" / "shop.guard").read_text())
        process.kill()
        process.wait()
    world.lease.expire()
    world.lease.reports.clear()
    async with world.running():
        await until(lambda: world.lease.state is SiteState.FENCED, world.log())
        assert {hello.incarnation for hello in world.witness.hellos} == {world.witness.hellos[0].incarnation}
        await until(lambda: world.lease.reports[-1].finished_epoch == 4, world.log())
        former = (record["guard_pid"], record["init_pid"])
        assert [pid for pid in former if runs(pid)] == [], world.log()


@pytest.mark.parametrize(
    ("cert", "site", "words"),
    [("dc-b", "dc-a", "does not speak for 'dc-a'"), ("dc-b", "dc-b", "may not serve shop")],
)
async def test_a_certificate_that_is_not_the_agents_own(world: World, cert: str, site: str, words: str) -> None:
    world.write_config(cert=cert, site=site)
    for command in ("run", "check"):
        done = await world.cli(command, "-c", str(world.config))
        assert done.returncode == 78
        assert words in done.stderr
        assert "witness pki issue agent" in done.stderr


async def test_check_and_schema(world: World) -> None:
    done = await world.cli("check", "-c", str(world.config))
    assert done.returncode == 0, done.stderr
    assert "days left" in done.stdout
    world.config.write_text(world.config.read_text().replace("runtime_dir", "runtimedir"))
    done = await world.cli("check", "-c", str(world.config))
    assert done.returncode == 78
    assert "did you mean 'runtime_dir'?" in done.stderr
    done = await world.cli("schema")
    assert json.loads(done.stdout)["properties"]["groups"]
    assert (await world.cli("bogus")).returncode == 64


async def test_exec_waits_for_the_lease_and_ends_with_it(world: World) -> None:
    async with world.running():
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        command = [
            *SITE_AGENT,
            "exec",
            "--group",
            "shop",
            "--socket",
            str(world.dir / "run" / "agent.sock"),
            "--",
        ]
        started = world.dir / "exec-started"
        script = f"touch {started}; exec sleep 600"
        guarded = start(*command, "/bin/sh", "-c", script, log=subprocess.DEVNULL)
        try:
            await until(lambda: b"guard_main" in command_line(guarded.pid), "no exec")
            assert not started.exists(), "started without a lease"
            world.lease.grant(4)
            await until(started.exists, world.log())
            world.lease.revoke = RevokePhase.REVOKING
            assert await asyncio.to_thread(guarded.wait, WAIT_S) == 75
            await until(lambda: world.lease.releases != [], world.log())
        finally:
            guarded.kill()
            guarded.wait()


async def test_nothing_heavy_stays_in_the_running_agent(world: World) -> None:
    """The settings' values travel; the libraries that read them do not, nor what structlog loads for colours."""
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        maps = mapped(process.pid)
    assert "uvloop" in maps
    assert "pydantic_core" not in maps
    assert "_yaml" not in maps
    assert "cryptography" not in maps
