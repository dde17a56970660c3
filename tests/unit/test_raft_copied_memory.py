"""A copy of a running witness with its memory names the same process; it is told from another connection of it (O4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gate_rig import AT, FIRST, W2, W3, A, B, Holder, Pair, at, speaker

from witness.raft.gate import LIVELY_S
from witness.raft.inquiry import RELAY_WITHIN_S


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def original(pair: Pair) -> Holder:
    return pair.holder()


@pytest.fixture
def copy(pair: Pair) -> Holder:
    return pair.holder()


def settle(pair: Pair, seconds: float = 2 * RELAY_WITHIN_S) -> None:
    for _ in range(round(seconds / 0.25)):
        pair.deliver()
        pair.pass_time(0.25)


def meet(pair: Pair) -> None:
    pair.meet()
    settle(pair)


# -- one process, several connections -----------------------------------------------------------------------


def test_a_process_that_is_introduced_to_both_at_once_counts_at_both(pair: Pair, original: Holder) -> None:
    links = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), original)
    pair.deliver()
    assert pair.one.counts(links[0])
    assert pair.two.counts(links[1])


def test_places_of_one_process_are_not_compared_while_it_is_connected_here_too(pair: Pair, original: Holder) -> None:
    """Its connections have no order among each other: what it said here may be later than what it says there."""
    first = pair.two.introduce(at(50), original)
    pair.deliver()
    second = pair.one.introduce(at(49), original)
    pair.deliver()
    assert pair.two.counts(first)
    assert pair.one.counts(second)


def test_a_later_connection_takes_the_place_of_the_one_that_waits(pair: Pair, original: Holder) -> None:
    first, second = pair.one.introduce(speaker(), original), pair.one.introduce(speaker(), original)
    pair.deliver()
    assert first.closing
    assert pair.one.counts(second)


def test_a_later_connection_waits_for_the_end_of_the_one_that_counts(pair: Pair, original: Holder) -> None:
    first = pair.one.introduce(speaker(), original)
    pair.deliver()
    second = pair.one.introduce(at(11), original)
    pair.deliver()
    assert not pair.one.counts(second)
    pair.one.drop(first)
    assert pair.one.counts(second), second.why


def test_or_until_that_one_is_silent(pair: Pair, original: Holder) -> None:
    first = pair.one.introduce(speaker(), original)
    pair.deliver()
    pair.one.now_s += LIVELY_S / 2
    second = pair.one.introduce(speaker(), original)
    pair.deliver()
    pair.one.gate.upkeep()
    assert not pair.one.counts(second)
    pair.one.now_s += LIVELY_S / 2
    pair.one.gate.upkeep()
    assert first.closing
    assert pair.one.counts(second), second.why


def test_members_that_meet_again_let_the_process_be(pair: Pair, original: Holder) -> None:
    pair.part()
    links = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), original)
    meet(pair)
    assert pair.one.counts(links[0])
    assert pair.two.counts(links[1])


def test_a_long_connection_is_asked_about_by_its_latest_place(pair: Pair, original: Holder) -> None:
    """Else every blip between two members would end it, when its connection with the other one has ended."""
    here, there = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), original)
    pair.deliver()
    for member in (pair.one, pair.two):
        member.disks.seen(W3, replace(AT, turn=50))
    pair.two.drop(there)
    pair.part()
    meet(pair)
    assert pair.one.counts(here), here.why


def test_a_connection_there_that_is_silent_gives_way_and_is_not_waited_for(pair: Pair, original: Holder) -> None:
    before = pair.two.introduce(speaker(), original)
    pair.deliver()
    original.open.clear()
    pair.two.now_s += LIVELY_S
    link = pair.one.introduce(speaker(), original)
    pair.deliver()
    assert pair.one.counts(link)
    assert before.closing


def test_one_there_that_does_not_read_costs_an_objection(pair: Pair, original: Holder) -> None:
    there = pair.two.introduce(speaker(), original)
    pair.deliver()
    there.reads = False
    link = pair.one.introduce(speaker(), original)
    pair.deliver()
    assert "w3 does not read what is sent to it here; it is tried again by itself (as w2 says)" in link.why
    there.reads = True
    again = pair.one.introduce(speaker(), original)
    pair.deliver()
    assert pair.one.counts(again)


# -- and a copy of it ----------------------------------------------------------------------------------------


def test_o4_a_copy_with_the_memory_does_not_count_beside_its_original(
    pair: Pair, original: Holder, copy: Holder
) -> None:
    link = pair.two.introduce(speaker(), original)
    pair.deliver()
    copied = pair.one.introduce(speaker(), copy)
    settle(pair)
    assert pair.two.counts(link)
    assert not pair.one.counts(copied)
    assert copied.why.startswith("two machines claim to be one process of w3: w2 has a connection of it")
    assert "stop one of the two" in copied.why
    assert pair.one.gate.counters["second_process"] == 1
    assert pair.one.let_in_ever == [speaker(peer=W2).process]


def test_o4_of_two_that_are_introduced_at_once_at_most_one_counts(pair: Pair, original: Holder, copy: Holder) -> None:
    links = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), copy)
    settle(pair)
    assert not (pair.one.counts(links[0]) and pair.two.counts(links[1]))
    copy.open.clear()
    for link in links:
        link.closing = True
    again = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), original)
    settle(pair)
    assert pair.one.counts(again[0])
    assert pair.two.counts(again[1])


def test_o4_a_copy_does_not_take_the_place_of_its_living_original(pair: Pair, original: Holder, copy: Holder) -> None:
    link = pair.one.introduce(speaker(), original)
    pair.deliver()
    copied = pair.one.introduce(speaker(), copy)
    settle(pair)
    assert pair.one.counts(link)
    assert not pair.one.counts(copied)
    assert copied.why.startswith("two machines claim to be one process of w3: we have a connection of it")


def test_o4_a_copy_that_waits_is_judged_by_what_its_original_showed_meanwhile(pair: Pair, original: Holder) -> None:
    link = pair.one.introduce(speaker(), original)
    pair.deliver()
    copied = pair.one.introduce(at(11), pair.holder())
    pair.one.disks.seen(W3, replace(AT, turn=12))
    pair.one.drop(link)
    pair.deliver()
    assert not pair.one.counts(copied)
    assert "older state" in copied.why


def test_o4_a_copy_is_behind_what_another_member_saw_of_its_original(pair: Pair, original: Holder) -> None:
    link = pair.two.introduce(speaker(), original)
    pair.deliver()
    pair.two.disks.seen(W3, replace(AT, turn=11))
    pair.two.drop(link)
    copied = pair.one.introduce(speaker(), pair.holder())
    settle(pair)
    assert not pair.one.counts(copied)
    assert "older state of its disk" in copied.why
    assert "copied or rolled back with its memory" in copied.why
    again = pair.one.introduce(at(11), original)
    settle(pair)
    assert pair.one.counts(again)


def test_o4_members_that_meet_again_find_a_copy_out(pair: Pair, original: Holder, copy: Holder) -> None:
    pair.part()
    left, right = pair.one.introduce(speaker(), original), pair.two.introduce(speaker(), copy)
    assert pair.one.counts(left)
    assert pair.two.counts(right)
    meet(pair)
    assert not (pair.one.counts(left) and pair.two.counts(right))


def test_o4_every_connection_there_must_be_of_that_process(pair: Pair, original: Holder, copy: Holder) -> None:
    """The one that counts at the member that is asked, and the one that waits there."""
    pair.two.introduce(speaker(), original)
    pair.deliver()
    pair.two.introduce(speaker(), copy)
    link = pair.one.introduce(speaker(), original)
    settle(pair, RELAY_WITHIN_S / 2)
    assert not pair.one.counts(link)


def test_o4_what_was_sent_out_is_waited_for_also_when_the_one_that_was_asked_is_gone(
    pair: Pair, original: Holder, copy: Holder
) -> None:
    pair.two.introduce(speaker(), original)
    pair.deliver()
    copied = pair.one.introduce(speaker(), copy)
    pair.deliver()
    pair.part()
    assert not pair.one.counts(copied)
    settle(pair)
    assert copied.closing


def test_o4_a_token_counts_over_its_own_connection_only(pair: Pair, original: Holder, copy: Holder) -> None:
    """What the original still sends over one of its own says nothing about the copy's."""
    pair.two.introduce(speaker(), original)
    pair.deliver()
    before, copied = pair.one.introduce(speaker(), original), pair.one.introduce(speaker(), copy)
    token = pair.to_two.said[-1].token
    pair.deliver()
    pair.one.gate.relayed(before, token)  # type: ignore[arg-type] - a fake
    assert not pair.one.counts(copied)
    pair.one.gate.relayed(copied, token)  # type: ignore[arg-type] - a fake
    assert pair.one.counts(copied)


