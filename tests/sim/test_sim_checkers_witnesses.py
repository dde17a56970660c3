"""The checkers of what the witnesses decide, fed with bad traces by hand."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Chronicle, Court, G, S

from proto.decisions import REASON_TEXT, Reason
from proto.events import Event, EventKind
from proto.lease import LeaseConstants
from witness.sim.checkers.durable import DurableChecker, Told
from witness.sim.checkers.expiry import ExpiryChecker
from witness.sim.checkers.replicas import ReplicaChecker
from witness.sim.checkers.story import StoryChecker

K = EventKind
FIRST = f"first: {REASON_TEXT[Reason.FIRST_ACTIVATION]}"
EXPIRED = f"takeover: {REASON_TEXT[Reason.HOLDER_EXPIRED]}"
RELEASED = f"takeover: {REASON_TEXT[Reason.HOLDER_RELEASED]}"
ASKED = f"handover: {REASON_TEXT[Reason.OPERATOR_ASKED]} (maintenance tonight)"
UNFIT = f"handover: {REASON_TEXT[Reason.HOLDER_UNFIT]}"
TOO_FAST = REASON_TEXT[Reason.CLOCK_TOO_FAST]
Line = tuple[EventKind, str | None, int, str]
TO_B = f"handover to {B}: {REASON_TEXT[Reason.OPERATOR_ASKED]}"
BEGIN: list[Line] = [(K.GROUP_CREATED, None, 1, ""), (K.UNBARRED, None, 0, "")]
HELD: list[Line] = [*BEGIN, (K.GRANTED, A, 2, FIRST), (K.CLAIMED, A, 2, "")]
VACANT: list[Line] = [*HELD, (K.RELEASED, A, 2, "verified down")]


@pytest.fixture
def court() -> Court:
    return Court()


def tell(court: Court, lines: list[Line]) -> StoryChecker:
    checker, chronicle = StoryChecker(court.findings), Chronicle()
    for kind, site, epoch, text in lines:
        checker.told(chronicle.add(kind, site, epoch, text))
    return checker


# -- story ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [*VACANT, (K.GRANTED, B, 3, RELEASED), (K.CLAIMED, B, 3, "")],
        [*HELD, (K.EXPIRED, A, 2, "renewal 3 ran out"), (K.GRANTED, B, 3, EXPIRED)],
        [*HELD, (K.REVOKED, A, 2, f"handover to {B}: an operator asked for it"), (K.RELEASED, A, 2, ""),
         (K.GRANTED, B, 3, ASKED)],
        [*VACANT, (K.MODE, None, 2, "automatic -> manual"), (K.GRANTED, B, 3, ASKED)],
        [*VACANT, (K.QUARANTINED, B, 2, "unclean-end: x"), (K.QUARANTINE_CLEARED, B, 2, "proven down"),
         (K.GRANTED, B, 3, RELEASED)],
        [*VACANT, (K.QUARANTINED, None, 2, f"{B}: operator (why)"), (K.QUARANTINE_CLEARED, None, 2, f"{B}: operator"),
         (K.MAINTENANCE, None, 2, f"{B}: on"), (K.MAINTENANCE, None, 2, f"{B}: off"), (K.GRANTED, B, 3, RELEASED)],
        [*VACANT, (K.CLOCK_TOO_SLOW, B, 2, ""), (K.CLOCK_FIT, B, 2, ""), (K.GRANTED, B, 3, RELEASED)],
        [*HELD, (K.CLOCK_TOO_FAST, A, 2, ""), (K.REVOKED, A, 2, f"handover to {B}: {TOO_FAST}"),
         (K.RELEASED, A, 2, ""), (K.GRANTED, B, 3, f"handover: {TOO_FAST}")],
        [*VACANT, (K.CLOCK_TOO_FAST, B, 2, ""), (K.GRANTED, B, 3, f"adopted: {REASON_TEXT[Reason.UNDER_PERMIT]}")],
    ],
)  # fmt: skip
def test_a_sound_story_is_believed(court: Court, lines: list[Line]):
    tell(court, lines)
    assert court.words() == ""


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([*HELD, (K.GRANTED, B, 3, EXPIRED)], "without an end before"),
        ([*VACANT, (K.GRANTED, B, 2, RELEASED)], "epoch 2 after 2"),
        ([*VACANT, (K.GRANTED, B, 3, EXPIRED)], "the holder's lease expired' after released"),
        ([*VACANT, (K.GRANTED, B, 3, UNFIT)], "without a handover for it"),
        ([*VACANT, (K.RELEASED, A, 2, "")], "it is vacant"),
        ([*HELD, (K.EXPIRED, B, 2, "")], "but dc-a holds 2"),
        ([*HELD, (K.CLAIMED, A, 1, "")], "but dc-a holds 2"),
        ([*VACANT, (K.RESTORED, None, 2, "")], "it begins with epoch 2, it had 2 before"),
        ([*VACANT, (K.MAINTENANCE, None, 2, f"{B}: on"), (K.GRANTED, B, 3, RELEASED)], "is in maintenance"),
        ([*VACANT, (K.MODE, None, 2, "automatic -> paused"), (K.GRANTED, B, 3, ASKED)], "in mode paused"),
        ([*VACANT, (K.MODE, None, 2, "automatic -> manual"), (K.GRANTED, B, 3, RELEASED)], "in mode manual"),
        ([*HELD, (K.REVOKED, A, 2, f"handover to {B}: because")], "'because' is no reason for a handover"),
        ([*HELD, (K.REVOKED, B, 2, f"handover to {B}: an operator asked for it")], "but dc-a holds 2"),
        ([*HELD, (K.REVOKED, A, 2, f"handover to {B}: {TOO_FAST}")], "nobody told that the clock of dc-a is"),
        ([*VACANT, (K.CLOCK_TOO_SLOW, B, 2, ""), (K.GRANTED, B, 3, RELEASED)], "dc-b has a clock-too-slow"),
        ([*HELD, (K.CLOCK_TOO_FAST, B, 2, ""), (K.REVOKED, A, 2, TO_B)], "dc-b has a clock-too-fast"),
        ([*BEGIN, (K.GRANTED, A, 2, FIRST), (K.CLOCK_TOO_SLOW, A, 2, ""), (K.CLAIMED, A, 2, "")], "too slow for it"),
        (
            [*HELD, (K.MAINTENANCE, None, 2, f"{B}: on (x)"), (K.REVOKED, A, 2, TO_B)],
            "dc-b is in maintenance",
        ),
    ],
)  # fmt: skip
def test_a_broken_story_is_seen(court: Court, lines: list[Line], says: str):
    tell(court, lines)
    assert set(court.kinds()) == {"story"}
    assert says in court.words()


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([*VACANT, (K.QUARANTINED, B, 2, "unclean-end: x"), (K.GRANTED, B, 3, RELEASED)], "in spite of unclean-end"),
        ([*VACANT, (K.QUARANTINED, None, 2, f"{B}: operator"), (K.GRANTED, B, 3, RELEASED)], "in spite of operator"),
        ([*HELD, (K.EXPIRED, A, 2, "renewal 3 ran out"), (K.GRANTED, A, 3, EXPIRED)], "in spite of unclean-end"),
        ([*HELD, (K.RELEASED, A, 2, "activation failed: x"), (K.GRANTED, A, 3, RELEASED)], "of activation-failed"),
    ],
)  # fmt: skip
def test_quarantine_is_respected_told_or_not(court: Court, lines: list[Line], says: str):
    tell(court, lines)
    assert court.kinds() == ["quarantine"]
    assert says in court.words()


# -- replicas -------------------------------------------------------------------------------------------------


def machine(state: str) -> SimpleNamespace:
    return SimpleNamespace(state_hash=lambda: state)


def test_equal_indexes_are_equal_states(court: Court):
    checker = ReplicaChecker(court.findings)
    checker.applied("w1", 16, machine("x"))
    checker.applied("w2", 17, machine("y"))
    checker.applied("w2", 16, machine("x"))
    assert court.kinds() == []
    checker.applied("w3", 16, machine("y"))
    assert court.kinds() == ["divergence"]


def chronicle(count: int) -> list[Event]:
    told = Chronicle()
    return [told.add(K.SITE_JOINED, A, 0, str(number)) for number in range(count)]


def test_one_ledger_is_told_without_gaps(court: Court):
    checker, events = ReplicaChecker(court.findings), chronicle(3)
    assert checker.recorded("w1", events[:2]) == events[:2]
    assert checker.recorded("w2", events[:2]) == []
    checker.verify()
    assert court.kinds() == []
    checker.recorded("w2", [dataclasses.replace(events[1], text="otherwise")])
    checker.recorded("w3", [dataclasses.replace(events[2], seq=5)])
    assert court.kinds() == ["ledger", "ledger"]


def test_a_broken_chain_is_seen(court: Court):
    checker, events = ReplicaChecker(court.findings), chronicle(3)
    checker.recorded("w1", [events[0], dataclasses.replace(events[1], text="forged"), events[2]])
    checker.verify()
    assert court.kinds() == ["ledger"]


@pytest.mark.parametrize("stored", [slice(1, 3), slice(0, 3, 2)])
def test_a_gap_on_a_disk_is_seen(court: Court, stored: slice):
    checker, events = ReplicaChecker(court.findings), chronicle(3)
    checker.recorded("w1", events)
    checker.stored("w1", events[:2])
    assert court.kinds() == []
    checker.stored("w1", events[stored])
    assert court.kinds() == ["ledger"]


def test_a_disk_with_other_events_is_seen(court: Court):
    checker, events = ReplicaChecker(court.findings), chronicle(3)
    checker.recorded("w1", events[:2])
    checker.stored("w1", events)
    assert court.kinds() == ["ledger"]


# -- durable --------------------------------------------------------------------------------------------------


def told(index: int, seq: int = 0, chain: bytes = b"") -> Told:
    return Told("w1", index, seq, chain)


def test_what_was_told_is_in_every_later_state(court: Court):
    checker = DurableChecker(court.findings)
    checker.told(told(7), 0)
    checker.told(told(6), 0)
    checker.ends("w2", 7)
    assert court.kinds() == []
    checker.ends("w3", 6)
    assert court.kinds() == ["durable"]


def test_what_is_told_in_the_last_moment_may_be_on_its_way(court: Court):
    checker, events = DurableChecker(court.findings), chronicle(3)
    checker.told(told(7, 1, events[0].chain), 0)
    checker.due()
    checker.told(told(8, 3, events[2].chain), 7)
    checker.ends("w2", 7)
    checker.ledger("w2", events[:1])
    assert court.kinds() == []
    checker.ends("w3", 6)
    checker.ledger("w3", [])
    assert court.kinds() == ["durable", "durable"]


@pytest.mark.parametrize(("index", "found"), [(8, []), (7, ["order"]), (3, ["order"])])
def test_what_is_asked_after_an_answer_is_applied_behind_it(court: Court, index: int, found: list[str]):
    checker = DurableChecker(court.findings)
    checker.told(told(7), checker.floor)
    assert checker.floor == 7
    checker.told(told(index), checker.floor)
    assert court.kinds() == found


def test_what_was_told_of_is_in_every_ledger(court: Court):
    checker, events = DurableChecker(court.findings), chronicle(3)
    checker.ledger("w1", [])
    checker.told(told(7, 2, events[1].chain), 0)
    checker.ledger("w2", events)
    assert court.kinds() == []
    checker.ledger("w2", events[:1])
    checker.ledger("w3", [events[0], events[0]])
    assert court.kinds() == ["durable", "durable"]


# -- expiry ---------------------------------------------------------------------------------------------------


def held(renewal: int) -> SimpleNamespace:
    """By a lease of a second without drift."""
    lease = SimpleNamespace(epoch=2, renewal=renewal, constants=LeaseConstants(1_000, 0, 0))
    return SimpleNamespace(state=SimpleNamespace(groups={G: SimpleNamespace(lease=lease)}))


@pytest.mark.parametrize(("at_ns", "found"), [(2 * S - 2_000, ["early-expiry"]), (2 * S, [])])
def test_a_lease_lasts_in_full_from_its_last_renewal(court: Court, at_ns: int, found: list[str]):
    checker = ExpiryChecker(court.findings, court.now)
    checker.applied(held(1))
    court.now_ns = S
    checker.applied(held(2))
    court.now_ns = at_ns
    checker.expired(Chronicle().add(K.EXPIRED, A, 2), 2)
    assert court.kinds() == found


@pytest.mark.parametrize(
    ("leapt", "found"), [(["w1"], ["early-expiry"]), (["w1", "w2"], []), (["w1", "w1"], ["early-expiry"])]
)
def test_leaps_shorten_a_lease_only_when_a_majority_made_them(court: Court, leapt: list[str], found: list[str]):
    checker = ExpiryChecker(court.findings, court.now)
    checker.applied(held(1))
    for witness in leapt:
        checker.leapt(witness)
    court.now_ns = 850_000_000
    checker.expired(Chronicle().add(K.EXPIRED, A, 2), 2)
    assert court.kinds() == found
