"""Whose disk may speak for a peer: every row of the table, and what never happens (D-25, O4, O5, O6)."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.units import WitnessId
from witness.raft.admission import (
    NOWHERE,
    PAST_MAX,
    RETIRED_MAX,
    Admitted,
    Mark,
    Position,
    Refused,
    Speaker,
    decode_mark,
    encode_mark,
    fell,
    highest,
    judge,
    judge_elsewhere,
    newer,
)
from witness.raft.store_rows import StoreRefused

W3 = WitnessId("w3")
DISK, OLD, BLANK = b"d" * 16, b"o" * 16, b"b" * 16
NOW, BEFORE, BEFORE_THAT, COPY = b"n" * 16, b"1" * 16, b"0" * 16, b"c" * 16
SEEN = Position(100, 7, 7, 50)
MARK = Mark(DISK, SEEN, BEFORE, 5, (OLD,))
SPEAKER = Speaker(W3, DISK, learner=False, position=SEEN, process=NOW, starts=6, past=(BEFORE, BEFORE_THAT))


TAKEN = {
    "no mark yet": (None, SPEAKER, ()),
    "no mark yet, a learner": (None, replace(SPEAKER, disk=BLANK, learner=True), ()),
    "started again": (MARK, SPEAKER, (OLD,)),
    "started again twice": (MARK, replace(SPEAKER, starts=7, past=(COPY, BEFORE)), (OLD,)),
    "the same process again": (MARK, replace(SPEAKER, process=BEFORE, starts=5, past=(BEFORE_THAT,)), (OLD,)),
    "further": (MARK, replace(SPEAKER, position=Position(101, 8, 8, 51)), (OLD,)),
    "a log cut short by a newer leader": (MARK, replace(SPEAKER, position=Position(101, 8, 6, 49)), (OLD,)),
    "more starts than anyone remembers": (MARK, replace(SPEAKER, starts=30, past=(COPY,) * PAST_MAX), (OLD,)),
    "a learner's new disk": (MARK, Speaker(W3, BLANK, learner=True, position=NOWHERE, process=NOW), (DISK, OLD)),
}
REFUSED = {
    "another disk": (replace(SPEAKER, disk=BLANK), "another disk"),
    "a blank disk that says it votes": (
        Speaker(W3, BLANK, learner=False, position=NOWHERE, process=NOW),
        "another disk",
    ),
    "a replaced disk": (replace(SPEAKER, disk=OLD), "readmission replaced"),
    "a replaced disk that says it is a learner's": (replace(SPEAKER, disk=OLD, learner=True), "readmission replaced"),
    "an older turn": (replace(SPEAKER, position=replace(SEEN, turn=99)), "older state"),
    "an older term": (replace(SPEAKER, position=replace(SEEN, term=6)), "older state"),
    "an older turn of a learner": (replace(SPEAKER, learner=True, position=replace(SEEN, turn=99)), "older state"),
    "a copy made before the last start": (replace(SPEAKER, starts=6, past=(BEFORE_THAT,)), "a copy of its disk"),
    "a copy with the same number of starts": (replace(SPEAKER, starts=5, past=(BEFORE_THAT,)), "a copy of its disk"),
    "a copy that worked longer": (
        replace(SPEAKER, starts=9, past=(COPY, COPY, BEFORE_THAT), position=Position(500, 9, 9, 90)),
        "a copy of its disk",
    ),
    "a copy with fewer starts": (replace(SPEAKER, starts=2, past=(BEFORE_THAT,)), "a copy of its disk"),
    "a copy at the edge of what is named": (
        replace(SPEAKER, starts=5 + PAST_MAX, past=(COPY,) * PAST_MAX),
        "a copy of its disk",
    ),
}


@pytest.mark.parametrize("row", TAKEN)
def test_what_is_taken(row: str) -> None:
    mark, speaker, retired = TAKEN[row]
    verdict = judge(mark, speaker)
    assert isinstance(verdict, Admitted)
    assert verdict.mark.disk == speaker.disk
    assert (verdict.mark.process, verdict.mark.starts) == (speaker.process, speaker.starts)
    assert verdict.mark.retired == retired
    assert not fell(speaker.position, verdict.mark.position)


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_refused_and_with_which_remedy(row: str) -> None:
    speaker, words = REFUSED[row]
    verdict = judge(MARK, speaker)
    assert isinstance(verdict, Refused)
    assert words in verdict.words
    assert verdict.words.startswith("w3 comes with")
    assert "run `witness readmit -c FILE` on w3's machine" in verdict.words


def test_the_words_of_an_older_disk_name_both_places() -> None:
    verdict = judge(MARK, replace(SPEAKER, position=Position(90, 6, 6, 45)))
    assert isinstance(verdict, Refused)
    assert "turn 90, term 6, entry 45 of term 6" in verdict.words
    assert "turn 100, term 7, entry 50 of term 7" in verdict.words


def test_replaced_disks_are_remembered_up_to_a_bound_and_never_come_back() -> None:
    mark: Mark | None = None
    for number in range(RETIRED_MAX + 5):
        speaker = Speaker(W3, bytes([number]) * 16, learner=True, position=NOWHERE, process=NOW)
        verdict = judge(mark, speaker)
        assert isinstance(verdict, Admitted)
        mark = verdict.mark
    assert mark is not None
    assert len(mark.retired) == RETIRED_MAX
    for number in range(RETIRED_MAX + 4):  # also those that nobody remembers by name
        assert isinstance(judge(mark, replace(SPEAKER, disk=bytes([number]) * 16)), Refused)


# -- what never happens --------------------------------------------------------------------------------------

tokens = st.integers(0, 4).map(lambda number: bytes([number]) * 16)
positions = st.builds(Position, *[st.integers(0, 4)] * 4)
speakers = st.builds(
    Speaker,
    st.just(W3),
    tokens,
    st.booleans(),
    positions,
    tokens,
    st.integers(1, 40),
    st.lists(tokens, max_size=PAST_MAX).map(tuple),
)
marks = st.builds(Mark, tokens, positions, tokens, st.integers(1, 40), st.lists(tokens, max_size=4).map(tuple))


@given(marks, speakers)
def test_a_mark_never_goes_back(mark: Mark, speaker: Speaker) -> None:
    verdict = judge(mark, speaker)
    if isinstance(verdict, Refused):
        return
    after = verdict.mark
    assert set(after.retired) >= set(mark.retired)
    if after.disk == mark.disk:
        assert not fell(mark.position, after.position)
        old, new = mark.position, after.position
        assert (new.last_term, new.last_index) >= (old.last_term, old.last_index)
    else:
        assert speaker.learner
        assert mark.disk in after.retired


@given(marks, speakers, speakers)
def test_once_a_disk_was_replaced_it_is_refused_whatever_it_says(mark: Mark, new: Speaker, old: Speaker) -> None:
    verdict = judge(mark, new)
    if isinstance(verdict, Admitted) and verdict.mark.disk != mark.disk:
        assert isinstance(judge(verdict.mark, replace(old, disk=mark.disk)), Refused)


@given(marks, speakers)
def test_who_was_taken_is_taken_again_at_the_same_place(mark: Mark, speaker: Speaker) -> None:
    verdict = judge(mark, speaker)
    if isinstance(verdict, Admitted):
        assert judge(verdict.mark, speaker) == verdict


@given(positions, positions)
def test_the_highest_of_two_places_is_behind_neither(one: Position, other: Position) -> None:
    both = highest(one, other)
    assert not fell(one, both)
    assert not fell(other, both)
    assert both == highest(other, one)


@given(st.one_of(st.none(), marks), speakers, st.booleans())
def test_elsewhere_is_judged_as_here_but_for_places_of_the_same_process_when_it_is_connected_there(
    mark: Mark | None, speaker: Speaker, connected: bool
) -> None:
    here, elsewhere = judge(mark, speaker), judge_elsewhere(mark, speaker, here=connected)
    same = mark is not None and (mark.disk, mark.process) == (speaker.disk, speaker.process)
    if isinstance(here, Admitted):
        assert isinstance(elsewhere, Admitted)
        known = mark is not None and mark.disk == speaker.disk
        assert elsewhere.mark == replace(here.mark, position=mark.position if known and mark else NOWHERE)
    elif isinstance(elsewhere, Admitted):
        assert same
        assert connected


@given(marks, marks)
def test_what_two_know_of_a_disk_that_was_replaced_comes_together(mine: Mark, theirs: Mark) -> None:
    both = newer(mine, theirs)
    assert both.disk in {mine.disk, theirs.disk}
    assert set(both.retired) >= set(mine.retired) - {both.disk}
    if both.disk != mine.disk:
        assert mine.disk in theirs.retired
        assert both.position == NOWHERE
    else:
        assert both.position == mine.position
    assert newer(None, theirs) == replace(theirs, position=NOWHERE)


# -- bytes ---------------------------------------------------------------------------------------------------


@given(marks)
def test_a_mark_comes_back_as_it_was(mark: Mark) -> None:
    assert decode_mark("w3", encode_mark(mark)) == mark


GOOD = msgpack.unpackb(encode_mark(MARK))
OTHERS = {
    "no bytes": b"",
    "no msgpack": b"\xc1",
    "a newer version": msgpack.packb([2, *GOOD[1:]]),
    "a field more": msgpack.packb([*GOOD, 1]),
    "a short disk": msgpack.packb([GOOD[0], b"short", *GOOD[2:]]),
    "three numbers": msgpack.packb([*GOOD[:2], [1, 2, 3], *GOOD[3:]]),
    "a negative number": msgpack.packb([*GOOD[:2], [1, 2, 3, -1], *GOOD[3:]]),
    "a truth for a number": msgpack.packb([*GOOD[:4], True, GOOD[5]]),
    "an endless list": msgpack.packb([*GOOD[:5], [DISK] * (RETIRED_MAX + 1)]),
    "a disk without a mark": DISK,
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_bytes_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(StoreRefused, match=r"w3's disk.*run the version that wrote it"):
        decode_mark("w3", OTHERS[name])


def test_the_bytes_of_a_mark_are_those_of_its_version() -> None:
    """They have no feature level (ADR 8): another shape bars the way back to the version before."""
    disk, process, asker, at = b"d" * 16, b"p" * 16, b"a" * 16, Position(4, 3, 2, 1)
    known = Mark(disk, at, process, 7, (b"r" * 16,))
    tentative = replace(known, askers=(asker,), before=replace(known, process=b"o" * 16, retired=()))
    seen = [disk, [4, 3, 2, 1], process, 7]
    assert msgpack.unpackb(encode_mark(known)) == [1, *seen, [b"r" * 16]]
    assert msgpack.unpackb(encode_mark(tentative)) == [
        2,
        *seen,
        [b"r" * 16],
        [asker],
        [disk, [4, 3, 2, 1], b"o" * 16, 7],
    ]
