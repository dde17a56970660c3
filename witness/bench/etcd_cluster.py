"""Debian's etcd-server beside us: three durable members on loopback, their data on the same disk, in the same run."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import aiohttp

from witness.bench.figures import Json
from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import HOST, Ports
from witness.demo.processes import Child, Fleet
from witness.raft.timers import RaftTimers

MEMBERS = ("e1", "e2", "e3")
START_S = 30.0
MISSING = "etcd is not installed, so there is nothing to compare with; on Debian: apt-get install etcd-server"


def etcd_version() -> str | None:
    """None when it is not installed."""
    program = shutil.which("etcd")
    if program is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return said.stdout.partition("\n")[0].removeprefix("etcd Version: ").strip() or "unknown"


class EtcdCluster:
    def __init__(self, fleet: Fleet, root: Path, ports: Ports, timers: RaftTimers | None = None) -> None:
        """`timers`: ours, of which etcd takes the append period and the shorter election timeout; else its own."""
        self.fleet = fleet
        self.root = root
        self._timers = timers
        self.client_ports = {name: ports.take() for name in MEMBERS}
        self._peer_ports = {name: ports.take() for name in MEMBERS}
        self.members: dict[str, Child] = {}

    async def start(self) -> str:
        """Returns the leader's name."""
        for name in MEMBERS:
            await self.start_member(name)
        return await self.settled()

    async def start_member(self, name: str) -> None:
        """Also again, after it was killed."""
        cluster = ",".join(f"{name}=http://{HOST}:{port}" for name, port in self._peer_ports.items())
        client, peer = f"http://{HOST}:{self.client_ports[name]}", f"http://{HOST}:{self._peer_ports[name]}"
        command = ["etcd", "--name", name, "--data-dir", str(self.root / name), "--initial-cluster", cluster]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        if self._timers is not None:
            command += ["--heartbeat-interval", str(self._timers.append_period_ms)]
            command += ["--election-timeout", str(self._timers.election_min_ms)]
        self.members[name] = await self.fleet.start(name, command, self.root / f"{name}.log")

    async def settled(self) -> str:
        """Waits for a leader that takes writes; returns its name."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            leader = await wait_for("etcd elects a leader", lambda: self._leader(session), START_S)
            await self._put_once(session, leader)
            await wait_for("every member of etcd has applied it", lambda: self._level(session), START_S)
        return leader

    async def _level(self, session: aiohttp.ClientSession) -> bool:
        told = [await self._status(session, name) for name in MEMBERS]
        known = [one for one in told if one is not None]
        return len(known) == len(MEMBERS) and len({one.get("leader") for one in known}) == 1

    async def _leader(self, session: aiohttp.ClientSession) -> str | None:
        for name in MEMBERS:
            if self.members[name].exit_code is not None:
                raise Expected(f"etcd {name} ended: see {self.members[name].log}")
            status = await self._status(session, name)
            if status is not None and status.get("leader", "0") == status.get("header", {}).get("member_id"):
                return name
        return None

    async def _status(self, session: aiohttp.ClientSession, name: str) -> Json | None:
        try:
            async with session.post(f"http://{HOST}:{self.client_ports[name]}/v3/maintenance/status", json={}) as told:
                return dict(await told.json())
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _put_once(self, session: aiohttp.ClientSession, leader: str) -> None:
        """The first put, by etcd's own gateway: proves that it takes writes before it is measured."""
        body = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", "bench"), ("value", "1"))}
        async with session.post(f"http://{HOST}:{self.client_ports[leader]}/v3/kv/put", json=body) as answer:
            if answer.status != 200:
                raise Expected(f"etcd refuses a put: {await answer.text()}")
