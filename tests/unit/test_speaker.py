"""Last words of ended incarnations that come late: named, they never pass for a newer agent (ADR 25)."""

from __future__ import annotations

import itertools

import pytest
from core_rig import A, Rig, entry, frame, token

from proto.commands import RaiseFeatureLevel
from proto.decisions import Reason
from proto.limits import ENDED_NAMED_MAX, SUPERSEDED_KEPT_MAX

SUPERSEDED = Reason.INCARNATION_SUPERSEDED
BY_ENDED = Reason.SUPERSEDED_BY_ENDED


def raised() -> Rig:
    rig = Rig()
    assert rig.one(RaiseFeatureLevel(2)).ok
    return rig


def record(rig: Rig):
    return rig.machine.state.agents[A]


def test_a_late_word_of_one_that_was_never_heard_counts_no_more():
    """Simulation seed 192849: it lay behind a slow disk, and the living agent was told that it was superseded."""
    rig = raised()
    assert rig.beat(A, incarnation="i2", ended=("i0", "i1")).reason is Reason.OK
    assert [rig.beat(A, incarnation=late).reason for late in ("i1", "i0")] == [SUPERSEDED, SUPERSEDED]
    assert rig.beat(A, incarnation="i2").reason is Reason.OK


@pytest.mark.parametrize("order", list(itertools.permutations(("i0", "i1", "i2"))), ids=",".join)
def test_in_whatever_order_words_come_the_last_one_that_began_is_heard_or_told_to_begin_anew(order):
    rig, ended = raised(), {"i0": (), "i1": ("i0",), "i2": ("i0", "i1"), "i3": ("i0", "i1", "i2")}
    for one in order:
        rig.beat(A, incarnation=one, ended=ended[one])
    living = "i2"
    if rig.beat(A, incarnation="i2", ended=ended["i2"]).reason is not Reason.OK:
        assert rig.beat(A, incarnation="i2", ended=ended["i2"]).reason is BY_ENDED
        living = "i3"
        assert rig.beat(A, incarnation="i3", ended=ended["i3"]).reason is Reason.OK
    for one in order:
        if one != living:
            assert rig.beat(A, incarnation=one, ended=ended[one]).reason is SUPERSEDED
    assert record(rig).incarnation == token(living)


def test_whoever_was_superseded_never_speaks_again_so_that_no_older_heartbeat_of_it_counts():
    rig = raised()
    rig.beat(A, incarnation="i1", seq=1_000)
    rig.beat(A, incarnation="i0")
    for seq in (5, 6, 2_000):
        assert rig.beat(A, incarnation="i1", seq=seq, ended=("i0",)).reason is BY_ENDED
    assert (record(rig).incarnation, record(rig).clash_told) == (token("i0"), False)


def test_only_who_names_the_one_that_counts_is_told_to_begin_anew():
    rig = raised()
    rig.beat(A, incarnation="i1")
    rig.beat(A, incarnation="other", ended=("i1",))  # a copy of its disk, on another machine
    assert rig.beat(A, incarnation="i1", ended=("i0",)).reason is SUPERSEDED
    assert record(rig).incarnation == token("other")
    assert "second-agent" in rig.kinds()


def test_who_holds_a_lease_was_no_late_word_so_nobody_takes_its_place_by_naming_it():
    """A copy of its disk that was heard before it, and refused since (a review)."""
    rig = raised()
    rig.beat(A, incarnation="copy")
    rig.hold()
    assert record(rig).incarnation == rig.lease.incarnation == token("i1")
    assert rig.beat(A, incarnation="copy", ended=("i1",)).reason is SUPERSEDED
    assert "second-agent" in rig.kinds()
    rig.expire()
    assert rig.beat(A, incarnation="copy", ended=("i1",)).reason is BY_ENDED


def test_a_name_that_is_given_later_counts_as_well():
    """Its first heartbeat goes out before its witness said what it can read."""
    rig = raised()
    rig.beat(A, incarnation="i2")
    rig.beat(A, incarnation="i2", ended=("i1",))
    rig.beat(A, incarnation="i2")
    assert rig.beat(A, incarnation="i1").reason is SUPERSEDED


def test_one_that_begins_without_names_keeps_those_of_the_one_before():
    rig = raised()
    rig.beat(A, incarnation="i2", ended=("i1",))
    rig.beat(A, incarnation="i3")
    assert rig.beat(A, incarnation="i1").reason is SUPERSEDED


def test_names_push_nobody_out_of_those_that_were_heard():
    """A loop of starts that nobody heard let a second agent, which had been refused, take the word (a review)."""
    rig = raised()
    rig.beat(A, incarnation="x0")
    rig.beat(A, incarnation="second")
    rig.beat(A, incarnation="x1")
    names = tuple(f"x{number}" for number in range(2, 2 + ENDED_NAMED_MAX))
    for _ in range(2):
        assert rig.beat(A, incarnation="x9", ended=names).reason is Reason.OK
        assert rig.beat(A, incarnation="second").reason is SUPERSEDED
    assert record(rig).ended == [token(name) for name in names]
    assert len(record(rig).superseded) <= SUPERSEDED_KEPT_MAX


@pytest.mark.parametrize(
    "ended", [tuple(f"e{number}" for number in range(ENDED_NAMED_MAX + 1)), ("now",)], ids=["too-many", "itself"]
)
def test_more_names_than_may_be_or_its_own_change_nothing(ended):
    rig = raised()
    rig.beat(A, incarnation="i1")
    outcome = rig.unchanged(frame(A, entry(), incarnation="now", ended=ended))
    assert (outcome.reason, outcome.detail[:6]) == (Reason.MALFORMED, "ended:")
    assert record(rig).incarnation == token("i1")


def test_at_the_first_level_nobody_is_named():
    rig = Rig()
    assert rig.machine.state.feature_level == 1
    assert rig.unchanged(frame(A, entry(), incarnation="i2", ended=("i1",))).reason is Reason.MALFORMED
