"""`python -m witness.bench [--json] [--quick]`: measures, prints, judges by the floors; exit code 0 when it ran.

A floor that is missed is said loudly and does not change the exit code: a busy machine is no bug. With `--json` the
last line of stdout is one object with every figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from witness.bench import measure
from witness.bench.cluster import Cluster, make_root, remove_root
from witness.bench.etcd_cluster import MISSING, EtcdCluster, etcd_version
from witness.bench.figures import AIMS, FLOORS, Json, memory_of
from witness.demo.eyes import Expected
from witness.demo.layout import Ports
from witness.demo.processes import Fleet

EXIT_FAILED = 1
TAIL_LINES = 5


class Bench:
    def __init__(self, size: measure.Size, console: Console, *, etcd: bool) -> None:
        self.size = size
        self.console = console
        self.etcd = etcd
        self.figures: Json = {"cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)}

    async def run(self) -> None:
        root, fleet = make_root(), Fleet()
        try:
            await self._own(fleet, root)
            if self.etcd:
                await self._etcd(root)
        except (Expected, TimeoutError):
            self._say_tails(root)
            raise
        finally:
            await fleet.end()
            remove_root(root)

    async def _own(self, fleet: Fleet, root: Path) -> None:
        ports = Ports()
        cluster = Cluster(fleet, root, ports)
        ports.release()
        try:
            leader = await cluster.start()
            self.figures["witness_idle_mb"] = self._weights(cluster)
            await self._note("agent", lambda: measure.first_heartbeats(cluster, leader, self.size))
            await self._note("commit_1", lambda: measure.commits(cluster, leader, 1, self.size))
            await self._note("commit_many", lambda: measure.commits(cluster, leader, self.size.clients, self.size))
            await self._note("heartbeats", lambda: measure.heartbeats(cluster, leader, self.size))
            self.figures["witness_loaded_mb"] = self._weights(cluster)
        finally:
            await cluster.stop()

    @staticmethod
    def _weights(cluster: Cluster) -> Json:
        return {name: memory_of(child.pid).rss_mb for name, child in cluster.witnesses.items()}

    def _say_tails(self, root: Path) -> None:
        for log in sorted(root.glob("*.log")):
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]:
                self.console.print(f"{log.name}: {line[:400]}", markup=False)

    async def _etcd(self, root: Path) -> None:
        version = etcd_version()
        if version is None:
            self.figures["etcd"] = None
            self.console.print(f"[yellow]{MISSING}[/yellow]")
            return
        ports, fleet = Ports(), Fleet()
        cluster = EtcdCluster(fleet, root, ports)
        ports.release()
        self.figures["etcd"] = version
        try:
            leader = await cluster.start()
            await self._note("put_1", lambda: measure.puts(cluster, leader, 1, self.size))
            await self._note("put_many", lambda: measure.puts(cluster, leader, self.size.clients, self.size))
        finally:
            await fleet.end()

    async def _note(self, key: str, work: Callable[[], Awaitable[Json]]) -> None:
        began = time.monotonic()
        with self.console.status(f"measuring {key} ..."):
            self.figures[key] = await work()
        self.console.print(f"[dim]{key:<12} measured in {time.monotonic() - began:.1f} s[/dim]")


def judge(figures: Json) -> Json:
    """The figures that floors and aims name, by their keys."""
    one, put = figures.get("commit_1") or {}, figures.get("put_1") or {}
    agent, beats = figures.get("agent") or {}, figures.get("heartbeats") or {}
    ratio = one["p50_ms"] / put["p50_ms"] if one.get("p50_ms") and put.get("p50_ms") else None
    return {
        "commit_p50_ms": one.get("p50_ms"),
        "commit_over_etcd": None if ratio is None else round(ratio, 2),
        "heartbeats_per_s": beats.get("per_s"),
        "agent_and_guard_mb": agent.get("agent_and_guard_mb"),
        "first_heartbeat_s": agent.get("median_s"),
    }


def show(console: Console, figures: Json, judged: Json) -> None:
    commits = Table("", "clients", "per second", "p50 ms", "p99 ms", "CPU per process (cores)", title="Commits")
    rows = (
        ("commit of one group's heartbeat", "1", "commit_1"),
        ("the same", str(figures["clients"]), "commit_many"),
        ("etcd put, gRPC, no TLS", "1", "put_1"),
        ("the same", str(figures["clients"]), "put_many"),
    )
    for words, clients, key in rows:
        row = figures.get(key)
        if row:
            figures_of = [str(row[name]) for name in ("per_s", "p50_ms", "p99_ms")]
            commits.add_row(words, clients, *figures_of, _cpu(row))
    console.print(commits)
    beats = figures["heartbeats"]
    console.print(
        f"heartbeats   {beats['per_s']}/s of single groups, {beats['groups_a_message']} groups a message, "
        f"{beats['groups']} groups, {beats['in_flight']} messages in flight, half of them renewals; "
        f"answer p50 {beats['answer_p50_ms']} ms, p99 {beats['answer_p99_ms']} ms; CPU {_cpu(beats)}"
    )
    agent = figures["agent"]
    console.print(f"memory       witness {_all(figures['witness_idle_mb'])} MB idle, ", end="")
    console.print(f"{_all(figures['witness_loaded_mb'])} MB after the load; {_all(agent['memory_mb'])} MB (resident)")
    console.print(f"start        {agent['median_s']} s to the first committed heartbeat (of {agent['all_s']})")
    _show_floors(console, judged)


def _show_floors(console: Console, judged: Json) -> None:
    table = Table("", "measured", "wanted", "", title="Floors and aims")
    for kind, floors in (("floor", FLOORS), ("aim", AIMS)):
        for floor in floors:
            value, verdict = judged[floor.key], floor.holds(judged[floor.key])
            word = {True: "[green]held[/green]", False: "[bold red]MISSED[/bold red]", None: "not measured"}[verdict]
            sign = ">=" if floor.at_least else "<="
            wanted = f"{sign} {floor.limit:g} {floor.unit}"
            table.add_row(f"{kind}: {floor.words}", "-" if value is None else f"{value:g}", wanted, word)
    console.print(table)


def _cpu(row: Json) -> str:
    return _all(row["cpu_per_process"])


def _all(values: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m witness.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the last line of stdout is one JSON object")
    parser.add_argument("--quick", action="store_true", help="tiny counts: shows that it works, measures nothing")
    parser.add_argument("--no-etcd", action="store_true", help="leave etcd out although it is installed")
    parser.add_argument("--seconds", type=float, help="of each measurement under load")
    options = parser.parse_args(arguments)
    size = measure.QUICK if options.quick else measure.Size()
    if options.seconds is not None:
        size = measure.Size(**{**_fields(size), "seconds": max(0.1, min(options.seconds, 600.0))})
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 140)
    bench = Bench(size, console, etcd=not options.no_etcd)
    bench.figures["clients"] = size.clients
    code = _run(bench)
    judged = judge(bench.figures)
    if code == 0:
        show(console, bench.figures, judged)
    if options.json:
        print(json.dumps({"ok": code == 0, **judged, **bench.figures}), flush=True)  # noqa: T201 - the result
    return code


def _fields(size: measure.Size) -> Json:
    return {name: getattr(size, name) for name in size.__slots__}


def _run(bench: Bench) -> int:
    async def work() -> None:
        task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGHUP):
            if task is not None:
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await bench.run()

    try:
        asyncio.run(work())
    except (Expected, TimeoutError) as failed:
        bench.figures["failed"] = str(failed) or "a load process did not answer in time"
        bench.console.print(f"[bold red]FAILED[/bold red] {failed}")
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        bench.figures["failed"] = "interrupted"
        return 130
    return 0


with contextlib.suppress(BrokenPipeError):
    sys.exit(main(sys.argv[1:]))
