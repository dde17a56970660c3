"""`site-agent` as a real process beside a scripted witness, for the tests that kill, upgrade and look at it."""

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
from proto.units import GroupId
from witness.pki.store import create_ca, issue

WAIT_S = 90.0
CLI_S = 240.0
"""An upgrade starts three interpreters one after the other: minutes on a machine that is busy with other things."""
SITE_AGENT = (sys.executable, "-m", "agents")


def make_pki(directory: Path) -> Path:
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

    def write_config(self, *, cert: str = "dc-a", site: str = "dc-a", activation: str = "") -> None:
        """`activation`: the steps, as YAML in one line."""
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
    activation: {{steps: [{activation or self.start_step()}]}}
    probes: [{{name: ok, role: ready, kind: exec, command: [/bin/true], interval: 200ms, timeout: 200ms, rise: 1}}]
""")

    def start_step(self) -> str:
        return f'{{name: start, command: [/bin/sh, -c, "echo $$ > {self.dir}/pid; sleep 600 &"]}}'

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
            timeout=CLI_S,
            check=False,
        )

    async def status(self) -> dict[str, Any]:
        done = await self.cli("status", "-c", str(self.config), "--json")
        assert done.returncode == 0, done.stderr
        view: dict[str, Any] = json.loads(done.stdout)
        return view

    def log(self) -> str:
        return (self.dir / "log").read_text()
