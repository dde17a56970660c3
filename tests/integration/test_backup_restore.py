"""All witnesses are lost: a backup of the running cluster, three new disks, a site that still holds its lease."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from witness_cluster import WAIT_S, Cluster, ScriptedAgent

from proto.decisions import Reason
from proto.health import SiteState
from proto.messages import Verdict
from proto.units import RESTORE_GENERATION_SHIFT

TTL_MS = 1_000
CONFIRM = ("--confirm", "All witnesses are lost")
pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end_all()


async def running(cluster: Cluster) -> None:
    for name in cluster.names:
        made = cluster.witness("init", "-c", str(cluster.directory / f"{name}.yaml"))
        assert made.returncode == 0, made.stderr
        cluster.start(name)
    await cluster.leader()
    groups = cluster.directory / "groups.yaml"
    entry = f"{{group: shop, sites: [dc-a, dc-b], ttl: {TTL_MS}ms, witness_loss: fence}}"  # this agent knows no holds
    groups.write_text(f"groups:\n- {entry}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()


def config(cluster: Cluster, name: str) -> tuple[str, str]:
    return "-c", str(cluster.directory / f"{name}.yaml")


def lose_everything(cluster: Cluster) -> None:
    cluster.end_all()
    for name in cluster.names:
        shutil.rmtree(cluster.directory / f"data-{name}")


def restore_all(cluster: Cluster, source: Path, *options: str) -> tuple[str, list[str]]:
    """The lineage that the first witness drew, and the fingerprints of all."""
    lineage, told, prints = "", (), []
    for name in cluster.names:
        done = cluster.witness("restore", *config(cluster, name), "--from", str(source), *options, *told, *CONFIRM)
        assert done.returncode == 0, done.stderr
        lines = dict(line.split(None, 1) for line in done.stdout.splitlines() if len(line.split(None, 1)) == 2)
        lineage = lineage or lines["lineage"].split()[0]
        told = told or ("--lineage", lines["--lineage"])
        prints.append(lines["fingerprint"])
    return lineage, prints


async def test_a_restored_cluster_bars_the_former_life_and_goes_on_above_it(cluster: Cluster) -> None:
    await running(cluster)
    agent = ScriptedAgent(cluster)
    backup = cluster.directory / "nightly.backup"
    taken = await asyncio.to_thread(cluster.witness, "backup", *config(cluster, "w2"), "--out", str(backup))
    assert taken.returncode == 0, taken.stderr
    assert backup.stat().st_mode & 0o777 == 0o600
    async with agent.stream("w1") as ws:
        agent.epoch = former = await agent.until_granted(ws)
        assert (await agent.answered(ws)).groups[0].verdict is Verdict.RENEWED

    lose_everything(cluster)
    lineage, prints = restore_all(cluster, backup, "--longest-ttl", "1s", "--longest-lock-delay", "0s")
    assert len(set(prints)) == 1
    for name in cluster.names:
        cluster.start(name)
    await cluster.leader()
    agent.state = SiteState.ACTIVE
    async with agent.stream("w1") as ws:
        refused = (await agent.answered(ws)).groups[0]
        assert (refused.verdict, refused.reason) == (Verdict.REFUSED, Reason.NOT_HOLDER)
        agent.epoch, agent.state = type(former)(0), SiteState.FENCED
        epoch = await agent.until_granted(ws)
        assert epoch >> RESTORE_GENERATION_SHIFT > 0
        assert epoch > former
        agent.epoch = epoch
        assert (await agent.answered(ws)).groups[0].verdict is Verdict.RENEWED
    assert await _lineages(cluster) == {lineage}
    await _refused_while_a_witness_lives(cluster, backup)
    assert await _lineages(cluster) == {lineage}
    for name in cluster.names:
        assert cluster.kill(name, 15) == 0, cluster.logs()
    after = cluster.directory / "after.backup"
    stopped = cluster.witness("backup", *config(cluster, "w3"), "--out", str(after))
    assert stopped.returncode == 0, stopped.stderr
    assert "taken from a stopped witness" in stopped.stdout
    checked = cluster.witness("backup", "--verify", str(after))
    assert checked.returncode == 0, checked.stderr
    assert lineage in checked.stdout
    assert "chain unbroken" in checked.stdout
    assert "not in it" not in checked.stdout
    assert '"fatal"' not in cluster.logs()


async def _refused_while_a_witness_lives(cluster: Cluster, backup: Path) -> None:
    """Neither over a store nor, on a blank disk, beside witnesses that answer."""
    arguments = ("--from", str(backup), *CONFIRM)
    refused = await asyncio.to_thread(cluster.witness, "restore", *config(cluster, "w1"), *arguments)
    assert refused.returncode == 78
    assert "this one is readmitted instead" in refused.stderr
    cluster.kill("w1", 15)
    (cluster.directory / "data-w1").rename(cluster.directory / "away")
    refused = await asyncio.to_thread(cluster.witness, "restore", *config(cluster, "w1"), *arguments)
    assert refused.returncode == 78
    assert "so not all witnesses are lost" in refused.stderr
    assert not (cluster.directory / "data-w1").exists()
    (cluster.directory / "away").rename(cluster.directory / "data-w1")
    cluster.start("w1")


async def _lineages(cluster: Cluster) -> set[str]:
    """Of all three, once each is caught up."""
    async with asyncio.timeout(WAIT_S):
        while True:
            code, status = await cluster.ctl("status")
            places = list(status["witnesses"].values()) if code == 0 else []
            if places and all(isinstance(place, dict) and place["caught_up"] for place in places):
                return {place["lineage"] for place in places}