def test_a_copy_that_is_behind_costs_the_original_nothing(pair: Pair) -> None:
    """R7: a connection that was silent for a second ends for one that may count instead, and for no other."""
    link = pair.two.introduce(speaker(B, starts=3, past=(A, FIRST), position=replace(AT, turn=50)))
    pair.deliver()
    pair.two.now_s += LIVELY_S
    inferior = pair.one.introduce(speaker(A))
    pair.deliver()
    assert not pair.one.counts(inferior)
    assert pair.two.counts(link)


def test_one_that_is_refused_ends_no_other_that_waits(pair: Pair) -> None:
    seen = pair.one.introduce(speaker(position=replace(AT, turn=50)))
    pair.deliver()
    pair.one.drop(seen)
    waiting = pair.one.introduce(speaker(position=replace(AT, turn=50)))
    older = pair.one.introduce(speaker(B, starts=3, past=(A, FIRST)))
    assert older.closing
    assert not waiting.closing


def test_what_is_remembered_is_bounded(pair: Pair, original: Holder, copy: Holder) -> None:
    def still_open() -> int:
        return sum(inquiry.about.name == W3 for inquiry in pair.one.gate._inquiries._open.values())

    pair.two.introduce(speaker(), original)
    pair.deliver()
    for number in range(100):
        link = pair.one.introduce(speaker(), copy if number % 2 else original)
        pair.deliver()
        pair.one.drop(link)
    assert still_open() == 0
    for _ in range(100):
        link = pair.one.introduce(speaker(), copy)
        pair.deliver()
        assert still_open() == 1
        pair.one.drop(link)
    pair.one.introduce(speaker(), copy)
    settle(pair)
    assert still_open() == 0
