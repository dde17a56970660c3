"""The parts of a bench run, in order, each with a cluster of its own; `--only` chooses among them.

A part of ours and its counterpart of etcd's are neighbours in time: shared machines change by the minute.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from witness.bench import measure
from witness.bench.cluster import Cluster, make_root, remove_root
from witness.bench.etcd_cluster import MISSING, EtcdCluster, etcd_version
from witness.bench.figures import Json, memory_of
from witness.bench.guards import guards
from witness.bench.outage import WAYS, EtcdSubject, OwnSubject, Subject, outages, timers_told
from witness.bench.raft_group import RaftGroup
from witness.demo.eyes import Expected
from witness.demo.layout import Ports
from witness.demo.processes import Fleet
from witness.raft.timers import RaftTimers

TAIL_LINES = 5
PROFILES = {"standard": RaftTimers(50, 300, 600, 1_200), "fast": RaftTimers(20, 125, 250, 500)}
"""Written out: a comparison over releases must not change with their defaults."""


class Bench:
    def __init__(self, size: measure.Size, parts: tuple[str, ...], progress: Console, *, etcd: bool) -> None:
        self.size = size
        self.parts = parts
        self.progress = progress
        self.figures: Json = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}
        self.figures |= {"parts": list(parts), "clients": size.clients}
        self._etcd = etcd_version() if etcd else None
        self._wanted = etcd

    async def run(self) -> None:
        self.figures["etcd"] = self._etcd
        if self._wanted and self._etcd is None:
            self.progress.print(f"[yellow]{MISSING}[/yellow]")
        for part in self.parts:
            await PARTS[part](self)

    # -- the parts ------------------------------------------------------------------------------------------

    async def agent(self) -> None:
        async with self._own() as (cluster, leader):
            await self._note("agent", lambda: measure.first_heartbeats(cluster, leader, self.size))

    async def guard(self) -> None:
        """Memory, wake-ups and the lateness of a deadline, plain, starved and under memory pressure."""
        root = make_root()
        try:
            await self._note("guard", lambda: guards(root, self.size.seconds, self.size.trials))
        finally:
            remove_root(root)

    async def commits(self) -> None:
        """Ours through the API with TLS and etcd's put; the memory of a witness before and after."""
        size = self.size
        async with self._own() as (cluster, leader):
            self.figures["witness_idle_mb"] = _weights(cluster)
            await self._note("commit_1", lambda: measure.commits(cluster, leader, 1, size))
            await self._note("commit_many", lambda: measure.commits(cluster, leader, size.clients, size))
            await self._note("heartbeats", lambda: measure.heartbeats(cluster, leader, size))
            self.figures["witness_loaded_mb"] = _weights(cluster)
        async with self._others() as found:
            if found is not None:
                other, leader = found
                await self._note("put_1", lambda: measure.puts(other, leader, 1, size))
                await self._note("put_many", lambda: measure.puts(other, leader, size.clients, size))

    async def raft(self) -> None:
        """Raft alone, through the port, and etcd's puts at the same numbers in flight."""
        figures: Json = {}
        async with self._raft_group() as (group, leader):
            for count in self.size.in_flight:
                key = f"raft_{count}"
                figures[str(count)] = await self._timed(key, partial(group.load, leader, count, self.size.seconds))
        self.figures["raft"] = figures
        async with self._others() as found:
            if found is None:
                return
            other, leader = found
            self.figures["raft_etcd"] = {
                str(count): await self._timed(f"put_{count}", partial(measure.puts, other, leader, count, self.size))
                for count in self.size.in_flight
            }

    async def outage(self) -> None:
        for profile in self.size.profiles:
            timers = PROFILES[profile]
            figures: Json = {"timers": timers_told(timers)}
            self.figures.setdefault("outage", {})[profile] = figures
            async with self._own(timers) as (cluster, leader):
                subject = OwnSubject(cluster)
                await subject.prepare(leader)
                await self._ways(figures, "thirdsite", profile, subject, timers)
            async with self._others(timers) as found:
                if found is not None:
                    await self._ways(figures, "etcd", profile, EtcdSubject(found[0]), timers)

    async def _ways(self, figures: Json, whose: str, profile: str, subject: Subject, timers: RaftTimers) -> None:
        for way in WAYS:
            rng = random.Random(f"{profile}-{way}")  # noqa: S311  # moments and survivors, no secret
            words = f"outage {profile} {way} {whose}"
            figures.setdefault(way, {})[whose] = await self._timed(
                words, partial(outages, subject, way, self.size.runs, timers, rng)
            )

    # -- clusters -------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _own(self, timers: RaftTimers | None = None) -> AsyncIterator[tuple[Cluster, str]]:
        root, fleet, ports = make_root(), Fleet(), Ports()
        try:
            cluster = Cluster(fleet, root, ports, timers)
            ports.release()
            try:
                yield cluster, await cluster.start()
            finally:
                await cluster.stop()
        except (Expected, TimeoutError):
            self._say_tails(root)
            raise
        finally:
            await fleet.end()
            remove_root(root)

    @contextlib.asynccontextmanager
    async def _others(self, timers: RaftTimers | None = None) -> AsyncIterator[tuple[EtcdCluster, str] | None]:
        if self._etcd is None:
            yield None
            return
        root, fleet, ports = make_root(), Fleet(), Ports()
        cluster = EtcdCluster(fleet, root, ports, timers)
        ports.release()
        try:
            yield cluster, await cluster.start()
        finally:
            await fleet.end()
            remove_root(root)

    @contextlib.asynccontextmanager
    async def _raft_group(self) -> AsyncIterator[tuple[RaftGroup, str]]:
        root, ports = make_root(), Ports()
        group = RaftGroup(root, ports)
        ports.release()
        try:
            yield group, await group.start()
        finally:
            await group.end()
            remove_root(root)

    # -- what is told meanwhile -----------------------------------------------------------------------------

    async def _note(self, key: str, work: Callable[[], Awaitable[Json]]) -> None:
        self.figures[key] = await self._timed(key, work)

    async def _timed(self, words: str, work: Callable[[], Awaitable[Json]]) -> Json:
        began = time.monotonic()
        with self.progress.status(f"measuring {words} ..."):
            measured = await work()
        self.progress.print(f"[dim]{words:<32} measured in {time.monotonic() - began:.1f} s[/dim]")
        return measured

    def _say_tails(self, root: Path) -> None:
        for log in sorted(root.glob("*.log")):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]:
                self.progress.print(f"{log.name}: {line[:400]}", markup=False)


def _weights(cluster: Cluster) -> Json:
    return {name: memory_of(child.pid).rss_mb for name, child in cluster.witnesses.items()}


PARTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "agent": Bench.agent,
    "guard": Bench.guard,
    "commits": Bench.commits,
    "raft": Bench.raft,
    "outage": Bench.outage,
}
