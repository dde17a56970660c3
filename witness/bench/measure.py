"""The measurements, one function each; every figure comes from processes that were really running.

Heartbeats and commits go through the leader, as agents do; etcd's puts go through its leader too.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from dataclasses import dataclass

from proto.groups import Mode
from witness.bench.cluster import Cluster, Load
from witness.bench.etcd_cluster import EtcdCluster
from witness.bench.figures import Json, cpu_seconds, latency, memory_of, merged
from witness.demo.eyes import Expected, wait_for
from witness.demo.layout import HOST, Ports
from witness.demo.processes import Process, below, read_stat

READY_S = 60.0
HEARD_S = 20.0
GROUP_TTL_MS = 5_000
REAL_GROUP, REAL_SITE = "real", "real-a"
ACTIVE_S = 30.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured; `quick` only shows that all of it works."""

    seconds: float = 6.0
    clients: int = 256
    sites: int = 16
    groups: int = 100
    window: int = 2
    processes: int = 2
    starts: int = 5
    in_flight: tuple[int, ...] = (1, 128, 1024)
    """Of Raft alone and of etcd's puts beside it."""
    runs: int = 10
    """Leaders lost for each outage figure."""
    profiles: tuple[str, ...] = ("standard", "fast")
    trials: int = 100
    """Deadlines of guards for each kind of load."""


QUICK = Size(
    seconds=0.5,
    clients=4,
    sites=2,
    groups=5,
    window=1,
    processes=1,
    starts=1,
    in_flight=(1, 16),
    runs=1,
    profiles=("fast",),
    trials=2,
)


