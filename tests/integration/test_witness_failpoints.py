"""`witness run` as operators run it, TLS and API included, killed at named moments: what was configured stays."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from witness_cluster import WAIT_S, Cluster

VARIABLE = "THIRDSITE_FAILPOINT"
GROUPS_A_DEATH_MAX = 30
MOMENTS = ("journal-commit-before:3", "turn-sent-after:9", "effects-before:8")
"""Of those that every witness passes, whoever leads."""

pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end_all()


def init(cluster: Cluster) -> None:
    for name in cluster.names:
        done = cluster.witness("init", "-c", str(cluster.directory / f"{name}.yaml"))
        assert done.returncode == 0, done.stderr


async def acknowledged(cluster: Cluster, group: str) -> bool:
    """The answer may be lost with a witness; then nothing is known, and the next group is tried."""
    path = cluster.directory / "groups.yaml"
    path.write_text(f"groups:\n- {{group: {group}, sites: [dc-a, dc-b], ttl: 3s}}\n", encoding="utf-8")
    code, told = await cluster.ctl("apply", "-f", str(path), "--reason", "test")
    return code == 0 and told is not None and bool(told["ok"])


async def caught_up(cluster: Cluster) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            code, seen = await cluster.ctl("status")
            places = [] if seen is None else [said for said in seen["witnesses"].values() if isinstance(said, dict)]
            if code == 0 and len(places) == 3 and all(place["caught_up"] for place in places):
                return


@pytest.mark.timeout(180)
async def test_groups_configured_before_are_there_after_kills_at_named_moments(cluster: Cluster) -> None:
    """P1, and P2 at the end: all three at once."""
    init(cluster)
    for name in cluster.names:
        cluster.start(name)
    configured: list[str] = []
    for number, order in enumerate(MOMENTS):
        leader = await cluster.leader()
        victim = leader if number == 0 else next(name for name in cluster.names if name != leader)
        assert cluster.kill(victim, signal.SIGTERM) == 0
        cluster.start(victim, **{VARIABLE: f"{order}:kill"})
        process = cluster.processes[victim]
        for attempt in range(GROUPS_A_DEATH_MAX):
            group = f"g-{number}-{attempt}"
            if await acknowledged(cluster, group):
                configured.append(group)
            if process.poll() is not None:
                break
        assert process.wait(WAIT_S) == -signal.SIGKILL, cluster.logs()
        assert f'"point": "{order.partition(":")[0]}"' in cluster.logs()
        cluster.start(victim)
        await caught_up(cluster)
    assert configured
    for process in cluster.processes.values():
        process.kill()
    cluster.end_all()
    for name in cluster.names:
        cluster.start(name)
    await caught_up(cluster)
    code, told = await cluster.ctl("groups")
    assert code == 0
    assert set(configured) <= {entry["group"] for entry in told["groups"]}


async def test_a_failing_sync_ends_the_process_and_the_others_go_on(cluster: Cluster) -> None:
    """D3: the disk fails once and would work again; the witness ends all the same, with the remedy in its log."""
    init(cluster)
    for name in cluster.names:
        cluster.start(name)
    await caught_up(cluster)  # a cluster that begins needs all three of them
    assert cluster.kill("w1", signal.SIGTERM) == 0
    cluster.start("w1", **{VARIABLE: "journal-commit-before:9:eio"})
    process = cluster.processes["w1"]
    async with asyncio.timeout(WAIT_S):
        for number in range(GROUPS_A_DEATH_MAX):
            await acknowledged(cluster, f"g-{number}")
            if process.poll() is not None:
                break
    assert process.wait(WAIT_S) == 70, cluster.logs()
    log = (cluster.directory / "w1.log").read_text(encoding="utf-8")
    assert "DurabilityLost" in log
    assert "check the disk and its free space" in log
    del cluster.processes["w1"]
    async with asyncio.timeout(3 * WAIT_S):  # each try starts two commands, and one may wait out an election
        while not await acknowledged(cluster, "afterwards"):
            assert await cluster.leader() in ("w2", "w3")


def test_a_point_that_does_not_exist_is_refused_with_those_that_do(cluster: Cluster) -> None:
    init(cluster)
    cluster.start("w1", **{VARIABLE: "somewhere:1:kill"})
    assert cluster.processes["w1"].wait(WAIT_S) == 78
    log = (cluster.directory / "w1.log").read_text(encoding="utf-8")
    assert "THIRDSITE_FAILPOINT: 'somewhere:1:kill' is refused: no failpoint is named 'somewhere'" in log
    assert "journal-commit-before" in log
