"""A load process: `python -m witness.bench.load JOB.json`, so that what asks does not sit in what is measured.

It connects, says `ready` on stdout, waits for a line on stdin, works for the job's seconds, leaves its result in a
file beside the job and says `done`. Jobs: `commits` (each client has one single-group heartbeat in flight),
`heartbeats` (each client has `window` messages of many groups in flight), `puts` (etcd: each client has one put in
flight).
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from proto.edge.identity import Role
from proto.edge.tls import TlsFiles, accepting, client_context, own_certificate
from proto.limits import FRAME_BYTES_MAX
from witness.bench.etcd_client import EtcdClient
from witness.bench.wire import SimAgent

ANSWER_S = 1.0
SILENT_MAX = 15
WELCOME_S = 10.0
SETTLE_S = 30.0
SETTLE_POLL_S = 0.05
Job = dict[str, Any]


class LoadFailed(Exception):
    """The load cannot go on, with the reason; the parent shows it."""


class Client:
    """One stream with up to `window` heartbeats in flight; each answer sends the next one."""

    def __init__(self, agent: SimAgent, socket: aiohttp.ClientWebSocketResponse, window: int) -> None:
        self.agent = agent
        self.samples_ns: list[int] = []
        self.answers = 0
        self.resent = 0
        self.measuring = False
        self._socket = socket
        self._window = window
        self._asked: dict[bytes, int] = {}

    async def run(self, until: asyncio.Event) -> None:
        for _ in range(self._window):
            await self.send(time.perf_counter_ns())
        silent = 0
        while not until.is_set():
            try:
                async with asyncio.timeout(ANSWER_S):
                    message = await self._socket.receive()
            except TimeoutError:
                silent += 1
                if silent > SILENT_MAX:
                    raise LoadFailed(f"{self.agent.site}: no answer for {silent * ANSWER_S:.0f} s") from None
                await self._send_again()
                continue
            silent = 0
            await self._take(self._data(message))

    async def receive(self) -> bytes:
        """The next frame, whatever it is."""
        return self._data(await self._socket.receive())

    def _data(self, message: aiohttp.WSMessage) -> bytes:
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise LoadFailed(f"{self.agent.site}: the stream ended: {message.type.name} {message.data!s:.80}")
        return bytes(message.data)

    async def _take(self, frame: bytes) -> None:
        nonce = self.agent.answered(frame)
        asked_ns = None if nonce is None else self._asked.pop(nonce, None)
        if asked_ns is None:
            return
        now_ns = time.perf_counter_ns()
        if self.measuring:
            self.samples_ns.append(now_ns - asked_ns)
            self.answers += 1
        await self.send(now_ns)

    async def send(self, asked_ns: int) -> None:
        frame, nonce = self.agent.heartbeat()
        self._asked[nonce] = asked_ns
        await self._socket.send_bytes(frame)

    async def _send_again(self) -> None:
        """As an agent does: what a witness lost is asked anew. Its latency counts from the first time."""
        asked, self._asked = self._asked, {}
        self.resent += len(asked)
        for asked_ns in asked.values():
            await self.send(asked_ns)


async def run_streams(job: Job) -> Job:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        clients: list[Client] = []
        tasks: list[asyncio.Task[None]] = []
        until = asyncio.Event()
        try:
            for site in job["sites"]:
                # Each begins at once: a stream that does not answer pings while others connect is taken for dead.
                clients.append(await open_client(session, job, site))
                tasks.append(asyncio.create_task(clients[-1].run(until)))
            await _settled(clients, tasks, job)
            await said_go()
            cpu, began = os.times(), time.perf_counter()
            for client in clients:
                client.measuring = True
            done, _ = await asyncio.wait(tasks, timeout=job["seconds"], return_when=asyncio.FIRST_COMPLETED)
            for client in clients:
                client.measuring = False
            seconds, spent = time.perf_counter() - began, os.times()
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
    verdicts: collections.Counter[str] = collections.Counter()
    for client in clients:
        verdicts.update(client.agent.verdicts)
    return {
        "seconds": seconds,
        "answers": sum(client.answers for client in clients),
        "resent": sum(client.resent for client in clients),
        "samples_ns": [one for client in clients for one in client.samples_ns],
        "holding": sum(client.agent.holding for client in clients),
        "verdicts": dict(verdicts),
        "cpu_s": spent.user + spent.system - cpu.user - cpu.system,
    }


async def open_client(session: aiohttp.ClientSession, job: Job, site: Job) -> Client:
    home = Path(site["pki"])
    files = TlsFiles(ca=home / "ca.pem", cert=home / "cert.pem", key=home / "key.pem")
    context = client_context(files, accepting(own_certificate(files).identity, Role.WITNESS))
    url = f"wss://{job['address']}/v1/agent"
    socket = await session.ws_connect(url, ssl=context, compress=0, max_msg_size=FRAME_BYTES_MAX)
    agent = SimAgent(site["site"], job["cluster"], tuple(site["groups"]))
    await socket.send_bytes(agent.hello())
    welcome = await socket.receive(timeout=WELCOME_S)
    if welcome.type is not aiohttp.WSMsgType.BINARY:
        raise LoadFailed(f"{agent.site}: no welcome: {welcome.data!s:.80}")
    return Client(agent, socket, int(job.get("window", 1)))


async def _settled(clients: list[Client], tasks: list[asyncio.Task[None]], job: Job) -> None:
    """Until every group is known to be held or dormant, and as many are held as the job wants."""
    ends = time.monotonic() + SETTLE_S
    while True:
        holding = sum(client.agent.holding for client in clients)
        if holding >= job.get("holding_min", 0) and all(client.agent.settled for client in clients):
            return
        for task in tasks:
            if task.done():
                task.result()
        if time.monotonic() > ends:
            raise LoadFailed(f"after {SETTLE_S} s {holding} groups are held, {job.get('holding_min', 0)} were expected")
        for client in clients:
            client.agent.unsettle()
        await asyncio.sleep(SETTLE_POLL_S)


async def run_puts(job: Job) -> Job:
    clients = [
        await EtcdClient.connect(job["host"], job["port"], f"bench/{number}") for number in range(job["clients"])
    ]
    await asyncio.gather(*(client.put() for client in clients))
    await said_go()
    cpu, began = os.times(), time.perf_counter()
    ends = began + job["seconds"]
    parts = await asyncio.gather(*(_puts(client, ends) for client in clients))
    seconds, spent = time.perf_counter() - began, os.times()
    for client in clients:
        client.close()
    return {
        "seconds": seconds,
        "answers": sum(len(part) for part in parts),
        "samples_ns": [one for part in parts for one in part],
        "cpu_s": spent.user + spent.system - cpu.user - cpu.system,
    }


async def _puts(client: EtcdClient, ends: float) -> list[int]:
    samples = []
    while time.perf_counter() < ends:
        began_ns = time.perf_counter_ns()
        await client.put()
        samples.append(time.perf_counter_ns() - began_ns)
    return samples


async def said_go() -> None:
    print("ready", flush=True)  # noqa: T201 - the parent waits for this word
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def begin(path: str, kinds: Mapping[str, Callable[[Job], Coroutine[Any, Any, Job]]]) -> int:
    """The life of a load process: the job in, the result beside it."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        result = uvloop.run(kinds[job["kind"]](job))
    except (LoadFailed, aiohttp.ClientError, OSError, TimeoutError) as error:
        result = {"error": f"{type(error).__name__}: {error}"}
    # Samples are megabytes: they go by a file, and only the word that they are there by the pipe.
    Path(path).with_suffix(".result").write_text(json.dumps(result), encoding="utf-8")
    print("done", flush=True)  # noqa: T201 - the parent waits for this word
    return 1 if "error" in result else 0


if __name__ == "__main__":
    sys.exit(begin(sys.argv[1], {"commits": run_streams, "heartbeats": run_streams, "puts": run_puts}))
