"""Measurements against their own history: told once when they leave it, and once when they are back."""

from __future__ import annotations

import random

import pytest
from core_rig import A, B, G, Rig

from proto.commands import NoteUnusual, RaiseFeatureLevel
from proto.decisions import Reason
from proto.events import EventKind
from proto.units import NS_PER_MS, GroupId, SiteId
from witness.core.measures import Measures
from witness.core.notify.state import UNUSUAL_MAX
from witness.core.notify.usual import HISTORY, IN_A_ROW, LEARN_MIN, Usual
from witness.core.notify.watch import Sample, Watch, What, lag_samples, left_behind


def learnt(floor: int = 100, values: int = 60, around: int = 1_000, noise: int = 50) -> tuple[Usual, random.Random]:
    rng, usual = random.Random(3), Usual(floor)
    for _ in range(values):
        usual.add(around + rng.randint(-noise, noise))
    assert not usual.unusual
    return usual, rng


def test_it_takes_some_values_in_a_row():
    usual, _ = learnt()
    seen = []
    for value in (5_000, 5_000, 1_000, 5_000, 5_000, 5_000):
        usual.add(value)
        seen.append(usual.unusual)
    assert seen == [False, False, False, False, False, True]


def test_it_ends_well_below_where_it_began():
    usual, _ = learnt()
    for _ in range(IN_A_ROW):
        usual.add(5_000)
    level = usual.add(1_450)
    assert not level.high(1_450)
    assert not level.low(1_450), "between the two nothing changes"
    assert usual.unusual
    for _ in range(IN_A_ROW):
        usual.add(1_000)
    assert not usual.unusual


def test_outliers_neither_alarm_nor_move_what_is_usual():
    usual, rng = learnt()
    for _ in range(100):
        usual.add(60_000 if rng.random() < 0.15 else 1_000 + rng.randint(-50, 50))
        if usual._row >= IN_A_ROW - 1:
            usual.add(1_000)
    assert not usual.unusual
    assert usual.add(1_000).median < 1_050


@pytest.mark.parametrize(("around", "noise"), [(0, 0), (5, 3), (1_000, 400), (100_000, 20_000)])
def test_noise_of_any_size_is_usual(around, noise):
    usual, rng = learnt(values=HISTORY, around=around, noise=noise)
    for _ in range(2_000):
        usual.add(max(0, around + rng.randint(-noise, noise)))
        assert not usual.unusual


def test_what_is_very_steady_needs_more_than_a_trifle():
    usual, _ = learnt(floor=2_000, around=10, noise=0)
    for _ in range(10):
        usual.add(1_900)
    assert not usual.unusual
    for _ in range(IN_A_ROW):
        usual.add(2_100)
    assert usual.unusual


def test_a_new_level_becomes_the_usual_one():
    usual, _ = learnt(values=HISTORY)
    count = 0
    for _ in range(HISTORY):
        usual.add(5_000)
        count += usual.unusual
    assert not usual.unusual
    assert HISTORY // 2 - 10 <= count <= HISTORY // 2 + 10


def test_nothing_is_said_while_it_learns_and_memory_is_bounded():
    usual = Usual(0)
    for number in range(LEARN_MIN):
        assert usual.add(number * 1_000) is None
    for number in range(3 * HISTORY):
        usual.add(number)
    assert len(usual._values) == HISTORY


# -- what is watched ----------------------------------------------------------------------------------------


def watched(watch: Watch, value_ms: int, noted: set[str], times: int = 1) -> list[NoteUnusual]:
    found = [watch.judge(Sample(What.LAG, G, B, value_ms), noted) for _ in range(times)]
    return [one for one in found if one is not None]


def test_a_change_is_asked_for_until_it_is_noted_and_said_in_plain_words():
    watch, noted = Watch(), set()
    assert not watched(watch, 800, noted, 30)
    (first, *again) = watched(watch, 12_400, noted, 5)
    assert (first.series, first.group, first.site, first.over) == ("lag/erp/dc-b", G, B, False)
    assert first.text == "the replication lag is 12.4 s, for 90 s at least (usually 800 ms, mostly below 800 ms)"
    assert len(again) == 2, "a leader that could not have it noted asks again"
    noted.add(first.series)
    assert not watched(watch, 12_400, noted, 5)
    (back,) = watched(watch, 800, noted, 3)
    assert back.over
    assert "as usual again" in back.text


def test_a_new_leader_that_learnt_too_ends_what_the_old_one_noted():
    watch, noted = Watch(), {"lag/erp/dc-b"}
    assert not watched(watch, 800, noted, LEARN_MIN)
    assert [one.over for one in watched(watch, 800, noted, IN_A_ROW)] == [True]


def test_the_lag_of_who_is_active_is_not_judged():
    rig = Rig()
    rig.beat(A, lag_ms=5)
    rig.beat(B, lag_ms=700)
    assert {(one.site, one.value_ms) for one in lag_samples(G, rig.group)} == {(A, 5), (B, 700)}
    rig.hold(A)
    assert {one.site for one in lag_samples(G, rig.group)} == {B}


def test_what_is_measured_no_more_is_over():
    rig = Rig()
    rig.hold(A)
    groups = rig.machine.state.groups
    noted = {"lag/erp/dc-a", "lag/erp/dc-b", "lag/gone/dc-a", "late/dc-a"}
    assert [one.series for one in left_behind(noted, groups)] == ["lag/erp/dc-a", "lag/gone/dc-a"]


def test_commits_and_late_renewals_are_those_of_the_period():
    measures, watch = Measures(), Watch()
    assert watch.measured(measures) == []
    for _ in range(10):
        measures.committed(4 * NS_PER_MS)
    measures.site(SiteId("dc-a")).late.add(50 * NS_PER_MS)
    late, commits = watch.measured(measures)
    assert (late.series, commits.series) == ("late/dc-a", "commit")
    assert 4 <= commits.value_ms <= 5
    assert watch.measured(measures) == [], "nothing was counted since"
    measures.committed(400 * NS_PER_MS)
    (slow,) = watch.measured(measures)
    assert 400 <= slow.value_ms <= 480


# -- replicated -----------------------------------------------------------------------------------------------


def note(series: str = "lag/erp/dc-b", *, over: bool = False) -> NoteUnusual:
    return NoteUnusual(series, GroupId("erp"), SiteId("dc-b"), over, "words")


def test_it_is_an_event_once_and_its_end_is_another():
    rig = Rig()
    assert rig.one(RaiseFeatureLevel(2)).ok
    assert rig.one(note(over=True)).reason is Reason.ALREADY_SO
    assert rig.one(note()).ok
    assert rig.kinds() == ["unusual"]
    assert rig.one(note()).reason is Reason.ALREADY_SO
    assert rig.one(note(over=True)).ok
    assert rig.last.events[0].kind is EventKind.USUAL_AGAIN
    assert rig.one(note("")).reason is Reason.MALFORMED
    for number in range(UNUSUAL_MAX):
        assert rig.one(note(f"lag/g{number}/dc-b")).ok
    assert rig.one(note()).reason is Reason.OVERLOADED
