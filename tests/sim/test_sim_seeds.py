"""Seeds that once failed, run for ever: a campaign wrote the file (--keep), somebody added a note and moved it here."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.core.group import GroupAgent
from witness.sim.campaign.keep import Kept, read_kept
from witness.sim.kit import KIT as SIM
from witness.sim.raft.kit import KIT as FUZZ

SEEDS = sorted(Path(__file__).with_name("seeds").iterdir())
KITS = {kit.command: kit for kit in (SIM, FUZZ)}
LOCK_DELAY = [path for path in SEEDS if path.stem.endswith("lock-delay")]


def violations(kept: Kept) -> list[str]:
    return [str(violation) for violation in KITS[kept.command].chosen(kept.kinds)(kept.seed).violations]


@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_a_seed_that_once_failed(path):
    kept = read_kept(path)
    kit = KITS[kept.command]
    assert kept.note, "say what it found"
    assert kept.found
    assert set(kept.kinds) <= kit.kinds
    assert kept.replay == kit.replay(kept.seed, kept.kinds)
    assert violations(kept) == []


def test_some_seeds_of_the_lock_delay_still_see_it(monkeypatch):
    """Not every one: a change far away moves what a seed draws. `make mutants` hunts the rule with seeds of its own."""
    right = GroupAgent.plan_finished

    def always_orderly(self, plan, ok, text, now, *, orderly):
        right(self, plan, ok, text, now, orderly=True)

    monkeypatch.setattr(GroupAgent, "plan_finished", always_orderly)
    seeing = [path.stem for path in LOCK_DELAY if any("license" in found for found in violations(read_kept(path)))]
    assert len(seeing) >= 2, f"only {seeing}"


def test_there_are_such_seeds():
    assert len(LOCK_DELAY) == 6
