"""Three real witness processes: found, configure, claim, renew, lose the leader, stop in order."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from witness_cluster import WAIT_S, Cluster, ScriptedAgent

from proto.clock import SystemClock
from proto.decisions import Reason
from proto.health import SiteState
from proto.license import EscrowVersion, LicenseReport
from proto.messages import Verdict
from proto.units import NS_PER_S, LicenseName

TTL_MS = 3_000
KEY = LicenseName("fingerprint")
GAP_S_MAX = 3.0
"""Not a measurement: a renewal that stays out for the whole ttl would cost the site its lease."""

pytestmark = pytest.mark.process


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end_all()


async def test_a_cluster_of_processes_keeps_a_lease_alive_over_its_leaders_death(cluster: Cluster) -> None:
    for name in cluster.names:
        made = cluster.witness("init", "-c", str(cluster.directory / f"{name}.yaml"))
        assert made.returncode == 0, made.stderr
        cluster.start(name)
    leader = await cluster.leader()
    groups = cluster.directory / "groups.yaml"
    shop = f"group: shop, sites: [dc-a, dc-b], ttl: {TTL_MS}ms, licenses: [{{name: {KEY}}}]"
    groups.write_text(f"groups:\n- {{{shop}}}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()
    code, applied = await cluster.ctl("apply", "-f", str(groups))
    assert applied["groups"][0]["action"] == "unchanged"

    agent = ScriptedAgent(cluster)
    agent.licenses = (LicenseReport(KEY),)
    follower = next(name for name in cluster.names if name != leader)
    async with agent.stream(follower) as ws:
        agent.epoch = await agent.until_granted(ws)
        claimed = await agent.answered(ws)
        assert claimed.groups[0].verdict is Verdict.RENEWED
        agent.state = SiteState.ACTIVE
        before = (await agent.answered(ws)).groups[0]
        assert (before.verdict, before.epoch) == (Verdict.RENEWED, agent.epoch)
        assert before.renewal > claimed.groups[0].renewal >= 1

        assert (await agent.put(ws, KEY, 1)).reason is Reason.OK
        cluster.kill(leader)
        gap_s = await _renewed_again(agent, ws)
        assert gap_s < GAP_S_MAX, cluster.logs()
        after = await agent.answered(ws)
        assert (after.groups[0].verdict, after.groups[0].epoch) == (Verdict.RENEWED, before.epoch)
        again, stale = await agent.put(ws, KEY, 1), EscrowVersion(before.epoch, 1)
        assert (again.reason, again.stored, again.version_next) == (Reason.OK, stale, 2), "it outlived its leader"

    code, shop = await cluster.ctl("status", "shop")
    assert (code, shop["phase"], shop["holder"], shop["epoch"]) == (0, "held", "dc-a", before.epoch)
    await _proven(cluster)
    code, _ = await cluster.ctl("switchover", "shop", "--to", "dc-b", "--reason", "test")
    assert code == 1
    code, _ = await cluster.ctl("mode", "shop", "manual", "--reason", "test")
    assert code == 0
    await _restart_and_stop(cluster, leader)


async def _proven(cluster: Cluster) -> None:
    """What operators and auditors see of the license, with one witness dead."""
    code, seen = await cluster.ctl("license", "status", "shop")
    (one,) = seen["groups"][0]["licenses"]
    assert (code, one["license"], one["stored"], one["sealed_by"]) == (0, KEY, f"{seen_epoch(seen)}.1", "dc-a")
    assert "secret" not in json.dumps(seen)
    out = str(cluster.directory / "evidence.json")
    code, told = await cluster.ctl("license", "export", "shop", "--out", out)
    assert (code, told["ok"], told["complete"]) == (0, True, True)
    assert sorted(told["anchors"].values()) == ["", told["head_chain"], told["head_chain"]]
    assert [row["site"] for row in told["intervals"]] == ["dc-a"]
    assert told["intervals"][0]["claimed"]
    code, again = await cluster.ctl("license", "verify", "shop", "--file", out)
    assert (code, again["head_chain"]) == (0, told["head_chain"])
    assert changed(out, "authority begins", "authority began")
    code, tampered = await cluster.ctl("license", "verify", "shop", "--file", out)
    assert (code, tampered["ok"]) == (1, False)
    assert "the ledger was changed there" in tampered["findings"][0]["words"]


def changed(file: str, old: str, new: str) -> bool:
    """Once; and nothing of a key stood in it."""
    text = Path(file).read_text(encoding="utf-8")
    Path(file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return old in text and "secret" not in text


def seen_epoch(seen: dict[str, Any]) -> int:
    return int(seen["groups"][0]["licenses"][0]["newest"].split(".")[0])


async def _renewed_again(agent: ScriptedAgent, ws: aiohttp.ClientWebSocketResponse) -> float:
    """Over the follower's stream, which stays: how long until a renewal is committed again."""
    clock = SystemClock()
    begun = clock.now()
    async with asyncio.timeout(WAIT_S):
        while True:
            answer = await agent.renew(ws, wait_s=0.2)
            if answer is not None and answer.groups[0].verdict is Verdict.RENEWED:
                return (clock.now() - begun) / NS_PER_S


