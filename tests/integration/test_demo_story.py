"""`witness demo` as its users run it: the whole story holds, and an interrupted one leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from witness.demo.processes import below

STORY_S = 110.0
END_S = 30.0
PROBE = """
import sys
from agents.fencing import containment
sys.exit(0 if containment.enter(None)[0] != containment.PROCESS_GROUP else 3)
"""
pytestmark = pytest.mark.process


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "witness", "demo", *arguments]
    with (tmp_path / "demo.out").open("w", encoding="utf-8") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def said(tmp_path: Path) -> str:
    return (tmp_path / "demo.out").read_text(encoding="utf-8")


def wait_for(what: str, tmp_path: Path, child: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + END_S
    while what not in said(tmp_path):
        assert child.poll() is None, said(tmp_path)
        assert time.monotonic() < ends, said(tmp_path)
        time.sleep(0.05)


def end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def require_namespaces() -> None:
    if subprocess.run([sys.executable, "-c", PROBE], check=False).returncode != 0:
        pytest.skip("PID NAMESPACES CANNOT BE MADE HERE: the demo's freeze was not tested (run as root)")


@pytest.mark.timeout(150)
def test_the_whole_story_holds(tmp_path):
    require_namespaces()
    child = start(tmp_path, "--json", "--ttl", "2")
    try:
        code = child.wait(STORY_S)
    finally:
        end(child)
    text = said(tmp_path)
    result = json.loads(text.splitlines()[-1])
    assert code == 0, text
    assert result["ok"] is True
    assert result["failed"] is None
    assert result["ttl_s"] == 2.0
    assert result["overlap_s"] == 0.0
    assert result["activations"] == 4, "dc-a, dc-b after the kill, dc-a by handover, dc-b after the freeze"
    assert result["leader_kill"]["takeovers"] == 0
    assert result["skipped"] == []
    assert result["takeover_parts_s"]["stop"]["dead_before_start"] > 0
    for value in (*result["takeover_s"].values(), result["handover_s"], result["leader_kill"]["renewal_gap_s"]):
        assert value is not None
    # What is left of a lease cannot be shorter than a lease less one renewal period and the stop's own lead.
    assert result["takeover_s"]["kill"] > 2.0 / 3
    assert "#" in text, "the picture"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_directory(tmp_path, number):
    child = start(tmp_path, "--json", "--ttl", "2")
    try:
        wait_for("both sites join", tmp_path, child)
        mine = below([child.pid])
        assert len(mine) >= 6, "license server, witnesses, agents"
        root = _directory_of(mine)
        os.kill(child.pid, number)
        code = child.wait(END_S)
    finally:
        end(child)
    assert code == 128 + number, said(tmp_path)
    assert [one for one in mine if one.alive()] == []
    assert not root.exists()
    result = json.loads(said(tmp_path).splitlines()[-1])
    assert result["ok"] is False
    assert number.name in result["failed"]


def _directory_of(processes) -> Path:
    """From the command line of a witness: `-c <directory>/w1.yaml`."""
    for one in processes:
        line = Path(f"/proc/{one.pid}/cmdline").read_bytes().decode().split("\0")
        for argument in line:
            if argument.endswith("/w1.yaml"):
                return Path(argument).parent
    pytest.fail("no witness is running")


def test_a_lease_that_is_none_is_refused_before_anything_starts(tmp_path):
    child = start(tmp_path, "--ttl", "soon")
    assert child.wait(END_S) == 64
    assert "--ttl: 'soon' is refused" in said(tmp_path)
