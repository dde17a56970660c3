"""What is told to whom: the table of docs/operating/notifications.md, and quiet hours."""

from __future__ import annotations

import itertools

import pytest
from notify_rig import target

from proto.events import Event, EventKind
from proto.severity import Severity
from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs
from witness.core.notify.lanes import Lane, Told, chosen, collapsed, lane_of, quiet, told_of
from witness.core.notify.rules import undelivered_text
from witness.core.notify.settings import QuietHours

_numbers = itertools.count(1)
K = EventKind
DAY_MS, HOUR_MS, MINUTE_MS = 86_400_000, 3_600_000, 60_000
SUNDAY = 1_767_484_800_000  # 2026-01-04, 00:00 UTC


def event(kind: EventKind, group: str | None = "shop", site: str | None = "dc-a", text: str = "x") -> Event:
    where, at = None if group is None else GroupId(group), None if site is None else SiteId(site)
    return Event(next(_numbers), LogIndex(1), kind, where, at, Epoch(1), "witness", text, WallMs(1), b"")


def told(kind: EventKind, **where) -> Told:
    return told_of(event(kind, **where), ())


@pytest.mark.parametrize(
    ("rules", "kind", "where", "lane"),
    [
        # 1. by severity
        ({}, K.EXPIRED, {}, Lane.URGENT),
        ({}, K.QUARANTINED, {}, Lane.ROUTINE),
        ({}, K.GRANTED, {}, None),
        ({"severity": "info"}, K.GRANTED, {}, Lane.ROUTINE),
        ({"severity": "critical"}, K.QUARANTINED, {}, None),
        ({"severity": "detail"}, K.SITE_STATE, {}, Lane.ROUTINE),
        # 2. by group
        ({"groups": ("shop",)}, K.EXPIRED, {}, Lane.URGENT),
        ({"groups": ("mail",)}, K.EXPIRED, {}, None),
        ({"groups": ("sh*",)}, K.EXPIRED, {}, Lane.URGENT),
        ({"groups": ("mail",)}, K.SECOND_AGENT, {"group": None}, Lane.URGENT),
        ({"groups": ("mail",)}, K.UNDELIVERED, {"group": None}, None),
        ({}, K.UNDELIVERED, {"group": None}, Lane.ROUTINE),
        # 3. by kind
        ({"kinds": ("quarantined",)}, K.EXPIRED, {}, None),
        ({"kinds": ("expired",)}, K.EXPIRED, {}, Lane.URGENT),
        ({"kinds_not": ("expired",)}, K.EXPIRED, {}, None),
        # 4. a target is not told that it cannot be told
        ({}, K.UNDELIVERED, {"group": None, "text": undelivered_text("ops.urgent", "refused")}, None),
    ],
)
def test_the_table(rules, kind, where, lane):
    assert lane_of(target(**rules), told(kind, **where)) is lane


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_reaches_a_target_that_wants_all(kind):
    assert lane_of(target(severity="detail"), told(kind)) is not None


def test_a_name_is_no_beginning_of_another():
    assert chosen("shop", ("shop",))
    assert not chosen("shop-b", ("shop",))
    assert chosen("shop-b", ("shop*",))
    assert chosen("anything", ("*",))
    assert chosen("anything", ())


def test_the_same_again_becomes_a_count_where_the_newest_stood():
    first, other, last = told(K.QUARANTINED), told(K.QUARANTINED, site="dc-b"), told(K.QUARANTINED)
    assert [(one.event.seq, one.count) for one in collapsed([first, other, last])] == [
        (other.event.seq, 1),
        (last.event.seq, 2),
    ]


NIGHT = QuietHours("night", 22 * 60, 6 * 60, "UTC")
LUNCH = QuietHours("night", 12 * 60, 13 * 60, "UTC")
SATURDAYS = QuietHours("night", 22 * 60, 6 * 60, "UTC", (5,))
ALWAYS = QuietHours("night", 0, 0, "UTC")


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        (NIGHT, 22 * HOUR_MS, True),
        (NIGHT, 22 * HOUR_MS - 1, False),
        (NIGHT, 3 * HOUR_MS, True),
        (NIGHT, 6 * HOUR_MS, False),
        (NIGHT, 6 * HOUR_MS - MINUTE_MS, True),
        (LUNCH, 12 * HOUR_MS, True),
        (LUNCH, 13 * HOUR_MS, False),
        (LUNCH, 3 * HOUR_MS, False),
        (SATURDAYS, 3 * HOUR_MS, True),  # Sunday morning: they began on Saturday
        (SATURDAYS, 23 * HOUR_MS, False),
        (SATURDAYS, 23 * HOUR_MS - DAY_MS, True),
        (ALWAYS, 5 * HOUR_MS, True),
    ],
)
def test_quiet_hours(hours, at, expected):
    ops = target(quiet_hours=("night",))
    assert quiet(ops, [hours], WallMs(SUNDAY + at), {"UTC": 0}) is expected
    assert not quiet(target(), [hours], WallMs(SUNDAY + at), {"UTC": 0}), "it is not this target's night"


def test_quiet_hours_are_those_of_their_time_zone():
    ops = target(quiet_hours=("night",))
    berlin = QuietHours("night", 22 * 60, 6 * 60, "Europe/Berlin")
    assert quiet(ops, [berlin], WallMs(SUNDAY + 21 * HOUR_MS), {"Europe/Berlin": 60})
    assert not quiet(ops, [berlin], WallMs(SUNDAY + 5 * HOUR_MS + 1), {"Europe/Berlin": 60})
    assert not quiet(ops, [berlin], WallMs(SUNDAY + 23 * HOUR_MS), {}), "an unknown zone holds nothing back"


def test_an_end_weighs_what_it_ends():
    lost = event(K.EXPIRED)
    back = told_of(event(K.CLAIMED, site="dc-b"), [lost])
    assert (back.weight, back.ends) == (Severity.CRITICAL, lost)
