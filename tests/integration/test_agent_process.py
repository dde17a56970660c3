"""`site-agent` as its users start it: command line, certificates, signals, a second instance, its socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_witness import ScriptedLease, ScriptedWitness

from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, own_certificate, server_context
from proto.health import SiteState
from proto.messages import RevokePhase
from proto.units import GroupId
from witness.pki.store import create_ca, issue

pytestmark = pytest.mark.process
WAIT_S = 30.0
SITE_AGENT = (sys.executable, "-m", "agents")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    create_ca(directory)
    issue(directory, "witness", "w1", hosts=["127.0.0.1"])
    issue(directory, "agent", "dc-a", groups=["shop"], hosts=["127.0.0.1"])
    issue(directory, "agent", "dc-b", groups=["other"], hosts=["127.0.0.1"])
    return directory


def files(pki: Path, name: str) -> TlsFiles:
    directory = pki / f"{'witness' if name == 'w1' else 'agent'}-{name}"
    return TlsFiles(directory / "ca.pem", directory / "cert.pem", directory / "key.pem")


def start(*command: str, log: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=log, stderr=log)


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


async def until(condition: Callable[[], bool], why: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():  # noqa: ASYNC110 - conditions of the outside world have no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail(why)


class World:
    def __init__(self, tmp_path: Path, pki: Path) -> None:
        self.dir = tmp_path
        self.pki = pki
        self.lease = ScriptedLease(GroupId("shop"), ttl_ms=10_000)
        own = own_certificate(files(pki, "w1"))
        self.cluster = own.identity.cluster_id
        context = server_context(files(pki, "w1"), accepting(own.identity, Role.AGENT))
        self.witness = ScriptedWitness("w1", self.cluster, self.lease, tls=context)
        self.config = tmp_path / "agent.yaml"

    def write_config(self, *, cert: str = "dc-a", site: str = "dc-a") -> None:
        own = files(self.pki, cert)
        self.config.write_text(f"""
cluster: {self.cluster}
site: {site}
tls: {{ca: {own.ca}, cert: {own.cert}, key: {own.key}}}
state_dir: state
runtime_dir: run
witnesses: [{{id: w1, address: "{self.witness.endpoint}"}}]
log: {{format: json}}
groups:
  - group: shop
    activation: {{steps: [{{name: start, command: [/bin/sh, -c, "echo $$ > {self.dir}/pid; sleep 600 &"]}}]}}
    probes: [{{name: ok, role: ready, kind: exec, command: [/bin/true], interval: 200ms, timeout: 200ms, rise: 1}}]
""")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[subprocess.Popen[bytes]]:
        with (self.dir / "log").open("ab") as log:
            process = start(*SITE_AGENT, "run", "-c", str(self.config), log=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.to_thread(process.wait, WAIT_S)
                finally:
                    process.kill()
            process.wait()

    async def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(
            subprocess.run,
            [*SITE_AGENT, *arguments],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    async def status(self) -> dict[str, Any]:
        done = await self.cli("status", "-c", str(self.config), "--json")
        assert done.returncode == 0, done.stderr
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def log(self) -> str:
        return (self.dir / "log").read_text()


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
        assert second.returncode == 78
        assert f"pid {process.pid}" in second.stderr
        process.send_signal(signal.SIGHUP)
        await until(lambda: "certificates_reloaded" in world.log(), "no reload")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT_S) == 0, world.log()
    assert [release.epoch for release in world.lease.releases] == [4]
    gone = await world.cli("status", "-c", str(world.config))
    assert gone.returncode == 69


async def test_a_killed_agent_leaves_nothing_beyond_the_lease(world: World) -> None:
    """The next agent proves everything down and comes with a new incarnation."""
    async with world.running() as process:
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        world.lease.grant(4)
        await until(lambda: world.lease.state is SiteState.ACTIVE, world.log())
        record = json.loads((world.dir / "run" / "shop.guard").read_text())
        process.kill()
        process.wait()
    world.lease.expire()
    first = world.witness.hellos[0].incarnation
    world.lease.reports.clear()
    async with world.running():
        await until(lambda: world.lease.state is SiteState.STANDBY, world.log())
        assert world.witness.hellos[-1].incarnation != first
        assert world.lease.reports[-1].epoch_bound == 4
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
