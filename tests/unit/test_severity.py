"""What each kind of event means to people: one table, complete; an end is told with the weight of its beginning."""

from __future__ import annotations

import itertools

import pytest

from proto.events import Event, EventKind
from proto.severity import MEANING, Severity, ended_by, is_alarm, severity_of, weight
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs

SHOP = GroupId("shop")
_numbers = itertools.count(1)


def event(kind: EventKind, site: str | None = "dc-a", group: str | None = "shop") -> Event:
    where = None if group is None else GroupId(group)
    at = None if site is None else SiteId(site)
    return Event(next(_numbers), LogIndex(1), kind, where, at, Epoch(1), "witness", "", WallMs(1), b"")


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_has_a_line_with_words(kind):
    meaning = MEANING[kind]
    assert meaning.words
    assert meaning.words[0].islower()
    assert all(ended in MEANING for ended in meaning.ends)


def test_the_order_of_severities_is_that_of_the_table():
    assert Severity.CRITICAL.reaches(Severity.WARNING)
    assert Severity.INFO.reaches(Severity.INFO)
    assert not Severity.DETAIL.reaches(Severity.INFO)


def test_what_is_an_alarm():
    assert is_alarm(EventKind.EXPIRED)
    assert is_alarm(EventKind.QUARANTINED)
    assert not is_alarm(EventKind.GRANTED)


def test_an_end_is_told_with_the_weight_of_its_beginning():
    lost, back = event(EventKind.EXPIRED), event(EventKind.CLAIMED, "dc-b")
    assert ended_by(back, [event(EventKind.GRANTED, "dc-b"), lost]) == lost
    assert weight(back, [lost]) is Severity.CRITICAL
    assert weight(back, []) is severity_of(EventKind.CLAIMED)


def test_what_was_ended_before_is_not_ended_again():
    lost, back = event(EventKind.EXPIRED), event(EventKind.CLAIMED, "dc-b")
    assert ended_by(event(EventKind.CLAIMED, "dc-b"), [back, lost]) is None


@pytest.mark.parametrize(
    ("later", "earlier", "over"),
    [
        (("dc-a", "shop"), ("dc-a", "shop"), True),
        (("dc-b", "shop"), ("dc-a", "shop"), False),
        ((None, "shop"), ("dc-a", "shop"), True),
        (("dc-a", "shop"), (None, "shop"), True),
        (("dc-a", "mail"), ("dc-a", "shop"), False),
    ],
)
def test_only_the_same_group_and_site_is_over(later, earlier, over):
    barred = event(EventKind.QUARANTINED, *earlier)
    cleared = event(EventKind.QUARANTINE_CLEARED, *later)
    assert (ended_by(cleared, [barred]) == barred) is over
