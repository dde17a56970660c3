"""`python -m witness.bench --quick`: every measurement runs on real processes and has its promised shape; no timing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.fencing import process_table
from agents.fencing.base import GuardSilent
from agents.fencing.guard_client import GuardHandle
from witness.bench import guards

RUN_S = 110.0
pytestmark = pytest.mark.process


@pytest.mark.timeout(150)
def test_a_quick_run_measures_everything_and_says_so():
    command = [sys.executable, "-m", "witness.bench", "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] is True
    for key in ("commit_1", "commit_many"):
        assert result[key]["count"] > 0
        assert result[key]["p50_ms"] <= result[key]["p99_ms"] <= result[key]["max_ms"]
        assert {"w1", "w2", "w3", "load-0"} <= result[key]["cpu_per_process"].keys()
    beats = result["heartbeats"]
    assert beats["per_s"] > 0
    assert beats["held"] == beats["groups"] == 5, "one site of the pair holds every group"
    assert result["agent_and_guard_mb"] > 0
    assert result["agent"]["memory_mb"].keys() >= {"agent", "guard", "init"}
    assert len(result["agent"]["all_s"]) == 1
    guard = result["guard"]
    assert guard["idle"]["guard_mb"] > 0
    assert guard["idle"]["privileges"].keys() == {"oom_score", "memory_locked", "realtime"}
    for load in ("plain", "cpu"):
        assert guard[load]["trials"] == 2
        assert guard[load]["proof"]["max_ms"] >= guard[load]["proof"]["min_ms"]
    assert guard["memory"].keys() & {"trials", "not_measured"}
    assert set(result["witness_idle_mb"]) == set(result["witness_loaded_mb"]) == {"w1", "w2", "w3"}
    assert "Floors and aims" in done.stdout
    for in_flight in ("1", "16"):
        assert result["raft"][in_flight]["count"] > 0
    outage = result["outage"]["fast"]
    assert outage["timers"]["election_min_ms"] == 125
    for way in ("kill", "stop"):
        figures = outage[way]["thirdsite"]
        assert figures["runs"] == 1
        assert 0 < figures["min_ms"] == figures["median_ms"] == figures["max_ms"]
    if result["etcd"] is None:
        assert "apt-get install etcd-server" in done.stderr
    else:
        assert result["put_1"]["count"] > 0
        assert result["commit_over_etcd"] > 0
        assert result["raft_over_etcd"] > 0
        assert {"kill", "stop"} == {way for way in outage if "etcd" in outage[way]}


def test_an_unknown_part_is_refused_with_the_parts_there_are():
    command = [sys.executable, "-m", "witness.bench", "--only", "raft,speed"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 64
    assert "'speed' is no part; choose of agent, guard, commits, raft, outage" in done.stderr


async def test_a_guard_that_takes_no_deadline_is_counted_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = []

    async def silent(guard: GuardHandle, ttl_ms: int) -> int:
        handles.append(guard)
        raise GuardSilent("deadline: no answer")

    monkeypatch.setattr(guards, "_arm", silent)
    found = await guards._trials(tmp_path, 2, guards._nothing)
    assert (found["trials"], found["not_armed"], found["never_ran"]) == (2, 2, 0)
    assert (found["last_stamp"], found["proof"]) == ({}, {})
    assert [one for one in handles if process_table.start_time(one.guard_pid) is not None] == []
