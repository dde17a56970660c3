"""What is done with the key in place, case by case (docs/adr/0022)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from site_license_rig import version

from agents.core.license_rules import Doing, InPlace, Known, judge

V3, V4 = version(2, 3), version(2, 4)
KNOWN = Known(newest=V4, heard=V4, seen=V3, required=True)


def known(**fields) -> Known:
    return Known(**({"newest": V4, "heard": V4, "seen": V3, "required": True} | fields))


@pytest.mark.parametrize(
    ("found", "doing"),
    [
        (InPlace.NEWEST, Doing.NOTHING),
        (InPlace.OLDER, Doing.RESTORE),
        (InPlace.ABSENT, Doing.RESTORE),
        (InPlace.UNKNOWN, Doing.REFUSE),
    ],
)
def test_the_newest_sealed_key_is_what_the_platform_starts_with(found, doing):
    assert judge(found, KNOWN).doing is doing


def test_what_follows_the_newest_in_this_very_place_is_its_successor():
    assert judge(InPlace.UNKNOWN, known(seen=V4)).doing is Doing.KEEP


def test_what_follows_an_older_one_may_be_dead():
    """The key that was exchanged twice between two looks: the replica stopped at the one between."""
    refused = judge(InPlace.UNKNOWN, known(seen=V3))
    assert refused.doing is Doing.REFUSE
    assert "2.4" in refused.words


@pytest.mark.parametrize("rule", [Doing.KEEP, Doing.RESTORE, Doing.REFUSE])
def test_the_configuration_decides_over_an_unknown_key(rule):
    assert judge(InPlace.UNKNOWN, known(when_unknown=rule)).doing is rule


def test_the_first_key_is_the_one_in_place():
    first = known(newest=None, heard=None, seen=None)
    assert judge(InPlace.UNKNOWN, first).doing is Doing.KEEP
    assert judge(InPlace.ABSENT, first).doing is Doing.REFUSE


@pytest.mark.parametrize("newest", [None, V3])
def test_a_newest_that_does_not_open_makes_everything_older_dead(newest):
    behind = known(newest=newest)
    for found in InPlace:
        assert judge(found, behind).doing is Doing.REFUSE
    assert judge(InPlace.UNKNOWN, known(newest=newest, required=False)).doing is Doing.KEEP
    assert judge(InPlace.OLDER, known(newest=newest, required=False)).doing is Doing.REFUSE


def test_a_damaged_store_is_not_the_same_as_nothing_ever_sealed():
    damaged = known(newest=None, heard=None, seen=None, damaged=True)
    assert judge(InPlace.UNKNOWN, damaged).doing is Doing.REFUSE
    assert judge(InPlace.UNKNOWN, known(damaged=True, seen=V4)).doing is Doing.KEEP


def test_without_a_sink_nothing_is_restored():
    assert judge(InPlace.OLDER, known(restorable=False)).doing is Doing.REFUSE
    assert judge(InPlace.NEWEST, known(restorable=False)).doing is Doing.NOTHING


def test_an_operator_accepts_a_key_and_never_its_absence():
    assert judge(InPlace.UNKNOWN, known(accepted=True)).doing is Doing.KEEP
    assert judge(InPlace.OLDER, known(newest=None, accepted=True)).doing is Doing.KEEP
    assert judge(InPlace.ABSENT, known(accepted=True)).doing is Doing.RESTORE


VERSIONS = st.one_of(st.none(), st.builds(version, st.integers(1, 3), st.integers(1, 4)))


@given(
    found=st.sampled_from(InPlace), newest=VERSIONS, heard=VERSIONS, seen=VERSIONS,
    required=st.booleans(), unknown=st.sampled_from([Doing.KEEP, Doing.RESTORE, Doing.REFUSE]),
    restorable=st.booleans(),
)  # fmt: skip
def test_nothing_known_to_be_dead_is_ever_started_with(found, newest, heard, seen, required, unknown, restorable):
    """Whatever is configured: an older key, or none, is never kept; and nothing is restored but the very newest."""
    known_here = Known(newest, heard, seen, required, unknown, restorable=restorable)
    doing = judge(found, known_here).doing
    if found in (InPlace.OLDER, InPlace.ABSENT) and newest is not None:
        assert doing in (Doing.RESTORE, Doing.REFUSE)
    if doing in (Doing.RESTORE, Doing.NOTHING):
        assert newest is not None
        assert heard is None or newest >= heard
    if doing is Doing.RESTORE:
        assert restorable


def test_every_combination_has_words_for_people():
    for found, required, rule in itertools.product(InPlace, (True, False), (Doing.KEEP, Doing.REFUSE)):
        assert judge(found, known(required=required, when_unknown=rule)).words