async def _restart_and_stop(cluster: Cluster, killed: str) -> None:
    """The killed witness comes back with what it had; SIGTERM ends each in order, with code 0."""
    cluster.start(killed)
    async with asyncio.timeout(WAIT_S):
        while True:
            code, seen = await cluster.ctl("status")
            places = [said for said in seen["witnesses"].values() if isinstance(said, dict)]
            if code == 0 and len(places) == 3 and all(place["caught_up"] for place in places):
                break
    assert len({place["events"] for place in places}) == 1
    cluster.processes[killed].send_signal(signal.SIGHUP)
    async with asyncio.timeout(WAIT_S):
        while '"certificates_reloaded"' not in cluster.logs():  # noqa: ASYNC110 - polls a file
            await asyncio.sleep(0.05)
    for name in cluster.names:
        assert cluster.kill(name, signal.SIGTERM) == 0, cluster.logs()
    assert '"fatal"' not in cluster.logs()


def test_a_witness_refuses_to_start_on_what_is_not_its_own(cluster: Cluster) -> None:
    config = cluster.directory / "w1.yaml"
    refused = cluster.witness("run", "-c", str(config))
    assert refused.returncode == 78
    assert "witness.db is missing" in refused.stderr
    assert cluster.witness("init", "-c", str(config)).returncode == 0
    again = cluster.witness("init", "-c", str(config))
    assert again.returncode == 78
    assert "exists already" in again.stderr

    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("witness-w1", "witness-w2"), encoding="utf-8")
    wrong = cluster.witness("run", "-c", str(config))
    assert wrong.returncode == 78
    assert "tls.cert" in wrong.stderr
    assert "does not speak for 'w1'" in wrong.stderr

    config.write_text(text.replace('"listen"', '"lissen"'), encoding="utf-8")
    unknown = cluster.witness("run", "-c", str(config))
    assert unknown.returncode == 78
    assert "lissen: unknown key; did you mean 'listen'?" in unknown.stderr


def test_a_taken_port_and_a_foreign_store_are_told(cluster: Cluster) -> None:
    config = cluster.directory / "w1.yaml"
    assert cluster.witness("init", "-c", str(config)).returncode == 0
    with socket.create_server(("127.0.0.1", cluster.listen["w1"])):
        taken = cluster.witness("run", "-c", str(config))
    assert taken.returncode == 69, "it may pass, so its unit starts it again"
    assert f"listen: '127.0.0.1:{cluster.listen['w1']}' is refused: cannot listen there" in taken.stderr
    (cluster.directory / "data-w1").rename(cluster.directory / "data-w2")
    foreign = cluster.witness("run", "-c", str(cluster.directory / "w2.yaml"))
    assert foreign.returncode == 78
    assert "belongs to witness w1, not to w2" in foreign.stderr
