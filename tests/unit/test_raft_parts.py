"""Timers, ages, the engine's check, the introduction of peers: small rules, each on its own."""

from __future__ import annotations

from types import SimpleNamespace

import pysyncobj.syncobj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import BadValue
from proto.invariants import InvariantViolation
from proto.units import NS_PER_MS, WitnessId
from witness.raft.age import UNKNOWN_BEYOND_NS, AgeBook, LeaderRounds
from witness.raft.engine_adapter import EngineChanged, check_engine
from witness.raft.engine_parts import NoPickle
from witness.raft.timers import CompactionLimits, RaftTimers

W2, W3 = WitnessId("w2"), WitnessId("w3")


# -- timers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"append_period_ms": 0}, "raft.append_period_ms"),
        ({"append_period_ms": 150}, "raft.election_min_ms"),
        ({"election_max_ms": 300}, "raft.election_max_ms"),
        ({"election_max_ms": 10**9}, "raft.election_max_ms"),
        ({"leader_fallback_ms": 600}, "raft.leader_fallback_ms"),
        ({"leader_fallback_ms": 30_000}, "raft.leader_fallback_ms"),
    ],
)
def test_timers_that_contradict_each_other_name_the_field_and_both_numbers(changes: dict[str, int], field: str) -> None:
    with pytest.raises(BadValue) as refused:
        RaftTimers(**changes)
    assert refused.value.field == field
    assert any(character.isdigit() for character in refused.value.rule)


def test_compaction_must_shrink_the_log() -> None:
    with pytest.raises(BadValue):
        CompactionLimits(entries_max=100, tail_entries=51)
    with pytest.raises(BadValue):
        CompactionLimits(entries_max=1, tail_entries=0)


# -- ages ----------------------------------------------------------------------------------------------------


def test_an_entry_beyond_a_confirmed_end_is_younger_than_the_confirmation() -> None:
    book = AgeBook()
    assert book.bound(5, 1, 100) is None
    book.confirmed(10, 100)
    assert book.bound(10, 1, 150) is None
    assert book.bound(11, 1, 150) == 50
    book.confirmed(12, 140)
    assert book.bound(12, 1, 150) == 50
    assert book.bound(13, 1, 150) == 10


def test_what_may_be_older_than_a_second_is_of_unknown_age() -> None:
    book = AgeBook()
    book.confirmed(10, 0)
    assert book.bound(11, 1, UNKNOWN_BEYOND_NS) == UNKNOWN_BEYOND_NS
    assert book.bound(11, 1, UNKNOWN_BEYOND_NS + 1) is None
    assert AgeBook().bound(1, 1, 0) is None


def test_what_a_leader_appended_itself_is_dated_only_within_its_term() -> None:
    book = AgeBook()
    book.leading(3, 10, 100)
    assert book.bound(11, 3, 120) == 20
    assert book.bound(11, 2, 120) is None
    book.leading(5, 11, 200)
    assert book.bound(12, 3, 210) is None


def test_a_stamp_is_echoed_only_when_a_majority_answered_something_later() -> None:
    rounds = LeaderRounds(1, [W2, W3])
    assert rounds.echo(W2, 1_000) == 0
    rounds.answered(W2, heard_ns=900, stamp_ns=7, now_ns=1_000)
    assert rounds.echo(W2, 1_100) == 0  # the majority's answer left before the stamp came
    rounds.answered(W3, heard_ns=1_050, stamp_ns=8, now_ns=1_100)
    assert rounds.echo(W2, 1_100) == 7
    assert rounds.echo(W3, 1_100) == 0
    rounds.forget(W2)
    assert rounds.echo(W2, 1_200) == 0


def test_a_reading_from_the_future_is_not_ours() -> None:
    rounds = LeaderRounds(1, [W2, W3])
    rounds.answered(W2, heard_ns=99_999, stamp_ns=7, now_ns=1_000)
    assert rounds.certain_ns(1_000) == 0


def test_five_need_two_answers() -> None:
    rounds = LeaderRounds(1, [W2, W3, WitnessId("w4"), WitnessId("w5")])
    rounds.answered(W2, heard_ns=900, stamp_ns=1, now_ns=1_000)
    assert rounds.certain_ns(1_000) == 0
    rounds.answered(W3, heard_ns=800, stamp_ns=1, now_ns=1_000)
    assert rounds.certain_ns(1_000) == 800


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40), st.integers(1, 60))
def test_a_bound_rests_on_a_pair_that_was_given(pairs: list[tuple[int, int]], index: int) -> None:
    book = AgeBook()
    for last, instant in pairs:
        book.confirmed(last, instant)
    bound = book.bound(index, 1, 60)
    if bound is not None:
        assert any(last < index and instant == 60 - bound for last, instant in pairs)


# -- the engine ----------------------------------------------------------------------------------------------


def test_the_installed_engine_has_every_name_the_adapter_uses() -> None:
    check_engine()


def test_another_release_is_refused() -> None:
    with pytest.raises(EngineChanged, match=r"pysyncobj==0\.3\.17"):
        check_engine(version="0.3.18")


def test_a_moved_name_is_named() -> None:
    kept = {name: getattr(pysyncobj.syncobj, name) for name in dir(pysyncobj.syncobj) if name != "createJournal"}
    with pytest.raises(EngineChanged, match="createJournal"):
        check_engine(library=SimpleNamespace(**kept))
    engine = {name: None for name in dir(pysyncobj.syncobj.SyncObj) if name != "_SyncObj__loadDumpFile"}
    kept |= {"createJournal": None, "SyncObj": SimpleNamespace(**engine)}
    with pytest.raises(EngineChanged, match="__loadDumpFile"):
        check_engine(library=SimpleNamespace(**kept))


def test_reaching_pickle_ends_the_process() -> None:
    with pytest.raises(InvariantViolation):
        NoPickle.loads(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InvariantViolation):
        NoPickle.dumps(1)


def test_a_period_is_in_milliseconds() -> None:
    assert RaftTimers().election_min_ms * NS_PER_MS == 300_000_000
