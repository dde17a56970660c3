"""`run.py` as a script: what it says, what it returns, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("run.py")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False, timeout=100
    )


def test_help_teaches_every_option() -> None:
    done = run("--help")
    assert done.returncode == 0
    for option in ("--removed", "--ways-out", "--bound", "--scenario", "--json", "--time-limit", "Exit status"):
        assert option in done.stdout


def test_one_scenario_as_json() -> None:
    done = run("--scenario", "two-heartbeats", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ok"] is True
    assert told["exhaustive"] is True
    assert told["searches"][0]["verdict"] == "proved"


def test_removed_rule_tells_its_story() -> None:
    done = run("--removed", "minority-expires", "--trace", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "caught" in done.stdout
    assert "dc-a: ACTIVE under epoch 1" in done.stdout
    assert "dc-b: ACTIVE under epoch 2" in done.stdout


def test_a_search_that_gave_up_is_not_success() -> None:
    done = run("--scenario", "basic", "--max-states", "1000", "--quiet")
    assert done.returncode == 3
    assert "gave up" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--scenario", "nowhere"), "'nowhere' is not known: choose one of basic"),
        (("--removed", "nothing"), "'nothing' is not known: choose 'all' or one of"),
        (("--removed", "all", "--in", "nowhere"), "'nowhere' is not known"),
        (("--time-limit", "0"), "must be 1 or more"),
        (("--jobs", "many"), "invalid"),
        (("--list", "--ways-out"), "not allowed with"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], told: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_list_names_every_scenario_and_rule() -> None:
    done = run("--list")
    assert done.returncode == 0
    for name in ("overtaking", "three-sites-large", "epoch-restored", "grant-compares-epoch-only"):
        assert name in done.stdout
