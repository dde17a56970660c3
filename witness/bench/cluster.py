"""The measured cluster: three durable witness processes on loopback, and sites with certificates of their own.

Everything lives in one directory to throw away, on the disk that it is on: both clusters write there.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from proto.edge.identity import OperatorRole, Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate
from proto.groups import GroupConfig, Mode
from proto.lease import LeaseConstants
from proto.limits import DRIFT_MAX_PPM_DEFAULT
from proto.units import GroupId, SiteId, WitnessId
from witness.bench.figures import Json
from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import HOST, Ports
from witness.demo.processes import Child, Fleet
from witness.group_fields import to_fields
from witness.pki.store import create_ca, issue
from witness.raft.store import create_store
from witness.raft.timers import RaftTimers

WITNESSES = ("w1", "w2", "w3")
START_S = 20.0
AT_ONCE = 32


class Cluster:
    def __init__(self, fleet: Fleet, root: Path, ports: Ports, timers: RaftTimers | None = None) -> None:
        self.fleet = fleet
        self.root = root
        self._timers = timers
        self.ca = create_ca(root / "pki", cluster_name="bench")
        self.api = {name: ports.take() for name in WITNESSES}
        self._peer = {name: ports.take() for name in WITNESSES}
        self.witnesses: dict[str, Child] = {}
        for name in WITNESSES:
            issue(self.ca.directory, Role.WITNESS, name, hosts=(HOST,))
            create_store(root / name, self.ca.cluster_id, WitnessId(name))
        issue(self.ca.directory, Role.OPERATOR, "bench", role=OperatorRole.ADMIN)
        self.session: aiohttp.ClientSession | None = None

    def certificate(self, site: str) -> Path:
        """Issued on first use; returns the directory with its files."""
        home = self.ca.directory / f"agent-{site}"
        if not home.exists():
            issue(self.ca.directory, Role.AGENT, site, hosts=(HOST,), groups=("*",))
        return home

    async def start(self) -> str:
        """Returns the leader's name."""
        for name in WITNESSES:
            await self.start_witness(name)
        home = self.ca.directory / "operator-bench"
        files = _files(home)
        context = client_context(files, accepting(own_certificate(files).identity, Role.WITNESS))
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=AT_ONCE))
        return await wait_for("the witnesses elect a leader", self.leader, START_S)

    async def start_witness(self, name: str) -> None:
        """Also again, after it was killed."""
        config = self.root / f"{name}.yaml"
        config.write_text(yaml.safe_dump(self._config(name)), encoding="utf-8")
        command = [sys.executable, "-m", "witness", "run", "-c", str(config)]
        self.witnesses[name] = await self.fleet.start(name, command, self.root / f"{name}.log")

    async def settled(self) -> str:
        """Waits until there is a leader and all have caught up; returns its name."""
        await wait_for("all witnesses have caught up", self._level, START_S)
        return await wait_for("the witnesses have a leader", self.leader, START_S)

    async def _level(self) -> bool:
        told = [await self.get(name, "/v1/status") for name in WITNESSES]
        known = [one for one in told if one is not None and one["caught_up"]]
        return len(known) == len(WITNESSES) and len({one["leader"] for one in known}) == 1

    async def leader(self) -> str | None:
        for name, child in self.witnesses.items():
            if child.exit_code is not None:
                raise Expected(f"{name} ended with exit code {child.exit_code}: see {child.log}")
            seen = await self.get(name, "/v1/status")
            if seen is not None and seen["leading"] and seen["has_quorum"] and seen["founded"]:
                return name
        return None

    async def get(self, witness: str, path: str) -> Json | None:
        if self.session is None:
            return None
        try:
            async with self.session.get(f"https://{HOST}:{self.api[witness]}{path}") as answer:
                return dict(await answer.json()) if answer.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def configure(self, leader: str, groups: Mapping[str, tuple[str, ...]], *, ttl_ms: int, mode: Mode) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(name: str, sites: tuple[str, ...]) -> None:
            async with gate:
                await self._put(leader, name, sites, ttl_ms, mode)

        await asyncio.gather(*(one(name, sites) for name, sites in groups.items()))

    async def _put(self, leader: str, name: str, sites: tuple[str, ...], ttl_ms: int, mode: Mode) -> None:
        constants = LeaseConstants(ttl_ms, DRIFT_MAX_PPM_DEFAULT, 0)
        config = GroupConfig(GroupId(name), tuple(SiteId(site) for site in sites), constants, mode)
        body = {"config": to_fields(config), "expected_version": 0}
        if self.session is None:
            raise Expected("the cluster was not started")
        async with self.session.put(f"https://{HOST}:{self.api[leader]}/v1/groups/{name}", json=body) as answer:
            if answer.status != 200:
                raise Expected(f"group {name}: {await answer.text()}")

    def _config(self, name: str) -> dict[str, Any]:
        home = self.ca.directory / f"witness-{name}"
        return {
            "cluster": str(self.ca.cluster_id),
            "witness": name,
            "data_dir": str(self.root / name),
            "listen": f"{HOST}:{self.api[name]}",
            "peers": [{"id": other, "address": f"{HOST}:{port}"} for other, port in self._peer.items()],
            "tls": {key: str(home / file) for key, file in _FILES.items()},
            # One client in a closed loop is faster than any agent; its frames are not to be slowed down here.
            "limits": {"streams_max": 1_024, "frames_per_s": 100_000, "answers_pending_max": 1_024},
            "log": {"level": "warning", "format": "json"},
            "raft": self._raft(),
        }

    def _raft(self) -> dict[str, str]:
        """Every timer written out, so that nothing depends on what a release takes for its default."""
        if self._timers is None:
            return {}
        return {name.removesuffix("_ms"): f"{value}ms" for name, value in asdict(self._timers).items()}

    def agent_config(self, site: str, group: str, ports: Ports) -> Path:
        """A real agent with one group whose activation starts one sleeping process."""
        home, pki = self.root / site, self.certificate(site)
        (home / "run").mkdir(parents=True, mode=0o700, exist_ok=True)
        step = {"name": "start", "command": ["/bin/sh", "-c", "sleep 1000 & exit 0"]}
        config = {
            "cluster": str(self.ca.cluster_id),
            "site": site,
            "tls": {key: str(pki / file) for key, file in _FILES.items()},
            "state_dir": str(home / "state"),
            "runtime_dir": str(home / "run"),
            "witnesses": [{"id": name, "address": f"{HOST}:{port}"} for name, port in self.api.items()],
            "local": {"http": f"{HOST}:{ports.take()}"},
            "groups": [{"group": group, "activation": {"timeout": "10s", "steps": [step | {"timeout": "5s"}]}}],
        }
        path = self.root / f"{site}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        ports.release()
        return path

    async def stop(self) -> None:
        if self.session is not None:
            await self.session.close()
        await self.fleet.end()


