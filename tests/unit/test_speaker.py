"""Last words of ended incarnations that come late: named, they never pass for a newer agent (ADR 25)."""

from __future__ import annotations

import itertools

import pytest
from core_rig import A, Rig, entry, frame, token

from proto.commands import RaiseFeatureLevel
from proto.decisions import Reason
from proto.limits import ENDED_NAMED_MAX, SUPERSEDED_KEPT_MAX

SUPERSEDED = Reason.INCARNATION_SUPERSEDED


def raised() -> Rig:
    rig = Rig()
    assert rig.one(RaiseFeatureLevel(2)).ok
    return rig


def speaker(rig: Rig) -> bytes:
    return rig.machine.state.agents[A].incarnation


def test_a_late_word_of_one_that_was_never_heard_counts_no_more():
    """Simulation seed 192849: it lay behind a slow disk, and the living agent was told that it was superseded."""
    rig = raised()
    assert rig.beat(A, incarnation="i2", ended=("i0", "i1")).reason is Reason.OK
    assert [rig.beat(A, incarnation=late).reason for late in ("i1", "i0")] == [SUPERSEDED, SUPERSEDED]
    assert rig.beat(A, incarnation="i2").reason is Reason.OK


@pytest.mark.parametrize("order", list(itertools.permutations(("i0", "i1", "i2"))), ids=",".join)
def test_in_whatever_order_words_come_the_last_one_that_began_speaks(order):
    rig, ended = raised(), {"i0": (), "i1": ("i0",), "i2": ("i0", "i1")}
    for one in order:
        rig.beat(A, incarnation=one, ended=ended[one])
    assert rig.beat(A, incarnation="i2", ended=ended["i2"]).reason is Reason.OK
    assert [rig.beat(A, incarnation=one, ended=ended[one]).reason for one in ("i0", "i1")] == [SUPERSEDED, SUPERSEDED]
    assert speaker(rig) == token("i2")


def test_the_word_goes_back_only_to_who_names_the_one_that_took_it():
    rig = raised()
    rig.beat(A, incarnation="i1")
    rig.beat(A, incarnation="other", ended=("i1",))  # a copy of its disk, on another machine
    assert rig.beat(A, incarnation="i1", ended=("i0",)).reason is SUPERSEDED
    assert speaker(rig) == token("other")
    assert "second-agent" in rig.kinds()


def test_a_name_that_is_given_later_counts_as_well():
    """A cluster that worked at feature level 1 until then."""
    rig = raised()
    rig.beat(A, incarnation="i2")
    rig.beat(A, incarnation="i2", ended=("i1",))
    assert rig.beat(A, incarnation="i1").reason is SUPERSEDED


def test_what_is_kept_is_bounded_and_the_newest_stay():
    rig = raised()
    rig.beat(A, incarnation="before")
    names = tuple(f"e{number}" for number in range(ENDED_NAMED_MAX))
    for _ in range(3):
        rig.beat(A, incarnation="now", ended=names)
    kept = rig.machine.state.agents[A].superseded
    assert kept == [*(token(name) for name in names), token("before")]
    assert len(kept) <= SUPERSEDED_KEPT_MAX


@pytest.mark.parametrize(
    "ended", [tuple(f"e{number}" for number in range(ENDED_NAMED_MAX + 1)), ("now",)], ids=["too-many", "itself"]
)
def test_more_names_than_may_be_or_its_own_change_nothing(ended):
    rig = raised()
    rig.beat(A, incarnation="i1")
    assert rig.unchanged(frame(A, entry(), incarnation="now", ended=ended)).reason is Reason.MALFORMED
    assert speaker(rig) == token("i1")


def test_at_the_first_level_nobody_is_named():
    rig = Rig()
    assert rig.machine.state.feature_level == 1
    assert rig.unchanged(frame(A, entry(), incarnation="i2", ended=("i1",))).reason is Reason.MALFORMED