async def commits(cluster: Cluster, leader: str, clients: int, size: Size) -> Json:
    """Each client has one heartbeat of one group in flight; its group grants nothing (mode observe)."""
    sites = [f"c{number:03d}" for number in range(clients + clients % 2)]
    groups = {f"one-of-{clients}-{at:03d}": (sites[2 * at], sites[2 * at + 1]) for at in range(len(sites) // 2)}
    await cluster.configure(leader, groups, ttl_ms=GROUP_TTL_MS, mode=Mode.OBSERVE)
    job = _streams(cluster, leader, {site: (name,) for name, pair in groups.items() for site in pair}, clients)
    [result], cpu = await _run(cluster, [job | {"kind": "commits", "window": 1}], size)
    resent = {"resent": result["resent"]}
    return latency(result["samples_ns"], result["seconds"]) | resent | {"cpu_per_process": cpu}


async def heartbeats(cluster: Cluster, leader: str, size: Size) -> Json:
    """Half of the groups' heartbeats renew a lease, the other half comes from dormant sites."""
    pairs = [(f"h{2 * at:03d}", f"h{2 * at + 1:03d}") for at in range(size.sites // 2)]
    groups = {f"many-{at}-{number:03d}": pair for at, pair in enumerate(pairs) for number in range(size.groups)}
    await cluster.configure(leader, groups, ttl_ms=GROUP_TTL_MS, mode=Mode.AUTOMATIC)
    by_site: dict[str, tuple[str, ...]] = {}
    for name, pair in groups.items():
        for site in pair:
            by_site[site] = (*by_site.get(site, ()), name)
    jobs = []
    for at in range(size.processes):
        # Both sites of a pair in one process: how many groups it will hold is then known beforehand.
        own = {site: by_site[site] for pair in pairs[at :: size.processes] for site in pair}
        job = _streams(cluster, leader, own, len(own))
        jobs.append(job | {"kind": "heartbeats", "window": size.window, "holding_min": len(own) // 2 * size.groups})
    results, cpu = await _run(cluster, jobs, size)
    messages = sum(one["answers"] for one in results)
    seconds = max(one["seconds"] for one in results)
    answered = latency(merged([one["samples_ns"] for one in results]), seconds)
    return {
        "per_s": round(messages * size.groups / seconds),
        "groups_a_message": size.groups,
        "messages_per_s": round(messages / seconds, 1),
        "streams": size.sites,
        "in_flight": size.sites * size.window,
        "groups": len(groups),
        "renewals_share": 0.5,
        "held": sum(one["holding"] for one in results),
        "resent": sum(one["resent"] for one in results),
        "answer_p50_ms": answered["p50_ms"],
        "answer_p99_ms": answered["p99_ms"],
        "cpu_per_process": cpu,
    }


def _streams(cluster: Cluster, leader: str, groups: dict[str, tuple[str, ...]], clients: int) -> Json:
    names = list(groups)[:clients]
    return {
        "address": f"{HOST}:{cluster.api[leader]}",
        "cluster": str(cluster.ca.cluster_id),
        "sites": [{"site": site, "groups": groups[site], "pki": str(cluster.certificate(site))} for site in names],
    }


async def _run(cluster: Cluster | EtcdCluster, jobs: list[Json], size: Size) -> tuple[list[Json], Json]:
    """Results of all load processes, and CPU seconds a second of every process that took part."""
    servers = cluster.witnesses if isinstance(cluster, Cluster) else cluster.members
    loads = [
        await Load.start(cluster.root, f"load-{at}", job | {"seconds": size.seconds}) for at, job in enumerate(jobs)
    ]
    try:
        await asyncio.gather(*(load.ready(READY_S) for load in loads))
        before = {name: cpu_seconds(child.pid) for name, child in servers.items()}
        began = time.monotonic()
        for load in loads:
            load.go()
        results = await asyncio.gather(*(load.result(size.seconds + READY_S) for load in loads))
        spent_s = time.monotonic() - began
        cpu = {name: round((cpu_seconds(child.pid) - before[name]) / spent_s, 2) for name, child in servers.items()}
    finally:
        for load in loads:
            await load.end()
    cpu |= {f"load-{at}": round(one["cpu_s"] / one["seconds"], 2) for at, one in enumerate(results)}
    return results, cpu


async def puts(cluster: EtcdCluster, leader: str, clients: int, size: Size) -> Json:
    job = {"kind": "puts", "host": HOST, "port": cluster.client_ports[leader], "clients": clients}
    [result], cpu = await _run(cluster, [job], size)
    return latency(result["samples_ns"], result["seconds"]) | {"cpu_per_process": cpu}


async def first_heartbeats(cluster: Cluster, leader: str, size: Size) -> Json:
    """A real agent, from the start of its process to its first heartbeat applied; then, active, what it weighs."""
    await cluster.configure(leader, {REAL_GROUP: (REAL_SITE, "real-b")}, ttl_ms=GROUP_TTL_MS, mode=Mode.AUTOMATIC)
    config = cluster.agent_config(REAL_SITE, REAL_GROUP, Ports())
    command = [sys.executable, "-m", "agents", "run", "-c", str(config)]
    taken = []
    memory: Json = {}
    for number in range(size.starts):
        began, since = time.monotonic(), await _incarnations(cluster, leader)
        agent = await cluster.fleet.start(REAL_SITE, command, cluster.root / f"{REAL_SITE}.log")
        taken.append(await _heard(cluster, leader, since) - began)
        if number == size.starts - 1:
            memory = await _weigh(cluster, leader, agent.pid)
        agent.signal(15)
        await agent.wait(10)
    return {"median_s": round(statistics.median(taken), 3), "all_s": [round(one, 3) for one in taken]} | memory


async def _incarnations(cluster: Cluster, leader: str) -> int:
    """Events so far: each start of an agent adds one that tells of its first heartbeat."""
    found = await cluster.get(leader, "/v1/events?limit=1")
    return 0 if found is None else int(found["head"])


async def _heard(cluster: Cluster, leader: str, since: int) -> float:
    async def look() -> float | None:
        found = await cluster.get(leader, f"/v1/events?after={since}&limit=100")
        for event in [] if found is None else found["events"]:
            if event["kind"] in ("site-joined", "site-restarted") and event["site"] == REAL_SITE:
                return time.monotonic()
        return None

    return await wait_for("the agent is heard", look, HEARD_S)


async def _weigh(cluster: Cluster, leader: str, agent: int) -> Json:
    async def active() -> bool:
        seen = await cluster.get(leader, f"/v1/groups/{REAL_GROUP}")
        return seen is not None and any(site["state"] == "active" for site in seen["sites"])

    await wait_for("the real agent is active", active, ACTIVE_S)
    guards = [one for one in below([agent]) if _parent(one) == agent]
    if len(guards) != 1:
        raise Expected(f"one guard was expected below the agent, {len(guards)} are there")
    inits = [one for one in below([guards[0].pid]) if _parent(one) == guards[0].pid]
    weights = {"agent": memory_of(agent), "guard": memory_of(guards[0].pid)}
    if inits:
        weights["init"] = memory_of(inits[0].pid)
    return {
        "memory_mb": {name: one.rss_mb for name, one in weights.items()},
        "memory_pss_mb": {name: one.pss_mb for name, one in weights.items()},
        "agent_and_guard_mb": round(sum(one.rss_mb for one in weights.values()), 1),
    }


def _parent(process: Process) -> int:
    stat = read_stat(process.pid)
    return 0 if stat is None else stat.parent