_FILES = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


def _files(home: Path) -> TlsFiles:
    return TlsFiles(**{key: home / file for key, file in _FILES.items()})


def make_root() -> Path:
    return Path(tempfile.mkdtemp(prefix="thirdsite-bench-"))


def remove_root(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)


class Load:
    """One load process, from `ready` over `go` to its result."""

    def __init__(self, process: asyncio.subprocess.Process, result: Path) -> None:
        self.pid = process.pid
        self._result = result
        self._process = process

    @classmethod
    async def start(cls, root: Path, name: str, job: Json, module: str = "witness.bench.load") -> Load:
        path = root / f"{name}.job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            str(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process, path.with_suffix(".result"))

    async def ready(self, seconds: float) -> None:
        """Raises Expected with the load's own words when it cannot begin."""
        async with asyncio.timeout(seconds):
            line = await self._line()
        if line != "ready":
            told = self._result.read_text(encoding="utf-8") if line == "done" else "{}"
            raise Expected(f"a load process: {json.loads(told).get('error', 'it died')}")

    def go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(b"go\n")

    async def result(self, seconds: float) -> Json:
        async with asyncio.timeout(seconds):
            line = await self._line()
            await self._process.wait()
        if line != "done":
            raise Expected(f"a load process ended with {self._process.returncode} and left no result")
        result: Json = json.loads(self._result.read_text(encoding="utf-8"))
        if "error" in result:
            raise Expected(f"a load process: {result['error']}")
        return result

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _line(self) -> str:
        return "" if self._process.stdout is None else (await self._process.stdout.readline()).decode().strip()
