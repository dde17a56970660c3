"""A fixed slice of seeds, and what a campaign promises: equal runs, one line that replays, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from witness.sim import __main__ as cli
from witness.sim.faults import FAULTS
from witness.sim.run import campaign, run_schedule
from witness.sim.setup import draw

SLICE = 60
MUST_BE_HIT = frozenset(
    {"message-lost", "message-doubled", "message-slow", "message-cut", "stream-idle", "witness-cut-set"}
    | {
        "witness-kill",
        "witness-pause-any",
        "agent-crash",
        "agent-stop",
        "site-freeze",
        "site-suspend",
        "site-power",
    }
    | {
        "wall-step",
        "start-fails",
        "start-hangs",
        "stop-deaf",
        "switchover-done",
        "down-by-kernel",
    }
)
"""Faults that the slice really produces; a campaign of some hundreds produces all."""


@pytest.mark.timeout(600)
def test_the_slice_is_clean_and_really_hits():
    told: list[int] = []
    total = campaign(7_000, SLICE, lambda done, result: told.append(done))
    assert [f"seed {seed}: {violation}" for seed, violation in total.violations] == []
    assert told == list(range(1, SLICE + 1))
    assert sorted(MUST_BE_HIT - set(total.faults_hit)) == []
    assert total.activations > SLICE


def test_every_kind_of_fault_is_drawn():
    drawn = Counter(kind for seed in range(400) for kind in draw(seed, list(FAULTS)).kinds)
    assert set(drawn) == set(FAULTS)


def test_without_faults_nothing_moves():
    quiet = [seed for seed in range(200) if not draw(seed, list(FAULTS)).kinds]
    assert quiet
    for seed in quiet[:5]:
        result = run_schedule(seed)
        assert result.violations == []
        assert result.activations == len(draw(seed, list(FAULTS)).groups)


def _story(seed: int) -> list[str]:
    lines: list[str] = []
    run_schedule(seed, trace=lambda at_ns, who, what: lines.append(f"{at_ns} {who} {what}"))
    return lines


def test_a_seed_is_the_whole_story():
    assert _story(31) == _story(31)
    assert _story(31) != _story(32)


def test_the_hash_seed_changes_nothing():
    outputs = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "witness.sim", "--seed", "40", "--schedules", "3", "--json"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        outputs.add(done.stdout.splitlines()[-1])
    assert len(outputs) == 1
    assert json.loads(outputs.pop())["violations"] == 0


def test_a_violation_is_one_line_that_replays_and_a_bad_exit(monkeypatch, capsys):
    def broken(seed, **how):
        found = run_schedule(seed, **how)
        return replace(found, violations=[(seed, violation)])

    violation = cli_violation()
    monkeypatch.setattr("witness.sim.run.run_schedule", broken)
    assert cli.main(["--seed", "5", "--schedules", "1", "--json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    kinds = ",".join(draw(5, list(FAULTS)).kinds)
    assert lines[0] == f"python -m witness.sim --schedules 1 --seed 5 --kinds {kinds or 'none'}  # {violation}"
    summary = json.loads(lines[-1])
    assert summary["violations"] == summary["overlaps"] == 1
    assert {"schedules", "events", "simulated_s", "stuck", "faults_hit"} <= set(summary)


def cli_violation():
    from witness.sim.raft.checkers import Violation

    return Violation("overlap", 5_000_000, "dc-a runs erp while dc-b runs it too")


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--schedules", "0"], "at least 1"), (["--kinds", "flood"], "no such fault: flood")]
)
def test_bad_arguments_are_refused(capsys, arguments, says):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert says in capsys.readouterr().err


def test_kinds_can_be_chosen_and_the_trace_tells_the_story(capsys):
    assert cli.main(["--seed", "3", "--kinds", "site-freeze,switchover", "--trace"]) == 0
    out = capsys.readouterr().out
    assert "every process is stopped" in out
    assert "agent starts" in out
    assert cli.main(["--seed", "3", "--schedules", "1", "--kinds", "none"]) == 0
    assert "0 violations" in capsys.readouterr().out
