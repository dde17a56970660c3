"""Percentiles, what /proc says about processes, and the floors that a run is judged by."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Floor:
    """A figure that a release must reach, and the one that it aims for."""

    key: str
    words: str
    limit: float
    unit: str
    at_least: bool = False

    def holds(self, value: float | None) -> bool | None:
        if value is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


FLOORS = (
    Floor("commit_p50_ms", "commit latency, one client, p50", 5.0, "ms"),
    Floor("heartbeats_per_s", "heartbeats a second, 100 groups a message", 20_000, "/s", at_least=True),
    Floor("agent_and_guard_mb", "resident memory of agent and guard", 80, "MB"),
    Floor("first_heartbeat_s", "agent's process start to its first committed heartbeat", 1.5, "s"),
)
AIMS = (
    Floor("raft_over_etcd", "Raft alone: commit p50 over etcd's put p50, one client", 1.0, "x"),
    Floor("outage_fast_kill_ms", "longest write outage after SIGKILL of the leader, fast timers", 500, "ms"),
    Floor("commit_over_etcd", "commit p50 over etcd's put p50, one client", 1.0, "x"),
    Floor("heartbeats_per_s", "heartbeats a second, 100 groups a message", 50_000, "/s", at_least=True),
)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of sorted values; the nearest rank, so that it is a value that did occur."""
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def latency(samples_ns: Sequence[int], seconds: float) -> Json:
    ordered = sorted(one / 1e6 for one in samples_ns)
    return {
        "count": len(ordered),
        "per_s": round(len(ordered) / seconds, 1) if seconds > 0 else 0.0,
        "p50_ms": round(percentile(ordered, 0.50), 3) if ordered else None,
        "p99_ms": round(percentile(ordered, 0.99), 3) if ordered else None,
        "max_ms": round(ordered[-1], 3) if ordered else None,
    }


def merged(parts: Sequence[Sequence[int]]) -> list[int]:
    return [one for part in parts for one in part]


@dataclass(frozen=True, slots=True)
class Memory:
    rss_mb: float
    pss_mb: float
    """Pages that are shared are divided among those who share them."""


def memory_of(pid: int) -> Memory:
    fields = {"Rss": 0, "Pss": 0}
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except PermissionError:
        text = _status_as_rollup(pid)
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in fields:
            fields[name] = int(rest.split()[0])
    return Memory(round(fields["Rss"] / 1024, 1), round(fields["Pss"] / 1024, 1))


def _status_as_rollup(pid: int) -> str:
    """A guard is not dumpable: without root only its total can be read."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    rss = next((line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")), "0")
    return f"Rss: {rss} kB\nPss: {rss} kB"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process since its start; 0 when it is gone."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0.0
    fields = data[data.rfind(b")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
