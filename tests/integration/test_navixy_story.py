"""Navixy's stand-in on two real sites: its key changes seconds before its site dies, and replication is behind.

Real witnesses, agents, guards, MariaDB with replication, and the commands of deploy/navixy; the vendor is the referee.
With the license in escrow the other site starts with the newest key; without it the same story ends with a dead key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_ports
from maria_rig import DEPLOY, MariaServer, forget_seed, needs_mariadb, two_servers
from navixy_config import component_of, license_of, probes_of
from navixy_vendor import Vendor
from two_sites import A, B, TwoSites

from agents.license.key_file import KeyRing, draw_key, save_ring
from witness.ctl.client import ClusterClient, group_path
from witness.ctl.context import connect
from witness.ctl.errors import Unreachable

__all__ = ["forget_seed"]  # a fixture

pytestmark = [pytest.mark.process, pytest.mark.timeout(600), needs_mariadb]
STAND_IN = Path(__file__).with_name("navixy_stand_in.py")
TTL_MS = 6_000
START_S = 1.5


def step(name: str, *command: str, undo: tuple[str, ...] = (), timeout: str = "20s") -> dict[str, Any]:
    return {"name": name, "command": list(command), "timeout": timeout, **({"undo": list(undo)} if undo else {})}


def heard_fit(client: ClusterClient, site: str) -> bool:
    try:
        sites = client.get(group_path("shop"))["sites"]
    except Unreachable:
        return False
    return any(one["site"] == site and one["ready"] and one["lag_ms"] is not None for one in sites)


class NavixySites(TwoSites):
    """As deploy/navixy/agent-systemd.yaml, less systemd, whose part the stand-in plays."""

    def __init__(
        self, directory: Path, servers: tuple[MariaServer, MariaServer], vendor: Vendor, *, escrow: bool
    ) -> None:
        super().__init__(directory, TTL_MS)
        self.servers = dict(zip((A, B), servers, strict=True))
        self.vendor = vendor
        self.escrow = escrow
        self.more = {"max_replication_lag": "30s"}
        if escrow:
            self.more["licenses"] = [{"name": "fingerprint", "escrow": "required"}]
        self._ring = KeyRing((draw_key(),))

    def platform(self, site: str) -> Path:
        return self.directory / f"{site}-platform"

    def _stand_in(self, verb: str, site: str) -> tuple[str, ...]:
        return sys.executable, str(STAND_IN), verb, str(self.platform(site))

    def _check(self, site: str, *options: str) -> tuple[str, ...]:
        return sys.executable, str(DEPLOY / "navixy_check.py"), *options, "--", *self._stand_in("check", site)

    async def _configure(self, site: str, other: str, listen: dict[str, int]) -> None:
        await super()._configure(site, other, listen)
        server = self.servers[site]
        self.platform(site).mkdir()
        ports = dict(zip(("api-server", "sms-server", "tcp-server"), free_ports(3), strict=True))
        said = {"db": str(server.navixy_db), "vendor": self.vendor.url, "site": site, "ports": ports}
        said |= {"start_s": START_S, "exchange_s": 600}
        (self.platform(site) / "platform.json").write_text(json.dumps(said), encoding="utf-8")
        path = self.directory / f"{site}.yaml"
        config = json.loads(path.read_text(encoding="utf-8"))
        config["groups"] = [self._group(site)]
        path.write_text(json.dumps(config), encoding="utf-8")

    def _group(self, site: str) -> dict[str, Any]:
        db = self.servers[site].command
        stop = self._stand_in("stop", site)
        group: dict[str, Any] = {
            "group": "shop",
            "activation": {
                "steps": [
                    step("promote-db", *db("promote"), undo=tuple(db("demote"))),
                    step("start-services", *self._stand_in("start", site), undo=stop),
                    step("wait-until-up", *self._check(site, "--wait", "12")),
                ]
            },
            "deactivation": {"steps": [step("stop-services", *stop), step("demote-db", *db("demote"))]},
            "components": [component_of(self.servers[site])],
            "probes": probes_of(self.servers[site], self._check(site)),
        }
        if self.escrow:
            group["licenses"] = [self._license(site)]
        return group

    def _license(self, site: str) -> dict[str, Any]:
        key_file = self.directory / f"{site}.sealing"
        save_ring(key_file, self._ring)
        return license_of(self.servers[site], key_file)

    def held(self, site: str) -> str:
        (one,) = self.look(site).get("licenses") or ({"held": "none"},)
        return str(one["held"])

    async def until_fit(self, site: str) -> None:
        """It is ready and knows how far its replica is behind, and the witnesses have heard so: it may be granted."""
        await self.until(lambda: self.look(site)["ready"] is True, f"{site} is ready")
        await self.until(lambda: self.look(site)["lag_ms"] is not None, f"{site} knows its lag")
        with contextlib.closing(connect(self.directory / "ctl.yaml", budget_s=10.0)) as client:
            await self.until(lambda: heard_fit(client, site), f"the witnesses have heard so of {site}")

    async def exchange(self, site: str) -> None:
        """What the running platform does every few days, and then its row has the new key."""
        before = self.vendor.exchanges
        (self.platform(site) / "exchange").touch()
        await self.until(lambda: self.vendor.exchanges == before + 1, "the key was exchanged")
        await self.until(lambda: self.servers[site].key() == self.vendor.key, "the row has it")

    def kill_site(self, site: str) -> None:
        """Agent, guard with everything in its namespace, and the database, as a power cut would."""
        agent = self._agents.pop(site)
        agent.kill()
        agent.wait()
        record = json.loads((self.directory / f"{site}-run" / "shop.guard").read_bytes())
        for pid in (record["init_pid"], record["guard_pid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.servers[site].kill()


async def follow_each_other(sites: NavixySites) -> None:
    """Both read-only: nobody writes, whoever is granted is fit."""
    for server in sites.servers.values():
        assert (await asyncio.to_thread(server.db, "follow"))[0] == 0


@contextlib.asynccontextmanager
async def story(directory: Path, *, escrow: bool) -> AsyncIterator[NavixySites]:
    """Until dc-a is active, its key was exchanged twice, the replica is behind, and dc-a is dead."""
    vendor = Vendor("key-1")
    await vendor.start()
    with two_servers() as servers:
        sites = NavixySites(directory, servers, vendor, escrow=escrow)
        try:
            await follow_each_other(sites)
            await sites.begin()
            await sites.until_fit(B)
            first = vendor.key
            await sites.until(lambda: servers[1].key() == first, "the first exchange was replicated")
            servers[1].sql("STOP REPLICA IO_THREAD")
            sealed = sites.held(A)
            await sites.exchange(A)
            if escrow:
                await sites.until(lambda: sites.held(A) != sealed, "dc-a sealed it")
                await sites.until(lambda: sites.held(B) == sites.held(A), "dc-b holds it")
            assert servers[1].key() == first, "replication is behind"
            sites.kill_site(A)
            yield sites
        finally:
            await sites.end()
            await vendor.stop()


async def test_with_escrow_the_other_site_starts_with_the_newest_key(tmp_path: Path) -> None:
    async with story(tmp_path, escrow=True) as sites:
        vendor = sites.vendor
        await sites.until(lambda: sites.look(B)["state"] == "active", "dc-b is active", 60)
        assert [site for site, _instance in vendor.activations] == [A, B]
        assert vendor.violations == []
        assert sites.servers[B].key() == vendor.key
        assert sites.servers[B].db("out-of-role")[0] == 1, "it takes writes"
        await sites.exchange(B)
        assert vendor.violations == []
        assert vendor.key not in sites.log(B)


async def test_without_escrow_the_same_story_ends_with_a_dead_key(tmp_path: Path) -> None:
    async with story(tmp_path, escrow=False) as sites:
        vendor = sites.vendor
        await sites.until(lambda: vendor.violations != [], "the vendor saw the old key", 60)
        assert vendor.violations == [f"old key from {B}"]
        assert vendor.dead
        await sites.until(lambda: sites.look(B)["state"] == "standby", "dc-b unwinds what it began", 60)
        assert sites.servers[B].db("out-of-role") == (0, "read-only")
