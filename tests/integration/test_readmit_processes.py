"""Real processes: a witness with a damaged store goes through all that its operator sees and does (D-25, D7)."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from witness_cluster import WAIT_S, Cluster, ScriptedAgent

from witness.raft.store import STORE_NAME
from witness.runtime.fatal import EXIT_FATAL

pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end_all()


def config(cluster: Cluster, name: str) -> tuple[str, str]:
    return "-c", str(cluster.directory / f"{name}.yaml")


async def said(cluster: Cluster, name: str, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What `witnessctl status` shows of one witness, once it is as wanted."""
    address, seen = f"127.0.0.1:{cluster.listen[name]}", None
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        code, shown = await cluster.ctl("status")
        seen = shown["witnesses"].get(address) if code == 0 else None
        if isinstance(seen, dict) and wanted(seen):
            return seen
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} says {seen}\n{cluster.logs()}")


def log_of(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    lines = (cluster.directory / f"{name}.log").read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


async def test_d25_a_damaged_witness_is_readmitted_by_one_command(cluster: Cluster) -> None:
    for name in cluster.names:
        assert cluster.witness("init", *config(cluster, name)).returncode == 0
        cluster.start(name)
    await cluster.leader()
    groups = cluster.directory / "groups.yaml"
    groups.write_text("groups:\n- {group: shop, sites: [dc-a, dc-b], ttl: 1000ms}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()
    refused = cluster.witness("readmit", *config(cluster, "w3"), "--yes", "w3")
    assert refused.returncode == 78
    assert "in use by another process" in refused.stderr
    cluster.kill("w3")
    store = cluster.directory / "data-w3" / STORE_NAME
    store.write_bytes(b"\0" * store.stat().st_size)
    cluster.start("w3")
    assert await asyncio.to_thread(cluster.processes.pop("w3").wait, WAIT_S) == 78
    assert "witness readmit -c FILE" in (cluster.directory / "w3.log").read_text()
    cluster.kill("w1")  # so that the readmission has to wait

    done = cluster.witness("readmit", *config(cluster, "w3"), "--yes", "w3")
    assert done.returncode == 0, done.stderr
    assert "DOES NOT ANSWER" in done.stdout
    assert (cluster.directory / "data-w3" / "aside-1" / STORE_NAME).exists()
    cluster.start("w3")
    waiting = await said(cluster, "w3", lambda seen: "until w1 recorded" in (seen.get("readmission") or ""))
    assert waiting["standing"] == "learner"
    assert "w1" in waiting["unconnected"]
    cluster.start("w1")
    voting = await said(cluster, "w3", lambda seen: seen.get("standing") == "voter")
    assert voting["readmission"] is None
    assert voting["groups"] == 1
    events = [line["event"] for line in log_of(cluster, "w3")]
    assert events.count("readmitted") == 1
    assert events.index("readmission") < events.index("readmitted")

    cluster.kill("w2")  # with its vote the two go on
    await cluster.leader()
    agent = ScriptedAgent(cluster)
    async with agent.stream("w3") as ws:
        agent.epoch = await agent.until_granted(ws)
    assert agent.epoch > 0


async def test_o5_a_witness_whose_disk_was_put_back_ends_when_it_is_told_and_stays_down(cluster: Cluster) -> None:
    """Restarted by a supervisor it is refused by its own store, also while nobody who knows can be reached."""
    for name in cluster.names:
        assert cluster.witness("init", *config(cluster, name)).returncode == 0
        cluster.start(name)
    await cluster.leader()
    cluster.kill("w3")
    data, earlier = cluster.directory / "data-w3", cluster.directory / "earlier"
    shutil.copytree(data, earlier, ignore=shutil.ignore_patterns("*.sock"))  # a killed one leaves it
    cluster.start("w3")
    groups = cluster.directory / "groups.yaml"
    groups.write_text("groups:\n- {group: shop, sites: [dc-a, dc-b], ttl: 1000ms}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()
    await said(cluster, "w3", lambda seen: seen.get("groups") == 1)
    await asyncio.sleep(1)  # two signs of life: the others have seen how far its disk is
    cluster.kill("w3")
    shutil.rmtree(data)
    shutil.move(earlier, data)
    cluster.start("w3")
    assert await asyncio.to_thread(cluster.processes.pop("w3").wait, WAIT_S) == EXIT_FATAL, cluster.logs()
    cluster.kill("w1")
    cluster.kill("w2")
    cluster.start("w3")
    assert await asyncio.to_thread(cluster.processes.pop("w3").wait, WAIT_S) == 78, cluster.logs()
    refusal = (cluster.directory / "w3.log").read_text().strip().splitlines()[-1]
    assert re.search(r"witness w3: .*\(w[12] says: w3 comes with an older state of its disk \(turn .* \(turn ", refusal)
    assert "witness readmit -c FILE" in refusal

    cluster.start("w1")
    cluster.start("w2")
    await cluster.leader()
    done = cluster.witness("readmit", *config(cluster, "w3"), "--yes", "w3")
    assert done.returncode == 0, done.stderr
    cluster.start("w3")
    await said(cluster, "w3", lambda seen: seen.get("standing") == "voter" and seen.get("groups") == 1)
