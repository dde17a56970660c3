"""The log's tail behind a snapshot is bounded by bytes too: else large entries keep it above its limit for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from proto.units import ClusterId, WitnessId
from witness.raft.journal import Journal
from witness.raft.messages import REGULAR
from witness.raft.store import create_store, open_store
from witness.raft.timers import CompactionLimits

CLUSTER = ClusterId("0" * 32)
W1 = WitnessId("w1")
ENTRY = bytes([REGULAR]) + bytes(999)


@pytest.fixture
def store(tmp_path: Path):
    create_store(tmp_path / "w1", CLUSTER, W1)
    opened = open_store(tmp_path / "w1", CLUSTER, W1)
    yield opened
    opened.close()


def filled(store, *, tail_entries: int, tail_bytes: int) -> Journal:
    journal = Journal(store, tail_entries, tail_bytes)
    for index in range(1, 101):
        journal.add(ENTRY, index, 1)
    return journal


@pytest.mark.parametrize(
    ("tail_entries", "tail_bytes", "kept"),
    [(50, 10_000, 10), (5, 10_000, 5), (50, 999, 0), (0, 10_000, 0), (50, 1_000_000, 50)],
)
def test_the_smaller_bound_decides_what_is_kept(store, tail_entries: int, tail_bytes: int, kept: int):
    journal = filled(store, tail_entries=tail_entries, tail_bytes=tail_bytes)
    journal.deleteEntriesTo(80)
    assert len(journal) == 20 + kept
    assert journal[0][1] == 81 - kept
    assert journal.log_bytes == len(journal) * len(ENTRY)


def test_folding_takes_the_log_below_its_limit():
    """Otherwise the engine would fold it again in every turn."""
    limits = CompactionLimits()
    assert limits.tail_bytes <= limits.log_bytes_max // 2
