"""The third location is gone: the active site goes on by the other site's holds, and ends when those end too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_ports
from two_sites import A, B, TwoSites

from witness.pki.store import issue

TTL_MS = 12_000

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


class WithMember(TwoSites):
    """dc-a has a member with a program of its own, and a step for resources that must know the epoch."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, TTL_MS)
        issue(self.cluster.pki, "member", "db1.dc-a", groups=["shop"])
        (port,) = free_ports(1)
        self.lead = f"127.0.0.1:{port}"
        self._member: subprocess.Popen[bytes] | None = None

    def adapted(self, site: str, config: dict[str, Any]) -> dict[str, Any]:
        if site == B:
            return config
        tell = f"echo $THIRDSITE_EPOCH >> {self.directory}/told"
        (group,) = config["groups"]
        group["on_epoch"] = [{"name": "tell", "command": ["/bin/sh", "-c", tell]}]
        group["activation"]["steps"].insert(0, {"name": "start-db", "member": "db1", "timeout": "20s"})
        return {**config, "members_listen": self.lead, "members": [{"name": "db1", "groups": ["shop"]}]}

    def start(self, site: str) -> None:
        super().start(site)
        if site == A and self._member is None:
            self._start_member()

    def _start_member(self) -> None:
        where = self.cluster.pki / "member-db1.dc-a"
        loop = f"while :; do date +%s%N >> {self.stamps('db1')}; sleep 0.05; done &"
        config = {
            "cluster": str(self.cluster.cluster_id),
            "site": A,
            "member": "db1",
            "lead": self.lead,
            "tls": {part: str(where / f"{part}.pem") for part in ("ca", "cert", "key")},
            "state_dir": "db1-state",
            "runtime_dir": "db1-run",
            "groups": [{"group": "shop", "steps": [{"name": "start-db", "command": ["/bin/sh", "-c", loop]}]}],
        }
        path = self.directory / "db1.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        with (self.directory / "db1.log").open("ab") as log:
            command = [sys.executable, "-m", "agents", "member", "-c", str(path)]
            self._member = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def member_epoch(self) -> int:
        (row,) = self.look(A).get("members") or ({"epoch": 0},)
        return int(row["epoch"])

    def told(self) -> list[int]:
        path = self.directory / "told"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    async def end(self) -> None:
        await super().end()
        if self._member is not None:
            self._member.kill()
            self._member.wait()


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[WithMember]:
    made = WithMember(tmp_path)
    try:
        await made.begin()
        known = [A, B]
        await made.until(lambda: made.look(A)["sites"] == made.look(B)["sites"] == known, "the sites are known")
        yield made
    finally:
        await made.end()


def third_location(sites: TwoSites) -> tuple[str, ...]:
    return (*sites.to_witnesses(A), *sites.to_witnesses(B))


def lives_on_holds(sites: TwoSites, epoch: int) -> bool:
    one = sites.look(A)
    return one["active"] is True and one["epoch"] == epoch and one["holds"]["on"] is True


async def test_holds_keep_the_site_active_and_a_new_epoch_comes_in_place(sites: WithMember) -> None:
    """In mode `manual`, too: nothing moves. Its member and its resources learn of the epoch."""
    epoch = sites.look(A)["epoch"]
    code, said = await sites.cluster.ctl("mode", "shop", "manual", "--reason", "test")
    assert code == 0, said
    sites.cut(*third_location(sites))
    await sites.until(
        lambda: lives_on_holds(sites, epoch) and sites.holds(A)["round"] > 0, "dc-b holds", TTL_MS / 1_000
    )
    await sites.throughout(lambda: lives_on_holds(sites, epoch), "dc-a lives on holds", 2 * TTL_MS / 1_000)
    assert sites.holds(A)["said"] == {B: "held"}
    promised = sites.look(B)
    assert (promised["state"], promised["holds"]["promised_to"], promised["holds"]["promised_epoch"]) == (
        "standby",
        A,
        epoch,
    )
    assert 0 < promised["holds"]["claims_in_ms"] <= 2 * TTL_MS

    sites.mend(*third_location(sites))
    await sites.until(lambda: sites.look(A)["epoch"] > epoch, "dc-a is granted a new epoch in place")
    now = sites.look(A)["epoch"]
    await sites.until(lambda: sites.told() == [now] and sites.member_epoch() == now, "member and resources know it")
    assert sites.look(A)["active"] is True
    assert not sites.holds(A)["on"]
    assert sites.signs(B) == [], "nothing ever ran at dc-b"
    for host in (A, "db1"):
        gaps = [late - early for early, late in pairwise(sites.signs(host))]
        assert max(gaps) < TTL_MS * 1_000_000, f"what runs on {host} was not stopped"


async def test_without_witnesses_and_other_site_it_is_fenced_in_time(sites: WithMember) -> None:
    epoch = sites.look(A)["epoch"]
    sites.cut(*third_location(sites))
    await sites.until(
        lambda: lives_on_holds(sites, epoch) and sites.holds(A)["round"] > 0, "dc-b holds", TTL_MS / 1_000
    )
    sites.cut(f"{A} {B}", f"{B} {A}")
    took_ms = await sites.until(
        lambda: sites.look(A)["active"] is not True, "dc-a is no longer active", TTL_MS / 1_000 + 1
    )
    print(f"no longer active {took_ms} ms after the link was cut, ttl {TTL_MS} ms")
    await sites.until(lambda: sites.look(A)["state"] in ("fenced", "standby"), "dc-a is verified down")
    assert sites.look(B)["state"] == "standby"

    sites.mend(*sites.paths)
    active = await sites.until(
        lambda: sites.look(A)["active"] is True or sites.look(B)["active"] is True, "one is active"
    )
    print(f"one active {active} ms after everything is back")
    await sites.throughout(
        lambda: not (sites.look(A)["active"] and sites.look(B)["active"]), "never two", TTL_MS / 1_000
    )
    if sites.signs(B):
        assert max(sites.signs(A)) < min(sites.signs(B)), "never both at once"
