"""A fixed slice of the Raft fuzz, that it hits the whole catalogue, and that a seed is the whole story."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hash_seeds import told_under_two_hash_seeds

from proto.units import NS_PER_S
from witness.raft.snapshot_transfer import RESTART_LONGEST_NS
from witness.sim.campaign.catalogue import counters_of, never_hit
from witness.sim.campaign.total import Total
from witness.sim.raft import __main__ as cli
from witness.sim.raft.catalogue import CATALOGUE
from witness.sim.raft.faults import KINDS, OF_MANY
from witness.sim.raft.judge import liveness_bound_ns
from witness.sim.raft.kit import KIT
from witness.sim.raft.run import run_schedule, setup_of
from witness.sim.raft.setup import Tuning, draw, tuned

SLICE_SEED, SLICE = 70_000, 80
RARE = 150
"""So many more, at most, until every counter of the catalogue rose."""


@pytest.mark.timeout(600)
def test_the_slice_is_clean_and_every_counter_of_the_catalogue_can_be_produced():
    total = Total()
    for seed in range(SLICE_SEED, SLICE_SEED + SLICE):
        total.add(KIT.chosen(None)(seed))
    while never_hit(CATALOGUE, total.faults_hit) and total.schedules < SLICE + RARE:
        total.add(KIT.chosen(None)(SLICE_SEED + total.schedules))
    assert {words: f"seed {failure.seed}" for words, failure in total.distinct()} == {}
    assert never_hit(CATALOGUE, total.faults_hit) == []
    assert sorted(set(total.faults_hit) - set(counters_of(CATALOGUE))) == []
    assert total.figures["elections"] > SLICE
    assert total.figures["entries"] > 10 * SLICE
    assert total.figures["dated"] > 10 * SLICE


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
        assert result.figures["elections"] == 1
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
    here = f"{[run_schedule(seed).digest for seed in range(100, 106)]}\n"
    assert told_under_two_hash_seeds("-c", _DIGESTS) == [here, here]


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
