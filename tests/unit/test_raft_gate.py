"""Members ask each other before a peer counts: of two processes of one disk never both do (O4)."""

from __future__ import annotations

import pytest
from gate_rig import (
    AT,
    DISK,
    FIRST,
    NEW,
    TOKEN,
    W1,
    W2,
    W3,
    A,
    B,
    Link,
    Member,
    Pair,
    draw,
    older_than_the_other_saw,
    speaker,
)

from proto.errors import FrameRefused
from proto.units import WitnessId
from witness.raft.admission import NOWHERE, Mark, Speaker
from witness.raft.gate import VOUCH_WINDOW_S, VOUCHES_MAX, Gate
from witness.raft.introduction import Answer, Question


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_without_other_connections_a_peer_counts_at_once() -> None:
    member = Member(W1)
    assert member.counts(member.introduce(speaker()))


def test_a_peer_counts_when_the_other_member_has_answered(pair: Pair) -> None:
    link = pair.one.introduce(speaker())
    assert not pair.one.counts(link)
    pair.deliver()
    assert pair.one.counts(link)
    known = pair.two.known(W3)
    assert known is not None
    assert (known.process, known.position) == (A, NOWHERE)


def test_an_answer_that_never_comes_is_waited_for_until_its_connection_ends(pair: Pair) -> None:
    link = pair.one.introduce(speaker())
    pair.one.drop(pair.to_two)
    assert pair.one.counts(link)


def test_who_goes_while_it_waits_does_not_count(pair: Pair) -> None:
    link = pair.one.introduce(speaker())
    pair.one.drop(link)
    pair.deliver()
    assert W3 not in pair.one.links
    assert pair.one.gate.waiting == []


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_o4_of_two_that_are_introduced_at_once_one_counts(pair: Pair, order: tuple[bytes, bytes]) -> None:
    links = pair.one.introduce(speaker(order[0])), pair.two.introduce(speaker(order[1]))
    pair.deliver()
    counts = pair.one.counts(links[0]), pair.two.counts(links[1])
    assert sorted(counts) == [False, True]
    assert "two processes claim to be w3" in links[counts.index(False)].why
    for member in (pair.one, pair.two):
        known = member.known(W3)
        assert known is not None
        assert known.process == B  # of two with as many starts, everywhere the same one


def test_o4_more_starts_win(pair: Pair) -> None:
    old, new = pair.one.introduce(speaker(B)), pair.two.introduce(speaker(A, starts=3, past=(B, FIRST)))
    pair.deliver()
    assert not pair.one.counts(old)
    assert pair.two.counts(new)


def test_o4_the_living_one_that_another_member_has_stays(pair: Pair) -> None:
    original = pair.one.introduce(speaker())
    pair.deliver()
    copy = pair.two.introduce(speaker(B, starts=3, past=(A, FIRST)))
    pair.deliver()
    assert pair.one.counts(original)
    assert not pair.two.counts(copy)
    assert copy.why.endswith("(as w1 says)")
    assert pair.one.gate.counters["second_process"] == 1
    assert pair.two.gate.counters["objections"] == 1


def test_a_silent_one_that_another_member_has_gives_way_and_is_closed_there(pair: Pair) -> None:
    before = pair.one.introduce(speaker())
    pair.deliver()
    pair.one.now_s = 1.5
    again = pair.two.introduce(speaker(B, starts=3, past=(A, FIRST)))
    pair.deliver()
    assert pair.two.counts(again)
    assert before.closing
    assert not pair.one.counts(pair.one.introduce(speaker()))


def test_o5_an_older_state_that_only_the_other_member_has_seen_is_refused(pair: Pair) -> None:
    older = older_than_the_other_saw(pair)
    assert not pair.one.counts(older)
    assert "older state" in older.why


def test_members_that_meet_again_find_two_that_were_let_in_on_two_sides(pair: Pair) -> None:
    pair.part()
    left, right = pair.one.introduce(speaker()), pair.two.introduce(speaker(B, starts=3, past=(A, FIRST)))
    assert pair.one.counts(left)
    assert pair.two.counts(right)
    pair.meet()
    assert not (pair.one.counts(left) and pair.two.counts(right))


