"""The journal of a plan: on disk before anything rests on it, and every damage is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.actions.plan_journal import PlanJournal
from agents.core.effects import PlanKind
from agents.core.plan_progress import BadMark, PlanEnd, PlanHeader, StepInput, StepMark, StepState
from proto.errors import DurabilityLost
from proto.units import Epoch, GroupId

G = GroupId("shop")
HEADER = PlanHeader(3, PlanKind.ACTIVATE, Epoch(7), "grant", "ab" * 16, "boot", 5, ("one", "two"))
MARKS = (
    StepMark("one", StepInput.BEGIN, 0),
    StepMark("one", StepInput.SUCCEED, 0),
    StepMark("two", StepInput.BEGIN, 0),
    StepMark("two", StepInput.BEGIN, 1),
    StepMark("two", StepInput.FAIL, 1),
    PlanEnd.FAILED,
    StepMark("two", StepInput.UNDO, 0),
)


def written(directory: Path, count: int = len(MARKS)) -> PlanJournal:
    journal = PlanJournal(directory, G)
    journal.begin(HEADER)
    for mark in MARKS[:count]:
        journal.note(mark)
    return journal


def test_nothing_was_planned_here(tmp_path: Path) -> None:
    journal = PlanJournal(tmp_path, G)
    assert (journal.progress, journal.damage) == (None, "")
    with pytest.raises(BadMark):
        journal.note(MARKS[0])


@pytest.mark.parametrize("count", range(len(MARKS) + 1))
def test_what_was_noted_is_read_again(tmp_path: Path, count: int) -> None:
    wrote, read = written(tmp_path, count).progress, PlanJournal(tmp_path, G).progress
    assert wrote is not None
    assert read is not None
    assert read.header == HEADER
    assert (read.states, read.attempts, read.end) == (wrote.states, wrote.attempts, wrote.end)


def test_a_torn_last_line_was_never_relied_upon(tmp_path: Path) -> None:
    """Cut at every byte of the last line: the plan is as it was before, and can be written on."""
    before = written(tmp_path, 3).path.stat().st_size
    whole = written(tmp_path, 4).path.read_bytes()
    for size in range(before, len(whole)):
        (tmp_path / "shop.plan").write_bytes(whole[:size])
        journal = PlanJournal(tmp_path, G)
        assert journal.progress is not None
        assert journal.progress.attempts["two"] == 0
        journal.note(MARKS[3])
        again = PlanJournal(tmp_path, G).progress
        assert again is not None
        assert again.attempts["two"] == 1


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    """Except that a lost end of the last line makes it a torn one."""
    path = written(tmp_path).path
    good = path.read_bytes()
    for at in range(len(good) - 1):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :])
        journal = PlanJournal(tmp_path, G)
        assert journal.progress is None, f"byte {at}"
        assert str(path) in journal.damage
    for bad in (b"", b"\n", good.replace(b"\n", b"\n\n", 1), good[: good.index(b"\n") + 1] * 2):
        path.write_bytes(bad)
        assert PlanJournal(tmp_path, G).damage, bad[:20]


def test_another_groups_journal_and_an_endless_one_are_damage(tmp_path: Path) -> None:
    written(tmp_path).path.rename(tmp_path / "other.plan")
    assert "other" in PlanJournal(tmp_path, GroupId("other")).damage
    os.truncate(tmp_path / "other.plan", 5 * 1024 * 1024)
    assert "larger than" in PlanJournal(tmp_path, GroupId("other")).damage


def test_a_new_plan_replaces_damage_and_an_ended_one_leaves_nothing(tmp_path: Path) -> None:
    path = written(tmp_path).path
    path.write_bytes(b"rot\n")
    journal = written(tmp_path, 1)
    assert (journal.damage, PlanJournal(tmp_path, G).damage) == ("", "")
    journal.clear()
    journal.clear()
    assert list(tmp_path.iterdir()) == []
    assert PlanJournal(tmp_path, G).progress is None


def test_a_disk_that_takes_nothing_is_told(tmp_path: Path) -> None:
    journal = written(tmp_path, 1)
    journal.path.unlink()
    with pytest.raises(DurabilityLost, match=r"shop\.plan"):
        journal.note(MARKS[1])
    lost = PlanJournal(tmp_path / "gone", G)
    with pytest.raises(DurabilityLost):
        lost.begin(HEADER)


def test_a_mark_that_means_nothing_is_not_written(tmp_path: Path) -> None:
    journal = written(tmp_path, 1)
    size = journal.path.stat().st_size
    with pytest.raises(BadMark):
        journal.note(StepMark("two", StepInput.SUCCEED, 0))
    assert journal.path.stat().st_size == size
    assert journal.progress is not None
    assert journal.progress.states["two"] is StepState.PENDING
