"""A fixed slice of the Raft fuzz, and what a campaign promises: equal runs, one line that replays, an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from proto.clock import SystemClock
from proto.units import NS_PER_S
from witness.raft.snapshot_transfer import RESTART_LONGEST_NS
from witness.sim.raft import __main__ as cli
from witness.sim.raft.campaign import Plan, campaign, distinct, never_hit
from witness.sim.raft.checkers import Violation
from witness.sim.raft.faults import KINDS, OF_MANY
from witness.sim.raft.judge import liveness_bound_ns
from witness.sim.raft.run import Result, run_schedule, setup_of
from witness.sim.raft.setup import Tuning, draw, tuned

SLICE_SEED, SLICE = 70_000, 80
MUST_BE_HIT = frozenset(
    {"cut-pair", "cut-set", "cut-one-way", "flap", "reset", "loss", "duplicate", "reorder", "delay", "old-bytes"}
    | {"bandwidth", "kill", "power", "power-two", "power-all", "power-at-send", "power-at-disk", "pause-leader"}
    | {"pause-any", "clock-leap", "drift", "snapshot", "image-restored", "lost-writes", "torn-write", "no-space"}
    | {"read-only", "io-error", "sync-error", "slow-disk", "bit-flip", "forged", "large-entries", "sent-early"}
)
REGRESSIONS = Path(__file__).with_name("raft_fuzz_seeds.json")


def test_the_slice_is_clean_and_really_hits():
    told: list[Result] = []
    total = campaign(Plan(SLICE_SEED, SLICE, None, 1), SystemClock(), told.append)
    assert [f"seed {seed}: {violation}" for seed, violation in total.violations] == []
    assert len(told) == SLICE
    assert sorted(MUST_BE_HIT - set(total.faults_hit)) == []
    assert total.elections > SLICE
    assert total.entries > 10 * SLICE
    assert total.dated > 10 * SLICE


@pytest.mark.parametrize("known", json.loads(REGRESSIONS.read_text()), ids=lambda known: str(known["seed"]))
def test_seeds_that_once_failed(known):
    result = run_schedule(known["seed"], setup=setup_of(known["seed"], tuple(known["kinds"])))
    assert [str(violation) for _, violation in result.violations] == []


def test_every_kind_of_fault_is_drawn():
    drawn = Counter(kind for seed in range(600) for kind in draw(seed, KINDS, OF_MANY).kinds)
    assert set(drawn) == set(KINDS)
    sizes = Counter(len(draw(seed, KINDS, OF_MANY).witnesses) for seed in range(600))
    assert set(sizes) == {1, 3, 5}
    assert all(not OF_MANY & set(draw(seed, KINDS, OF_MANY).kinds) for seed in range(600) if _alone(seed))


def _alone(seed: int) -> bool:
    return len(draw(seed, KINDS, OF_MANY).witnesses) == 1


def test_without_faults_one_election_is_enough():
    for seed in range(8):
        setup = replace(draw(seed, KINDS, OF_MANY), kinds=())
        result = run_schedule(seed, setup=setup)
        assert result.violations == []
        assert result.elections == 1
        assert not set(result.faults_hit) - {"sent-early", "image-restored"}


def _story(seed: int) -> tuple[int, list[str]]:
    lines: list[str] = []
    result = run_schedule(seed, trace=lambda at_ns, who, what: lines.append(f"{at_ns} {who} {what}"))
    return result.digest, lines


def test_a_seed_is_the_whole_story():
    one, again, other = _story(31), _story(31), _story(32)
    assert one == again
    assert one[0] != other[0]
    assert run_schedule(31).digest == one[0]


_DIGESTS = """
import sys
from witness.sim.raft.run import run_schedule
print([run_schedule(seed).digest for seed in range(100, 106)])
"""


def test_the_hash_seed_and_the_process_change_nothing():
    outputs = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        outputs.add(done.stdout)
    outputs.add(f"{[run_schedule(seed).digest for seed in range(100, 106)]}\n")
    assert len(outputs) == 1


def test_a_seed_keeps_its_schedule_when_its_kinds_are_named():
    own = draw(31, KINDS, OF_MANY)
    assert setup_of(31, own.kinds) == own
    fewer = setup_of(31, ("kill",))
    assert replace(fewer, kinds=own.kinds, tuning=own.tuning, entry_bytes=own.entry_bytes) == own
    assert run_schedule(31, setup=setup_of(31, own.kinds)).digest == run_schedule(31).digest


def test_the_tuning_of_a_schedule_ends_with_it():
    from witness.raft import engine_parts, journal, outbox, snapshot_transfer

    def constants() -> tuple[int, ...]:
        sizes = (engine_parts.BATCH_BYTES, snapshot_transfer.CHUNK_BYTES_MAX, outbox.PEER_QUEUE_BYTES_HIGH)
        return (journal.ENTRIES_PER_MESSAGE_MAX, *sizes)

    before = constants()
    with tuned(Tuning(entries_per_message=1, batch_bytes=2, chunk_bytes=3, queue_bytes=4)):
        assert constants() == (1, 2, 3, 4)
    assert constants() == before


def test_the_bound_of_liveness_follows_the_timers():
    setup = draw(3, KINDS, OF_MANY)
    timers = setup.timers
    bound_ns = liveness_bound_ns(setup, 2 * NS_PER_S, NS_PER_S)
    elections_ms = timers.leader_fallback_ms + 24 * timers.election_max_ms
    assert bound_ns == 3 * NS_PER_S + elections_ms * 1_000_000 + RESTART_LONGEST_NS + 3 * NS_PER_S


def test_workers_change_nothing(capfd):
    alone = campaign(Plan(500, 12, None, 1), SystemClock(), lambda _: None)
    together = campaign(Plan(500, 12, None, 2), SystemClock(), lambda _: None)
    assert (together.faults_hit, together.entries, together.events) == (
        alone.faults_hit,
        alone.entries,
        alone.events,
    )


def _broken(seed: int, **how: object) -> Result:
    found = run_schedule(seed, **how)
    return replace(found, violations=[(seed, Violation("votes", 5_000_000, f"w{seed} votes twice in term {seed}"))])


def test_a_violation_is_one_line_that_replays_and_a_bad_exit(monkeypatch, capsys):
    monkeypatch.setattr("witness.sim.raft.__main__.run_schedule", _broken)
    assert cli.main(["--seed", "5", "--schedules", "2", "--workers", "1", "--json"]) == 1
    lines = capsys.readouterr().out.splitlines()
    kinds = ",".join(draw(5, KINDS, OF_MANY).kinds)
    assert lines[0] == f'make fuzz ARGS="--replay 5 --kinds {kinds}"  # votes at 0.005000 s: w5 votes twice in term 5'
    summary = json.loads(lines[-1])
    assert summary["schedules"] == summary["violations"] == 2
    assert summary["stuck"] == 0
    assert summary["failures"] == [{"what": "votes: wN votes twice in term N", "schedules": 2, "replay": 5}]
    assert {"events", "faults_hit", "simulated_s", "wall_s", "cores", "workers"} <= set(summary)
    assert set(KINDS) <= set(summary["faults_hit"])


def test_a_clean_campaign_ends_well_and_says_its_size(capsys):
    assert cli.main(["--seed", "5", "--schedules", "3", "--workers", "1"]) == 0
    assert "3 schedules" in capsys.readouterr().out


def test_a_kind_that_was_never_hit_fails_a_campaign_of_some_size():
    total = Result(schedules=499)
    assert never_hit(total) == []
    total.schedules = 500
    assert never_hit(total)
    total.faults_hit.update(never_hit(total))
    assert never_hit(total) == []


def test_failures_that_differ_in_numbers_only_are_one():
    total = Result(violations=[(4, Violation("age", 1, "w1 at 7")), (3, Violation("age", 2, "w2 at 19"))])
    assert distinct(total) == [("age: wN at N", 2, 3)]


def test_a_schedule_that_does_not_return_is_stopped(monkeypatch):
    def endless(_seed: int) -> Result:
        while True:
            pass

    monkeypatch.setattr("witness.sim.raft.campaign.SCHEDULE_S_MAX", 1)
    total = campaign(Plan(7, 1, None, 1), SystemClock(), lambda _: None, endless)
    assert [(seed, violation.kind) for seed, violation in total.violations] == [(7, "hung")]


def test_a_replay_tells_the_story(capsys):
    assert cli.main(["--replay", "3"]) == 0
    short = capsys.readouterr().out
    assert "leader of term" in short
    assert "all faults end" in short
    assert "append_entries" not in short
    assert cli.main(["--replay", "3", "--trace"]) == 0
    assert "append_entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--schedules", "0"], "--schedules 0: must be at least 1"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--trace"], "needs --replay SEED"),
        (["--replay", "1", "--kinds", "flood"], "no such fault: flood"),
        (["--replay", "-1"], "--replay -1: must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(capsys, arguments, says):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert says in capsys.readouterr().err
