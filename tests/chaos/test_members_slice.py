"""A slice of `make members`: one trial of each row that the design names, and what a run leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from memberrig.member_trials import ROWS, Trial, table

from witness.demo.processes import below

PROGRAM = Path(__file__).with_name("members_run.py")
RUN_S = 200.0
WAIT_S = 90.0
TTL_MS = 3_000
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: each host is a network namespace of the run's own"
)


def run(*options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *options, "--json"], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@needs_root
@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["parted", "lead-killed", "member-killed"])
def test_exclusion_holds_and_every_part_ends_within_its_authority(name: str) -> None:
    told = run("--trials", "1", "--ttl-ms", str(TTL_MS), "--only", name)
    ((trial,),) = told["rows"].values()
    assert trial["overlap_ms"] == 0
    assert trial["member_last_ms"] < trial["other_first_ms"]
    assert trial["lead_last_ms"] < trial["other_first_ms"]
    assert trial["member_last_ms"] <= TTL_MS, "a member that lost its lead is dead within what its lead had left"


@needs_root
@pytest.mark.process
@pytest.mark.timeout(240)
def test_a_run_that_is_ended_by_a_signal_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--only", "parted", "--json"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        ends = time.monotonic() + WAIT_S
        while not [path for path in tmp_path.glob("thirdsite-members-*/member.log") if path.stat().st_size]:
            assert child.poll() is None
            assert time.monotonic() < ends, "nothing was started"
            time.sleep(0.05)
        started = below([child.pid])
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=WAIT_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 128 + signal.SIGTERM
    assert json.loads(out.splitlines()[-1])["interrupted"] == "SIGTERM"
    assert [one for one in started if one.alive()] == []
    assert list(tmp_path.glob("thirdsite-*")) == []


def test_the_table_says_least_and_most_and_whether_both_lived() -> None:
    two = [Trial(10.0, 20.0, 120.0, 0.0), Trial(30.0, 5.0, 90.0, 7.0)]
    head, _, line = table({"parted": two}, TTL_MS)
    assert "3000 ms" in head
    assert line.split() == ["parted", "2", "10", "-", "30", "5", "-", "20", "90", "-", "120", "60", "-", "100", "7"]


@pytest.mark.parametrize("options", [("--only", "nobody"), ("--trials", "0"), ("--ttl-ms", "1")])
def test_wrong_arguments_are_named(options: tuple[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *options], capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 2
    assert options[1] in done.stderr


def test_each_row_says_what_it_does() -> None:
    assert all(row.says for row in ROWS.values())
