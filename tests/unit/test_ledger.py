"""The ledger is one chain: what is changed, dropped or inserted shows; memory keeps the newest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import A, G

from proto import limits
from proto.codec import EVENTS
from proto.events import GENESIS_HASH, EventKind
from proto.units import Epoch, LogIndex, WallMs
from witness.core.ledger import Ledger, verify
from witness.core.state import LedgerState


def filled(count: int) -> Ledger:
    ledger = Ledger(LedgerState())
    for number in range(count):
        ledger.index, ledger.wall_ms = LogIndex(number), WallMs(number)
        ledger.append(EventKind.GRANTED, f"text {number}", group=G, site=A, epoch=Epoch(number))
    return ledger


def test_events_are_numbered_chained_and_taken_once():
    ledger = filled(5)
    events = ledger.take_new()
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert ledger.take_new() == ()
    assert verify(events, GENESIS_HASH) is None
    assert verify(events[2:], events[1].chain) is None
    assert all(EVENTS.decode(EVENTS.encode(event)) == event for event in events)


@pytest.mark.parametrize(
    ("spoil", "shows_at"),
    [
        (lambda events: [events[0], replace(events[1], text="other"), *events[2:]], 2),
        (lambda events: [events[0], replace(events[1], wall_ms=WallMs(9)), *events[2:]], 2),
        (lambda events: [events[0], *events[2:]], 3),
        (lambda events: [events[0], events[2], events[1], *events[3:]], 3),
        (lambda events: [events[0], events[0], *events[1:]], 1),
        (lambda events: events[1:], 2),
    ],
)
def test_what_was_changed_shows(spoil, shows_at):
    events = list(filled(5).take_new())
    broken = verify(spoil(events), GENESIS_HASH)
    assert broken is not None
    assert broken.seq == shows_at


def test_memory_keeps_the_newest_and_pages_by_number():
    ledger = filled(limits.LEDGER_EVENTS_KEPT + 10)
    assert ledger.head_seq == limits.LEDGER_EVENTS_KEPT + 10
    assert [event.seq for event in ledger.recent(0, 3)] == [11, 12, 13]
    assert [event.seq for event in ledger.recent(500, 2)] == [501, 502]
    assert ledger.recent(ledger.head_seq, 10) == []
    assert Ledger(LedgerState()).recent(0, 10) == []


def test_texts_and_authors_are_cut():
    ledger = Ledger(LedgerState())
    ledger.append(EventKind.MODE, "t" * 2_000, author="a" * 2_000)
    event = ledger.take_new()[0]
    assert (len(event.text), len(event.author)) == (limits.TEXT_CHARS_MAX, limits.TEXT_CHARS_MAX)
