"""A load process that writes on, whatever happens: `python -m witness.bench.steady JOB.json`, started like load.py.

Every millisecond one more write goes to one server, without waiting for the answers before it; the result is when
each answer came, on the machine's monotonic clock. The longest pause between two answers is a write outage as a
client sees it. A closed loop would see less: its one write in flight is lost with the leader, and then it waits for a
timeout of its own choosing.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp

from witness.bench.etcd_client import EtcdWriter
from witness.bench.load import Client, Job, LoadFailed, begin, open_client, said_go

EVERY_S = 0.001
UNANSWERED_MAX = 900
"""Below what a witness keeps pending for one stream (limits.answers_pending_max of the measured cluster)."""
FIRST_S = 15.0
Fire = Callable[[], Awaitable[None]]


async def run_writes(job: Job) -> Job:
    """To a witness, as heartbeats of one group: each is a command that is committed before it is answered."""
    async with aiohttp.ClientSession() as session:
        client = await open_client(session, job, job["sites"][0])
        answered_ns: list[int] = []
        listening = asyncio.create_task(_listen(client, answered_ns))
        sender = _Sender(client, answered_ns)
        try:
            await _until_answered(sender.fire, answered_ns)
            await said_go()
            await _fire(sender.fire, job["seconds"], listening)
        finally:
            listening.cancel()
    return {"answered_ns": answered_ns}


class _Sender:
    def __init__(self, client: Client, answered_ns: list[int]) -> None:
        self._client = client
        self._answered_ns = answered_ns
        self._sent = 0

    async def fire(self) -> None:
        if self._sent - len(self._answered_ns) < UNANSWERED_MAX:
            self._sent += 1
            await self._client.send(time.perf_counter_ns())


async def _listen(client: Client, answered_ns: list[int]) -> None:
    while True:
        frame = await client.receive()
        if client.agent.answered(frame) is not None:
            answered_ns.append(time.monotonic_ns())


async def run_etcd_writes(job: Job) -> Job:
    writer = await EtcdWriter.connect(job["host"], job["port"], "bench/steady")

    async def fire() -> None:
        writer.fire()
        if writer.lost is not None:
            raise LoadFailed(f"etcd: {writer.lost}")

    await _until_answered(fire, writer.answered_ns)
    await said_go()
    await _fire(fire, job["seconds"], None)
    writer.close()
    return {"answered_ns": writer.answered_ns}


async def _until_answered(fire: Fire, answered_ns: list[int]) -> None:
    ends = time.monotonic() + FIRST_S
    while not answered_ns:
        if time.monotonic() > ends:
            raise LoadFailed(f"no write was answered within {FIRST_S:.0f} s")
        await fire()
        await asyncio.sleep(0.05)


async def _fire(fire: Fire, seconds: float, listening: asyncio.Task[None] | None) -> None:
    """By the clock, not by sleeps that add up: a late wake-up is followed by the writes that it missed."""
    began, fired = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        while fired * EVERY_S < spent:
            fired += 1
            await fire()
        if listening is not None and listening.done():
            listening.result()
        await asyncio.sleep(EVERY_S)


if __name__ == "__main__":
    sys.exit(begin(sys.argv[1], {"writes": run_writes, "etcd-writes": run_etcd_writes}))