def test_a_replaced_disk_that_a_new_member_took_for_the_peer_is_given_up(pair: Pair) -> None:
    """A member on a blank disk itself met the old disk first; the other one knows that it was replaced."""
    pair.part()
    pair.two.introduce(speaker())
    pair.two.drop(pair.two.links[W3])
    pair.two.introduce(Speaker(W3, NEW, learner=True, position=NOWHERE, process=B))
    pair.two.drop(pair.two.links[W3])
    old = pair.one.introduce(speaker())
    assert pair.one.counts(old)
    pair.meet()
    assert not pair.one.counts(old)
    pair.one.drop(old)
    new = pair.one.introduce(Speaker(W3, NEW, learner=False, position=AT, process=B))
    pair.deliver()
    assert pair.one.counts(new)


def test_who_joins_while_another_waits_is_asked_too() -> None:
    member = Member(W1)
    ids = [WitnessId(f"w{number}") for number in range(1, 6)]
    member.gate = Gate(member, ids[1:], member.links, member.let_in, member.retire, lambda: 0.0, draw)
    second = member.introduce(speaker(peer=ids[1], disk=b"2" * 16))
    fourth = member.introduce(speaker(peer=ids[3], disk=b"4" * 16))
    third = member.introduce(speaker())
    member.no_objection(second, ids[3])
    assert member.counts(fourth)
    asked = [word.speaker.peer for word in fourth.said]
    assert asked == [ids[1], W3]
    member.no_objection(second, W3)
    assert not member.counts(third)
    member.no_objection(fourth, W3)
    assert member.counts(third)


@pytest.mark.parametrize("peer", [W2, W1, WitnessId("w9")])
def test_nobody_is_asked_about_himself_nor_about_strangers(pair: Pair, peer: WitnessId) -> None:
    question = Question(speaker(peer=peer), None, TOKEN)
    with pytest.raises(FrameRefused, match="no third witness"):
        pair.one.gate.asked(pair.to_two, question)  # type: ignore[arg-type] - a fake


def test_an_answer_about_a_stranger_or_to_another_question_changes_nothing(pair: Pair) -> None:
    link = pair.one.introduce(speaker())
    mark = Mark(NEW, NOWHERE, B, 1, (DISK,))
    for peer in (WitnessId("w9"), W3):
        answer = Answer(peer, A, TOKEN, "no", None if peer == W3 else mark)
        pair.one.gate.answered(pair.to_two, answer)  # type: ignore[arg-type] - a fake
    assert not link.closing
    assert pair.one.known(WitnessId("w9")) is None


def test_one_that_asks_about_ever_new_processes_is_answered_at_a_bounded_pace(pair: Pair) -> None:
    """Each of these answers waits for our disk, and everybody else waits with it."""

    def ask(by: Link, number: int) -> str:
        past = (number - 1).to_bytes(16)
        pair.two.gate.asked(by, Question(speaker(number.to_bytes(16), number, past=(past,)), None, TOKEN))  # type: ignore[arg-type] - a fake
        return str(by.said.pop().objection)

    last = 1_000 + VOUCHES_MAX
    objections = [ask(pair.to_one, number) for number in range(1_001, last + 1)]
    assert not any(objections)
    refused = ask(pair.to_one, last + 1)
    assert refused.startswith("w1 asked about more than 16 processes of w3 within 10 s")
    known = pair.two.known(W3)
    assert known is not None
    assert known.process == last.to_bytes(16), "and is not remembered"
    assert pair.two.gate.counters["vouches_refused"] == 1
    pair.part()
    pair.meet()
    assert ask(pair.to_one, last + 1) == refused, "another connection is no way out"
    pair.two.now_s += VOUCH_WINDOW_S
    assert not ask(pair.to_one, last + 1)


def test_a_question_that_changes_nothing_costs_nothing(pair: Pair) -> None:
    for _ in range(3 * VOUCHES_MAX):
        pair.two.gate.asked(pair.to_one, Question(speaker(), None, TOKEN))  # type: ignore[arg-type] - a fake
        assert not pair.to_one.said.pop().objection
