"""A fixed slice of seeds, that it hits the whole catalogue, and that a seed is the whole story."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hash_seeds import told_under_two_hash_seeds

from witness.sim import __main__ as cli
from witness.sim.campaign.catalogue import counters_of, never_hit
from witness.sim.campaign.total import Total
from witness.sim.catalogue import CATALOGUE
from witness.sim.faults import FAULTS
from witness.sim.kit import KIT
from witness.sim.raft import run as raft_run
from witness.sim.run import run_schedule
from witness.sim.setup import draw
from witness.sim.world import World

SLICE_SEED, SLICE = 7_000, 45
ROTS_SEED, ROTS = 7_404, ("witness-bit-flip", "witness-kill", "witness-power-at-send", "witness-readmit")
"""One more, for a disk that is refused at the start."""
BUNDLES = (
    "witness-stop agent-stop site-freeze site-starved witness-starved",
    "agent-crash agent-crash-loop agent-crash-activating guard-kill switchover",
    "agent-upgrade step-crash switchover unhealthy",
    "start-fails start-hangs start-slow delete",
    "stop-deaf stop-fails stop-hangs stop-unproven verify-unproven fence-unproven switchover",
    "keeper-kill keeper-late resource-stuck",
    "watchdog-missing",
    "undead switchover",
    "component-wakes component-clings switchover",
    "member-kill member-stop member-outage",
    "member-guest-freeze",
    "member-cut switchover",
    "member-upgrade",
    "member-platform switchover",
    "member-clocks",
    "clocks-part",
    "upgrade-late",
    "site-power shutdown second-agent site-suspend",
    "guest-freeze",
    "live-copy",
    "license-absent license-change license-large license-put license-waived switchover",
    "license-probe switchover",
    "cut-site cut-link cut-leader cut-all witness-cut-all",
    "lose-third lose-third-and-link cut-site-link hold-then-grant",
    "permit",
    "lossy doubling slow flap",
    "slow-disk wall-step mad-clock mad-leap",
    "reconfigure lock-delay switch-twice flood mode maintenance quarantine",
    "unready unhealthy lagging data-unfit",
    "restore-all",
    "witness-kill witness-power witness-power-at-disk witness-power-at-send",
    "witness-kill-all witness-power-all witness-power-two witness-pause-leader witness-pause-any",
    "witness-cut-pair witness-cut-set witness-isolate-leader witness-cut-one-way witness-flap",
    "witness-loss witness-duplicate witness-reorder witness-old-bytes witness-delay witness-bandwidth witness-reset",
    "witness-no-space witness-io-error witness-sync-error witness-slow-disk witness-read-only",
    "witness-blank-disk witness-restored-disk witness-readmit",
    "witness-bit-flip witness-sync-error witness-power witness-snapshot witness-forged",
)
"""All kinds of faults, a few together, so that their counters are reached within a few seeds."""
SEEDS_MAX = 30
FOLLOWS = frozenset(counter for row in CATALOGUE if not row.kinds for counter in row.counters)
NOT_JUDGED = frozenset(
    {"witness-readmit-again", "backup-refused", "member-not-taken-over", "member-step-asked-again"}
    | {"member-undo", "undo-on-member", "proof-waits-for-members", "member-down-by-clocks"}
    | {"hold-refused", "hold-stale"}
)
"""Counted, and no part of the catalogue: what operators are told to do once more, what they cannot do yet, and what
needs two faults at once."""


@pytest.mark.timeout(600)
def test_the_slice_is_clean():
    total = Total()
    for seed in range(SLICE_SEED, SLICE_SEED + SLICE):
        total.add(KIT.chosen(None)(seed))
    total.add(KIT.chosen(ROTS)(ROTS_SEED))
    assert {words: f"seed {failure.seed}" for words, failure in total.distinct()} == {}
    assert total.figures["activations"] > SLICE
    assert sorted(FOLLOWS - set(total.faults_hit)) == []
    assert sorted(set(total.faults_hit) - set(counters_of(CATALOGUE)) - NOT_JUDGED) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_counter_of_a_drawn_fault_can_be_produced(bundle):
    kinds = tuple(sorted(bundle.split()))
    rows = [row for row in CATALOGUE if row.kinds and set(row.kinds) <= set(kinds)]
    hits: Counter[str] = Counter()
    for seed in range(1, SEEDS_MAX):
        result = KIT.chosen(kinds)(seed)
        assert [str(violation) for violation in result.violations] == [], f"seed {seed}"
        hits += result.faults_hit
        if not never_hit(rows, hits):
            break
    assert never_hit(rows, hits) == []


def test_the_bundles_are_all_there_is():
    bundled = [set(bundle.split()) for bundle in BUNDLES]
    assert set().union(*bundled) == set(FAULTS)
    whole = [row for row in CATALOGUE if row.kinds and not any(set(row.kinds) <= one for one in bundled)]
    assert [row.what for row in whole] == [], "the kinds of a row stand in one bundle"


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
    arguments = ("-m", "witness.sim", "--seed", "40", "--schedules", "3", "--json", "--workers", "1")
    summaries = [json.loads(told.splitlines()[-1]) for told in told_under_two_hash_seeds(*arguments)]
    for summary in summaries:
        assert summary["violations"] == summary["overlaps"] == summary["stuck"] == 0
    names = ("events", "simulated_s", "activations", "faults_hit")
    one, other = ([summary[name] for name in names] for summary in summaries)
    assert one == other


def test_kinds_can_be_chosen_and_a_replay_tells_the_story(capsys):
    assert cli.main(["--replay", "3", "--kinds", "site-freeze,switchover"]) == 0
    out = capsys.readouterr().out
    assert "every process is stopped" in out
    assert "agent starts" in out
    assert cli.main(["--replay", "3", "--kinds", "none"]) == 0
    assert "every process is stopped" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("run", "part"),
    [(run_schedule, (World, "heal")), (raft_run.run_schedule, (raft_run.World, "run"))],
    ids=["sim", "fuzz"],
)
def test_an_exception_in_a_schedule_is_a_finding_with_its_place(run, part, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("too much")

    monkeypatch.setattr(*part, broken)
    found = [str(violation) for violation in run(3).violations]
    assert any("ZeroDivisionError: too much (test_sim_slice.py:" in words for words in found), found
