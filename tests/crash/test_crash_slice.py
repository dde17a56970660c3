"""A slice of `make crash`: each mode for some rounds, and that the campaign sees a witness that writes too late."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crashrig.plan import Mode, Way, plan, points_for, way_to

from witness.raft.failpoints import POINTS

RUN_S = 100.0
pytestmark = pytest.mark.process


def run(*options: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, str(Path(__file__).with_name("crash_run.py")), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_nothing_acknowledged_is_lost_in_any_mode():
    """P1 P2 P3 P9 P10 D1 D3, a few points of each; the campaign visits them all."""
    code, told, says = run("--rounds", "18", "--seed", "3")
    assert code == 0, says
    assert told["lost"] == 0
    assert told["rounds"] == 18
    assert told["acknowledged"] > 18
    assert told["kills"] >= 4 + 3 * 6 + 2
    assert told["modes"] == {"one": 6, "all": 6, "two": 2, "stop": 2, "fail": 2}
    assert sum(told["points_hit"].values()) == 18 - sum(told["missed"].values())


@pytest.mark.parametrize("point", ["snapshot-rename-after", "journal-truncate-after", "install-written", "vote-after"])
def test_the_narrow_moments_are_reached_with_all_three_killed(point):
    """P9: between the snapshot's rename and the log's trim. P10: amid the log's replacement by a snapshot's end."""
    code, told, says = run("--rounds", "2", "--mode", "all", "--point", point, "--parallel", "1")
    assert code == 0, says
    assert told["points_hit"] == {point: 2}
    assert told["kills"] >= 2 * 3


def test_a_journal_that_is_written_late_is_seen():
    code, told, says = run("--rounds", "60", "--mode", "all", "--point", "effects-after", "--broken")
    assert code == 1, says
    assert told["failed"] is not None
    assert "again: python tests/crash/crash_run.py --seed 1 --first " in told["failed"]


def test_every_point_has_its_turn_before_any_comes_again():
    for mode in Mode:
        points = points_for(mode)
        first = {plan(5, number, mode).point for number in range(len(points))}
        assert first == set(points)
    assert set(points_for(Mode.ONE)) == set(POINTS)
    assert {way_to(point) for point in POINTS} == set(Way)


def test_a_round_is_repeated_by_its_seed_and_number():
    assert plan(7, 312, None) == plan(7, 312, None)
    assert plan(7, 312, None) != plan(8, 312, None)


def test_a_wrong_mode_and_a_wrong_point_are_refused():
    for option, value in (("--mode", "none"), ("--point", "nowhere")):
        command = [sys.executable, str(Path(__file__).with_name("crash_run.py")), option, value]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2
        assert value in done.stderr
