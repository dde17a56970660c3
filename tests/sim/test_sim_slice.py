"""A fixed slice of seeds, that it hits the whole catalogue, and that a seed is the whole story."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from witness.sim import __main__ as cli
from witness.sim.campaign.catalogue import counters_of, never_hit
from witness.sim.campaign.total import Total
from witness.sim.catalogue import CATALOGUE
from witness.sim.faults import FAULTS
from witness.sim.kit import KIT
from witness.sim.run import run_schedule
from witness.sim.setup import draw

SLICE_SEED, SLICE = 7_000, 60
RARE: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, ("fence-unproven", "start-hangs", "stop-hangs", "stop-unproven", "switchover", "unhealthy")),
    (2, ("cut-all", "site-freeze")),
    (1, ("witness-bit-flip", "witness-power", "witness-power-all", "witness-sync-error")),
)
"""Schedules for counters that the slice does not reach; a campaign of some hundreds reaches all."""
NOT_JUDGED = frozenset({"agent-crash", "witness-readmit", "witness-readmitted"})
"""Counted, and no part of the catalogue: what others count too, and what operators do when all is healed."""


@pytest.mark.timeout(600)
def test_the_slice_is_clean_and_every_counter_of_the_catalogue_can_be_produced():
    total = Total()
    for seed in range(SLICE_SEED, SLICE_SEED + SLICE):
        total.add(KIT.chosen(None)(seed))
    assert total.figures["activations"] > SLICE
    for seed, kinds in RARE:
        total.add(KIT.chosen(kinds)(seed))
    assert {words: f"seed {failure.seed}" for words, failure in total.distinct()} == {}
    assert never_hit(CATALOGUE, total.faults_hit) == []
    assert sorted(set(total.faults_hit) - set(counters_of(CATALOGUE)) - NOT_JUDGED) == []


def test_every_kind_of_fault_is_drawn():
    drawn = Counter(kind for seed in range(400) for kind in draw(seed, list(FAULTS)).kinds)
    assert set(drawn) == set(FAULTS)


def test_without_faults_nothing_moves():
    quiet = [seed for seed in range(200) if not draw(seed, list(FAULTS)).kinds]
    assert quiet
    for seed in quiet[:5]:
        result = run_schedule(seed)
        assert result.violations == []
        assert result.figures["activations"] == len(draw(seed, list(FAULTS)).groups)


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
            [sys.executable, "-m", "witness.sim", "--seed", "40", "--schedules", "3", "--json", "--workers", "1"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        summary = json.loads(done.stdout.splitlines()[-1])
        assert summary["violations"] == summary["overlaps"] == summary["stuck"] == 0
        outputs.add(str([summary[name] for name in ("events", "simulated_s", "activations", "faults_hit")]))
    assert len(outputs) == 1


def test_kinds_can_be_chosen_and_a_replay_tells_the_story(capsys):
    assert cli.main(["--replay", "3", "--kinds", "site-freeze,switchover"]) == 0
    out = capsys.readouterr().out
    assert "every process is stopped" in out
    assert "agent starts" in out
    assert cli.main(["--replay", "3", "--kinds", "none"]) == 0
    assert "every process is stopped" not in capsys.readouterr().out
