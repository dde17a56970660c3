"""Three real witness processes: found, configure, claim, renew, lose the leader, stop in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proto.clock import SystemClock
from proto.codec import AGENT_MESSAGES, REPORTS, WITNESS_MESSAGES
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate
from proto.health import DataChecks, HealthReport, SiteState
from proto.messages import Goodbye, GroupHeartbeat, Heartbeat, HeartbeatAnswer, Hello, Verdict, Welcome
from proto.units import NS_PER_S, Claim, Epoch, GroupId, Incarnation, Nonce, SiteId, WallMs
from witness.pki.store import create_ca, issue

SHOP = GroupId("shop")
TTL_MS = 3_000
WAIT_S = 30.0
GAP_S_MAX = 3.0
"""Not a measurement: a renewal that stays out for the whole ttl would cost the site its lease."""
NO_CLAIM = Claim(bytes(16))

pytestmark = pytest.mark.process


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names = ("w1", "w2", "w3")
        self.pki = directory / "pki"
        self.cluster_id = create_ca(self.pki).cluster_id
        ports = free_ports(9)
        self.listen = dict(zip(self.names, ports[:3], strict=True))
        self.peers = dict(zip(self.names, ports[3:6], strict=True))
        self.metrics = dict(zip(self.names, ports[6:], strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        issue(self.pki, "agent", "dc-a", groups=["shop"])
        issue(self.pki, "operator", "ann", role="admin")
        for name in self.names:
            issue(self.pki, "witness", name, hosts=["127.0.0.1"])
            self._configure(name)
        self._configure_ctl()

    def _configure(self, name: str) -> None:
        where = self.pki / f"witness-{name}"
        peers = [{"id": other, "address": f"127.0.0.1:{port}"} for other, port in self.peers.items()]
        config = {
            "cluster": self.cluster_id,
            "witness": name,
            "data_dir": f"data-{name}",
            "listen": f"127.0.0.1:{self.listen[name]}",
            "peers": peers,
            "tls": {
                part: str(where / f"{file}.pem") for part, file in (("ca", "ca"), ("cert", "cert"), ("key", "key"))
            },
            "metrics": {"listen": f"127.0.0.1:{self.metrics[name]}"},
        }
        (self.directory / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")

    def _configure_ctl(self) -> None:
        where = self.pki / "operator-ann"
        config = {
            "witnesses": [f"127.0.0.1:{port}" for port in self.listen.values()],
            **{part: str(where / f"{part}.pem") for part in ("ca", "cert", "key")},
        }
        (self.directory / "ctl.yaml").write_text(json.dumps(config), encoding="utf-8")

    def witness(self, *argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "witness", *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)

    def start(self, name: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        command = [sys.executable, "-m", "witness", "run", "-c", str(self.directory / f"{name}.yaml")]
        with log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(WAIT_S)

    def end_all(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    async def ctl(self, *argv: str) -> tuple[int, Any]:
        """The exit code and the last line of --json."""
        config = str(self.directory / "ctl.yaml")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "witness.ctl", *argv, "--json", "--config", config,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
        lines = out.decode().splitlines()
        return process.returncode or 0, json.loads(lines[-1]) if lines else None

    async def leader(self) -> str:
        """The witness that leads and is ready, by its own word."""
        async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as session:
            while True:
                for name in self.processes:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"http://127.0.0.1:{self.metrics[name]}/readyz") as got:
                            place = await got.json()
                            if place["ready"] and place["leading"]:
                                return name
                await asyncio.sleep(0.05)

    def logs(self) -> str:
        return "".join((self.directory / f"{name}.log").read_text(errors="replace") for name in self.names)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        made.end_all()


class ScriptedAgent:
    """A site's agent by hand: one stream at a time, one claim, a fresh nonce each time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._incarnation = Incarnation(os.urandom(16))
        self._claim = Claim(os.urandom(16))
        self._seq = 0
        self.epoch = Epoch(0)
        self.state = SiteState.STANDBY
        where = cluster.pki / "agent-dc-a"
        files = TlsFiles(where / "ca.pem", where / "cert.pem", where / "key.pem")
        self._tls: ssl.SSLContext = client_context(files, accepting(own_certificate(files).identity, Role.WITNESS))

    @contextlib.asynccontextmanager
    async def stream(self, name: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        url = f"https://127.0.0.1:{self._cluster.listen[name]}/v1/agent"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=self._tls, compress=0) as ws:
            hello = Hello(SiteId("dc-a"), self._incarnation, "1", self._cluster.cluster_id, (SHOP,))
            await ws.send_bytes(AGENT_MESSAGES.encode(hello))
            welcome = WITNESS_MESSAGES.decode((await ws.receive(WAIT_S)).data)
            assert isinstance(welcome, Welcome), welcome
            yield ws

    def _beat(self) -> Heartbeat:
        self._seq += 1
        report = HealthReport(
            self.state, True, True, True, DataChecks.PASSED, self.epoch, Epoch(0), 1, b"s" * 16, "1", "test"
        )
        claim = self._claim if self.epoch else NO_CLAIM
        entry = GroupHeartbeat(SHOP, self.epoch, claim, 0, REPORTS.encode(report))
        nonce = Nonce(os.urandom(16))
        return Heartbeat(SiteId("dc-a"), self._incarnation, self._seq, nonce, WallMs(1), (entry,))

    async def renew(self, ws: aiohttp.ClientWebSocketResponse, wait_s: float = WAIT_S) -> HeartbeatAnswer | None:
        """The answer to a fresh attempt, or None when the stream ends or the answer stays out."""
        beat = self._beat()
        try:
            async with asyncio.timeout(wait_s):
                await ws.send_bytes(AGENT_MESSAGES.encode(beat))
                while True:
                    message = await ws.receive()
                    if message.type is not aiohttp.WSMsgType.BINARY:
                        return None
                    answer = WITNESS_MESSAGES.decode(message.data)
                    if isinstance(answer, HeartbeatAnswer) and answer.nonce == beat.nonce:
                        return answer
                    assert not isinstance(answer, Goodbye), answer
        except (TimeoutError, ConnectionError):
            return None

    async def answered(self, ws: aiohttp.ClientWebSocketResponse) -> HeartbeatAnswer:
        """As agents do: an attempt whose answer stays out (an election took it) is followed by a fresh one."""
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = await self.renew(ws, wait_s=1.0)
                if answer is not None:
                    return answer
                assert not ws.closed

    async def until_granted(self, ws: aiohttp.ClientWebSocketResponse) -> Epoch:
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = await self.answered(ws)
                if answer.groups and answer.groups[0].verdict is Verdict.GRANTED:
                    return answer.groups[0].epoch
                await asyncio.sleep(0.1)


