"""The write outage after a leader's death: how long a client of a surviving server sees no write succeed.

A client writes every millisecond (witness.bench.steady) through a follower while the leader is killed (SIGKILL: its
connections are reset) or stopped (SIGSTOP: they stay open and say nothing, as when a machine loses its network). The
outage is the longest pause between two answers from that moment on. Ours and etcd's have the same timers: etcd's
heartbeat interval is our append period, its election timeout our shortest one; both draw at random up to twice that.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from proto.groups import Mode
from witness.bench.cluster import Cluster, Load
from witness.bench.etcd_cluster import EtcdCluster
from witness.bench.figures import Json
from witness.demo.eyes import Expected
from witness.demo.layout import HOST
from witness.demo.processes import Child
from witness.raft.timers import RaftTimers

GROUP, SITES = "outage", ("outage-a", "outage-b")
TTL_MS = 5_000
BEFORE_S = 0.5
QUIET_NS = 100_000_000
"""After the first answers; from then on the pauses without any fault are told too."""
READY_S = 30.0
RUNS_SPARE = 10
"""For those in which leadership moved before it was to be taken: they would measure the loss of a follower."""
WAYS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Subject(Protocol):
    """A cluster whose leader can be taken away and given back."""

    root: Path

    @property
    def members(self) -> dict[str, Child]: ...

    async def settled(self) -> str:
        """Waits until all take part; returns the leader's name."""

    def job(self, server: str, seconds: float) -> Json: ...
    async def start_again(self, name: str) -> None: ...


class OwnSubject:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.root = cluster.root

    @property
    def members(self) -> dict[str, Child]:
        return self._cluster.witnesses

    async def prepare(self, leader: str) -> None:
        await self._cluster.configure(leader, {GROUP: SITES}, ttl_ms=TTL_MS, mode=Mode.OBSERVE)

    async def settled(self) -> str:
        return await self._cluster.settled()

    def job(self, server: str, seconds: float) -> Json:
        site = {"site": SITES[0], "groups": (GROUP,), "pki": str(self._cluster.certificate(SITES[0]))}
        address = f"{HOST}:{self._cluster.api[server]}"
        common = {"cluster": str(self._cluster.ca.cluster_id), "sites": [site], "seconds": seconds}
        return common | {"kind": "writes", "address": address}

    async def start_again(self, name: str) -> None:
        await self._cluster.start_witness(name)


class EtcdSubject:
    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster
        self.root = cluster.root

    @property
    def members(self) -> dict[str, Child]:
        return self._cluster.members

    async def settled(self) -> str:
        return await self._cluster.settled()

    def job(self, server: str, seconds: float) -> Json:
        return {"kind": "etcd-writes", "host": HOST, "port": self._cluster.client_ports[server], "seconds": seconds}

    async def start_again(self, name: str) -> None:
        await self._cluster.start_member(name)


async def outages(subject: Subject, way: str, runs: int, timers: RaftTimers, rng: random.Random) -> Json:
    """One after the other on the same cluster; between two the lost leader is brought back."""
    after_s = 4 * timers.election_max_ms / 1000 + 0.5
    taken: list[float] = []
    pauses: list[float] = []
    for _ in range(runs + RUNS_SPARE):
        if len(taken) == runs:
            break
        leader = await subject.settled()
        found = await _one(subject, leader, WAYS[way], after_s, rng)
        if found is None:
            continue
        taken.append(found[0])
        pauses.append(found[1])
        child = subject.members[leader]
        if WAYS[way] == signal.SIGKILL:
            await child.wait(READY_S)
            await subject.start_again(leader)
        else:
            child.signal(signal.SIGCONT)
    if not taken:
        raise Expected("leadership never stayed where it was for as long as a load takes to start")
    return {
        "runs": len(taken),
        "min_ms": round(min(taken), 1),
        "median_ms": round(statistics.median(taken), 1),
        "max_ms": round(max(taken), 1),
        "all_ms": [round(one, 1) for one in taken],
        "pause_before_ms": round(max(pauses), 1),
    }


async def _one(
    subject: Subject, leader: str, number: signal.Signals, after_s: float, rng: random.Random
) -> tuple[float, float] | None:
    """The outage, and the longest pause before it; None when the leader changed by itself meanwhile."""
    survivor = rng.choice([name for name in subject.members if name != leader])
    before_s = BEFORE_S + rng.random() * 0.2  # at any moment of the leader's heartbeat period
    job = subject.job(survivor, before_s + after_s)
    load = await Load.start(subject.root, "steady", job, "witness.bench.steady")
    try:
        await load.ready(READY_S)
        if await subject.settled() != leader:
            return None
        load.go()
        quiet_ns = time.monotonic_ns() + QUIET_NS
        await asyncio.sleep(before_s)
        lost_ns = time.monotonic_ns()
        subject.members[leader].signal(number)
        answered_ns = (await load.result(after_s + READY_S))["answered_ns"]
    finally:
        await load.end()
    return longest_pause_ms(answered_ns, lost_ns, None), longest_pause_ms(answered_ns, quiet_ns, lost_ns)


def longest_pause_ms(answered_ns: Sequence[int], since_ns: int, until_ns: int | None) -> float:
    """Of those pauses that end after `since_ns`, and by `until_ns`. Raises Expected when writes never came back."""
    pauses = [
        later - earlier
        for earlier, later in itertools.pairwise(answered_ns)
        if later > since_ns and (until_ns is None or later <= until_ns)
    ]
    if not pauses:
        raise Expected("no write was answered any more after the leader was lost")
    return max(pauses) / 1e6


def timers_told(timers: RaftTimers) -> Json:
    return dict(asdict(timers))
