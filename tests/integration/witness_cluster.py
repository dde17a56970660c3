"""A cluster of real witness processes on loopback, and a site's agent that is played by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from free_ports import free_ports

from proto.codec import AGENT_MESSAGES, REPORTS, WITNESS_MESSAGES
from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate
from proto.health import DataChecks, HealthReport, SiteState
from proto.license import EscrowVersion, LicenseReport, SealedKey
from proto.messages import (
    EscrowPut,
    EscrowPutAnswer,
    Goodbye,
    GroupHeartbeat,
    Heartbeat,
    HeartbeatAnswer,
    Hello,
    Verdict,
    Welcome,
)
from proto.units import Claim, Epoch, GroupId, Incarnation, LicenseName, Nonce, SiteId, WallMs
from witness.pki.store import create_ca, issue

SHOP = GroupId("shop")
WAIT_S = 30.0
NO_CLAIM = Claim(bytes(16))


class Cluster:
    def __init__(self, directory: Path, **extra: Any) -> None:
        """`extra`: sections of every witness's file."""
        self.directory = directory
        self._extra = extra
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
            **self._extra,
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

    def start(self, name: str, **environment: str) -> None:
        log = (self.directory / f"{name}.log").open("ab")
        command = [sys.executable, "-m", "witness", "run", "-c", str(self.directory / f"{name}.yaml")]
        with log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **environment}
            )

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


class ScriptedAgent:
    """A site's agent by hand: one stream at a time, one claim, a fresh nonce each time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._incarnation = Incarnation(os.urandom(16))
        self._claim = Claim(os.urandom(16))
        self._seq = 0
        self.epoch = Epoch(0)
        self.state = SiteState.STANDBY
        self.licenses: tuple[LicenseReport, ...] = ()
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
            self.state, True, True, True, DataChecks.PASSED, self.epoch, Epoch(0), 1, b"s" * 16, "1", "test",
            licenses=self.licenses,
        )  # fmt: skip
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

    async def put(self, ws: aiohttp.ClientWebSocketResponse, name: LicenseName, number: int) -> EscrowPutAnswer:
        """A sealed key under the epoch that it holds; its box says its number, so that a repetition has equal bytes."""
        sealed = SealedKey(EscrowVersion(self.epoch, number), "0a1b2c3d", b"n" * 12, b"secret %25d" % number)
        put = EscrowPut(SiteId("dc-a"), self._incarnation, SHOP, self._claim, name, sealed, Nonce(os.urandom(16)))
        async with asyncio.timeout(WAIT_S):
            await ws.send_bytes(AGENT_MESSAGES.encode(put))
            while True:
                message = await ws.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, message
                answer = WITNESS_MESSAGES.decode(message.data)
                if isinstance(answer, EscrowPutAnswer) and answer.nonce == put.nonce:
                    return answer

    async def until_granted(self, ws: aiohttp.ClientWebSocketResponse) -> Epoch:
        async with asyncio.timeout(WAIT_S):
            while True:
                answer = await self.answered(ws)
                if answer.groups and answer.groups[0].verdict is Verdict.GRANTED:
                    return answer.groups[0].epoch
                await asyncio.sleep(0.1)