async def test_a_cluster_of_processes_keeps_a_lease_alive_over_its_leaders_death(cluster: Cluster) -> None:
    for name in cluster.names:
        made = cluster.witness("init", "-c", str(cluster.directory / f"{name}.yaml"))
        assert made.returncode == 0, made.stderr
        cluster.start(name)
    leader = await cluster.leader()
    groups = cluster.directory / "groups.yaml"
    groups.write_text(f"groups:\n- {{group: shop, sites: [dc-a, dc-b], ttl: {TTL_MS}ms}}\n", encoding="utf-8")
    code, applied = await cluster.ctl("apply", "-f", str(groups), "--reason", "test")
    assert (code, applied["ok"]) == (0, True), cluster.logs()
    code, applied = await cluster.ctl("apply", "-f", str(groups))
    assert applied["groups"][0]["action"] == "unchanged"

    agent = ScriptedAgent(cluster)
    follower = next(name for name in cluster.names if name != leader)
    async with agent.stream(follower) as ws:
        agent.epoch = await agent.until_granted(ws)
        claimed = await agent.answered(ws)
        assert claimed.groups[0].verdict is Verdict.RENEWED
        agent.state = SiteState.ACTIVE
        before = (await agent.answered(ws)).groups[0]
        assert (before.verdict, before.epoch) == (Verdict.RENEWED, agent.epoch)
        assert before.renewal > claimed.groups[0].renewal >= 1

        cluster.kill(leader)
        gap_s = await _renewed_again(agent, ws)
        assert gap_s < GAP_S_MAX, cluster.logs()
        after = await agent.answered(ws)
        assert (after.groups[0].verdict, after.groups[0].epoch) == (Verdict.RENEWED, before.epoch)

    code, shop = await cluster.ctl("status", "shop")
    assert (code, shop["phase"], shop["holder"], shop["epoch"]) == (0, "held", "dc-a", before.epoch)
    code, _ = await cluster.ctl("switchover", "shop", "--to", "dc-b", "--reason", "test")
    assert code == 1
    code, _ = await cluster.ctl("mode", "shop", "manual", "--reason", "test")
    assert code == 0
    await _restart_and_stop(cluster, leader)


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
    assert taken.returncode == 78
    assert f"listen: '127.0.0.1:{cluster.listen['w1']}' is refused: cannot listen there" in taken.stderr
    (cluster.directory / "data-w1").rename(cluster.directory / "data-w2")
    foreign = cluster.witness("run", "-c", str(cluster.directory / "w2.yaml"))
    assert foreign.returncode == 78
    assert "belongs to witness w1, not to w2" in foreign.stderr
