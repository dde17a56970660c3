"""`site-agent hook-test` with real scripts in real guards: each kind of carelessness is found, care is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]
WAIT_S = 500.0


class Hook:
    """One script, its state in a file, and what hook-test said of it."""

    def __init__(self, directory: Path, body: str, *options: str) -> None:
        self.script, self.state = directory / "hook", directory / "state"
        self.script.write_text(f"#!/bin/sh\nSTATE={self.state}\n{body}\n")
        self.script.chmod(0o755)
        command = [sys.executable, "-m", "agents", "hook-test", "--json", "--state", f"cat {self.state}"]
        command += ["--reset", f": > {self.state}", *options, str(self.script), "--its-own-option"]
        self.done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.view: dict[str, Any] = json.loads(self.done.stdout) if self.done.stdout else {}

    def of(self, case: str) -> list[dict[str, str]]:
        return [one for one in self.view["findings"] if one["case"] == case]

    def problems(self) -> set[str]:
        return {one["case"] for one in self.view["findings"] if one["verdict"] == "problem"}


CAREFUL = """
[ "$1" = --its-own-option ] || exit 9
[ "$THIRDSITE_PLAN" = activate-5-1 ] && [ "$THIRDSITE_GROUP" = shop ] || exit 8
[ -n "$THIRDSITE_DEADLINE_BOOTTIME_NS" ] || exit 7
[ -z "$THIRDSITE_DRY_RUN" ] || exit 0
sleep 0.2
echo "$THIRDSITE_EPOCH $OWN" > $STATE.$$ && mv $STATE.$$ $STATE
"""


def test_a_careful_script_passes_with_the_environment_of_a_step(tmp_path: Path) -> None:
    options = ("--group", "shop", "--epoch", "5", "--env", "OWN=1", "--kills", "2")
    hook = Hook(tmp_path, CAREFUL, *options)
    assert hook.problems() == set(), hook.view
    assert (hook.done.returncode, hook.view["idempotent"]) == (0, True)
    assert [one["case"] for one in hook.view["findings"]].count("crash") == 2
    assert {"dry run", "first run", "retry", "duplicate", "crash", "timeout"} <= {
        one["case"] for one in hook.view["findings"]
    }
    assert hook.state.read_text() == "5 1\n"


def test_a_second_run_that_changes_more_and_a_dry_run_that_is_none_are_found(tmp_path: Path) -> None:
    hook = Hook(tmp_path, "echo x >> $STATE", "--kills", "0")
    assert hook.done.returncode == 1
    assert {"retry", "duplicate", "dry run"} <= hook.problems()
    assert "the state is another one" in hook.of("retry")[0]["words"]


def test_a_lock_that_a_kill_leaves_behind_is_found(tmp_path: Path) -> None:
    body = 'mkdir $TMPDIR/lock 2>/dev/null || { echo "locked by another"; exit 3; }; sleep 0.3; rmdir $TMPDIR/lock'
    hook = Hook(tmp_path, body, "--kills", "1", "--no-dry-run")
    assert hook.done.returncode == 1
    assert {"crash", "duplicate", "timeout"} <= hook.problems()
    assert "exit code 3" in hook.of("crash")[0]["words"]
    assert "locked by another" in hook.of("crash")[0]["words"]
    assert hook.of("dry run") == []
    assert hook.of("retry")[0]["verdict"] == "ok"


def test_a_script_that_ignores_term_and_leaves_a_daemon_is_told_of_it_and_nothing_outlives_the_test(
    tmp_path: Path,
) -> None:
    marker = f"3{os.getpid():07d}"
    body = f"trap '' TERM\n(sleep {marker} </dev/null >/dev/null 2>&1 &)\nend=$(($(date +%s%N) + 300000000))\n"
    body += "while [ $(date +%s%N) -lt $end ]; do :; done\nexit 0"
    hook = Hook(tmp_path, body, "--kills", "1", "--no-dry-run")
    assert hook.problems() == set(), hook.view
    notes = {one["words"].split(":")[0] for one in hook.view["findings"] if one["verdict"] == "note"}
    assert any("leaves 1 processes running" in one for one in notes)
    found = subprocess.run(["pgrep", "-f", f"sleep {marker}"], capture_output=True, check=False)
    assert found.stdout == b""


def test_a_script_that_fails_at_once_is_judged_no_further(tmp_path: Path) -> None:
    hook = Hook(tmp_path, "echo broken; exit 4", "--no-dry-run")
    assert hook.done.returncode == 65
    assert "exit code 4" in hook.of("first run")[0]["words"]
    assert hook.of("retry") == []
    assert hook.of("others")[0]["verdict"] == "skipped"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["/nonexistent/hook"], 66, "no such program"),
        (["--env", "THIRDSITE_EPOCH=1", "/bin/true"], 64, "set by the agent"),
        (["--state", "exit 3", "/bin/true"], 78, "--state"),
        (["--reset", "exit 3", "/bin/true"], 78, "--reset"),
        ([], 64, "SCRIPT"),
    ],
)
def test_wrong_usage_says_what_is_wrong(arguments: list[str], code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agents", "hook-test", *arguments],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr


def test_the_table_and_the_help_are_for_people() -> None:
    command = [sys.executable, "-m", "agents", "hook-test"]
    told = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=WAIT_S, check=True).stdout
    assert "SCRIPT REALLY RUNS" in told
    assert "Exit codes: 0 nothing found" in told
    shown = subprocess.run(
        [*command, "--kills", "0", "/bin/true"], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split() == ["CASE", "VERDICT", "WHAT", "WAS", "SEEN"]
