"""Two real agents and three real witnesses; the paths between them can be cut one by one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from free_ports import free_ports
from network_gate import Gate
from witness_cluster import Cluster

from agents.local.client import AgentUnreachable, agent_status
from proto.clock import SystemClock
from proto.units import NS_PER_MS
from witness.pki.store import issue

A, B = "dc-a", "dc-b"
WAIT_S = 90.0


class TwoSites:
    """`paths` by name: "dc-a w1" ... for a site's way to a witness, "dc-a dc-b" for the site link in that direction."""

    def __init__(self, directory: Path, ttl_ms: int) -> None:
        self.directory = directory
        self.ttl_ms = ttl_ms
        self.cluster = Cluster(directory)
        issue(self.cluster.pki, "agent", B, groups=["shop"])
        self.more: dict[str, Any] = {}
        """Of the group, at the witnesses."""
        self.paths: dict[str, Gate] = {}
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._clock = SystemClock()

    # -- files ----------------------------------------------------------------------------------------------

    async def _gate(self, name: str, target: int) -> str:
        self.paths[name] = Gate(target)
        return f"127.0.0.1:{await self.paths[name].start()}"

    async def _configure(self, site: str, other: str, listen: dict[str, int]) -> None:
        where = self.cluster.pki / f"agent-{site}"
        ports = self.cluster.listen
        witnesses = [{"id": name, "address": await self._gate(f"{site} {name}", ports[name])} for name in ports]
        peers = [{"site": other, "address": await self._gate(f"{site} {other}", listen[other])}]
        loop = f"while :; do date +%s%N >> {self.stamps(site)}; sleep 0.05; done &"
        probe = {"name": "ok", "role": "ready", "kind": "exec", "command": ["/bin/true"], "interval": "1s"}
        config = {
            "cluster": str(self.cluster.cluster_id),
            "site": site,
            "tls": {part: str(where / f"{part}.pem") for part in ("ca", "cert", "key")},
            "state_dir": f"{site}-state",
            "runtime_dir": f"{site}-run",
            "witnesses": witnesses,
            "site_link": {"listen": f"127.0.0.1:{listen[site]}", "peers": peers},
            "log": {"format": "json"},
            "groups": [
                {
                    "group": "shop",
                    "activation": {"steps": [{"name": "start", "command": ["/bin/sh", "-c", loop]}]},
                    "probes": [{**probe, "rise": 1}, {**probe, "name": "data", "role": "data", "rise": 1}],
                }
            ],
        }
        (self.directory / f"{site}.yaml").write_text(json.dumps(self.adapted(site, config)), encoding="utf-8")

    def adapted(self, site: str, config: dict[str, Any]) -> dict[str, Any]:
        """For what a test has beside this."""
        del site
        return config

    # -- life -----------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Until dc-a is active and both sites reach each other."""
        listen = dict(zip((A, B), free_ports(2), strict=True))
        await self._configure(A, B, listen)
        await self._configure(B, A, listen)
        for name in self.cluster.names:
            made = self.cluster.witness("init", "-c", str(self.directory / f"{name}.yaml"))
            assert made.returncode == 0, made.stderr
            self.cluster.start(name)
        await self.cluster.leader()
        groups = self.directory / "groups.yaml"
        entry = {"group": "shop", "sites": [A, B], "ttl": f"{self.ttl_ms}ms", "cooldown": "0ms", **self.more}
        groups.write_text(json.dumps({"groups": [entry]}), encoding="utf-8")
        async with asyncio.timeout(WAIT_S):  # the cluster agrees on what all witnesses can write first
            while (await self.cluster.ctl("apply", "-f", str(groups), "--reason", "test"))[0] != 0:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.2)
        for site in (A, B):
            self.start(site)
            await self.until(lambda: self.look(A)["state"] == "active", "dc-a is active")
        await self.until(lambda: self.linked(A) and self.linked(B), "both sites reach each other")

    def start(self, site: str) -> None:
        with (self.directory / f"{site}.log").open("ab") as log:
            self._agents[site] = subprocess.Popen(
                [sys.executable, "-m", "agents", "run", "-c", str(self.directory / f"{site}.yaml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ},
            )

    async def end(self) -> None:
        for gate in self.paths.values():
            gate.mend()
        for process in self._agents.values():
            process.send_signal(signal.SIGTERM)
        for process in self._agents.values():
            try:
                await asyncio.to_thread(process.wait, WAIT_S)
            finally:
                process.kill()
                process.wait()
        self.cluster.end_all()
        for gate in self.paths.values():
            await gate.close()

    # -- the network ----------------------------------------------------------------------------------------

    def cut(self, *names: str) -> None:
        for name in names:
            self.paths[name].cut()

    def mend(self, *names: str) -> None:
        for name in names:
            self.paths[name].mend()

    def to_witnesses(self, site: str) -> tuple[str, ...]:
        return tuple(f"{site} {name}" for name in self.cluster.names)

    # -- looks ----------------------------------------------------------------------------------------------

    def status(self, site: str) -> dict[str, Any]:
        """{} while no agent answers."""
        try:
            return agent_status(self.directory / f"{site}-run" / "status.sock")
        except AgentUnreachable:
            return {}

    def look(self, site: str) -> dict[str, Any]:
        (group,) = self.status(site).get("groups") or ({"state": "", "active": False, "epoch": 0},)
        return dict(group)

    def holds(self, site: str) -> dict[str, Any]:
        found: dict[str, Any] = self.look(site).get("holds", {})
        return found

    def via(self, site: str) -> str | None:
        """Who carries the site's renewals."""
        found: str | None = self.status(site).get("relay", {}).get("answered_via")
        return found

    def linked(self, site: str) -> bool:
        link = self.status(site).get("site_link")
        return link is not None and all(peer["connected"] for peer in link["peers"])

    def log(self, site: str) -> str:
        return (self.directory / f"{site}.log").read_text(encoding="utf-8", errors="replace")

    def stamps(self, site: str) -> Path:
        return self.directory / f"{site}.stamps"

    def signs(self, site: str) -> list[int]:
        """When the platform of that site ran, in nanoseconds of one clock for both."""
        path = self.stamps(site)
        return [int(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    def now_ms(self) -> int:
        return self._clock.now() // NS_PER_MS

    async def until(self, condition: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> int:
        """How long it took, in milliseconds."""
        began = self.now_ms()
        try:
            async with asyncio.timeout(limit_s):
                while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other processes have no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {limit_s:g} s: {what}\n{self.log(A)}\n{self.log(B)}") from None
        return self.now_ms() - began

    async def throughout(self, condition: Callable[[], bool], what: str, span_s: float) -> None:
        """Looked at again and again for a span that must pass."""
        ends = self.now_ms() + span_s * 1_000
        while self.now_ms() < ends:
            assert await asyncio.to_thread(condition), f"no longer: {what}\n{self.log(A)}\n{self.log(B)}"
            await asyncio.sleep(0.1)
