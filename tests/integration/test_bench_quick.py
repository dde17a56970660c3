"""`python -m witness.bench --quick`: every measurement runs on real processes and has its promised shape; no timing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
    assert set(result["witness_idle_mb"]) == set(result["witness_loaded_mb"]) == {"w1", "w2", "w3"}
    assert "Floors and aims" in done.stdout
    if result["etcd"] is None:
        assert "apt-get install etcd-server" in done.stdout
    else:
        assert result["put_1"]["count"] > 0
        assert result["commit_over_etcd"] > 0
