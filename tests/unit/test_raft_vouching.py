"""A vouch is tentative: it bars the original only as long as the copy may have been let in on it (O4)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from gate_rig import AT, DISK, FIRST, NEW, TOKEN, W1, W2, W3, A, Holder, Link, Member, Pair, speaker

from witness.raft.admission import (
    ASKERS_MAX,
    NOWHERE,
    Admitted,
    Mark,
    Refused,
    Speaker,
    decode_mark,
    encode_mark,
)
from witness.raft.introduction import Question
from witness.raft.store_rows import StoreRefused
from witness.raft.vouching import given_back, judge_vouch, own_part, settle

COPY, AGAIN = b"c" * 16, b"o" * 16
ONE, TWO = b"1" * 16, b"2" * 16


def original() -> Speaker:
    return speaker(A)


def copy() -> Speaker:
    """Of the disk after its run A."""
    return speaker(COPY, starts=3, past=(A, FIRST))


def restarted() -> Speaker:
    """The original after its run A; it never heard of the copy."""
    return speaker(AGAIN, starts=3, past=(A, FIRST))


def ask_only(pair: Pair) -> None:
    """What member one says reaches member two, whose answer is still under way."""
    said, pair.to_two.said[:] = list(pair.to_two.said), []
    for word in said:
        pair.two.hears(pair.to_one, word)


def vouched_and_never_let_in(pair: Pair) -> None:
    """The original ran and ended; a copy of it was introduced to one, two vouched, and the copy went away again."""
    for member in (pair.one, pair.two):
        link = member.introduce(original())
        pair.deliver()
        member.drop(link)
    waiting = pair.one.introduce(copy())
    ask_only(pair)
    pair.one.drop(waiting)
    pair.deliver()
    mark = pair.two.known(W3)
    assert mark is not None
    assert (mark.process, mark.askers) == (COPY, (ONE,))


@pytest.fixture
def pair() -> Pair:
    return Pair()


def comes_back(member: Member, pair: Pair, holder: Holder | None = None) -> None:
    """The original is introduced again and counts, without an operator."""
    link = member.introduce(restarted(), holder)
    pair.deliver()
    assert member.counts(link), link.why


def test_the_original_of_a_copy_that_was_never_let_in_counts_without_an_operator(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    link = pair.two.introduce(restarted())
    assert not pair.two.counts(link)
    pair.deliver()
    assert pair.two.counts(link), link.why


def test_also_when_it_reaches_the_other_member_first(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    holder = pair.holder()
    comes_back(pair.one, pair, holder)
    comes_back(pair.two, pair, holder)


def test_also_after_the_member_that_vouched_was_started_again(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    pair.two.start()
    pair.meet()
    comes_back(pair.two, pair)


def test_o4_the_copy_that_was_let_in_bars_its_original_also_on_the_other_side_of_a_cut(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    link = pair.one.introduce(copy())
    pair.deliver()
    assert pair.one.counts(link)
    pair.part()
    back = pair.two.introduce(restarted())
    assert not pair.two.counts(back)
    assert "decided by itself once w3 or we reach that witness" in back.why
    pair.meet()
    assert not pair.two.counts(pair.two.introduce(restarted()))
    pair.deliver()
    assert COPY in pair.one.let_in_ever
    assert AGAIN not in pair.two.let_in_ever


def test_o4_without_a_word_from_the_member_that_asked_nothing_is_given_back(pair: Pair) -> None:
    """It may have let the copy in just before the cut."""
    vouched_and_never_let_in(pair)
    pair.part()
    assert not pair.two.counts(pair.two.introduce(restarted()))
    pair.meet()
    comes_back(pair.two, pair)


def test_o4_a_connection_that_ends_before_the_answer_gives_nothing_back(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    link = pair.two.introduce(restarted())
    pair.part()
    assert not pair.two.counts(link)
    assert link.closing


def test_o4_who_gave_the_copy_back_bars_it_in_turn(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    pair.two.introduce(restarted())
    pair.deliver()
    pair.part()
    late = pair.one.introduce(copy())
    assert not pair.one.counts(late)
    pair.meet()
    pair.one.introduce(copy())
    pair.deliver()
    assert COPY not in pair.one.let_in_ever + pair.two.let_in_ever


def test_o4_a_member_on_another_disk_gives_nothing_back_for_the_former_one(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    pair.part()
    pair.one.store.clear()
    pair.one.start()
    pair.to_two = pair.one.introduce(speaker(peer=W2, disk=TWO))
    pair.to_one = pair.two.introduce(Speaker(W1, NEW, learner=True, position=NOWHERE, process=b"w" * 16))
    pair.deliver()
    link = pair.two.introduce(restarted())
    pair.deliver()
    assert not pair.two.counts(link)


def test_o4_who_only_waits_gives_nothing_back_by_asking(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    stranger = Link(W1, speaker(peer=W1, disk=ONE))
    pair.two.gate.asked(stranger, Question(restarted(), None, TOKEN))  # type: ignore[arg-type] - a fake
    assert "decided by itself" in stranger.said[0].objection


def test_a_tentative_mark_is_told_to_nobody_as_known(pair: Pair) -> None:
    vouched_and_never_let_in(pair)
    pair.two.introduce(restarted())
    question = pair.to_one.said[0]
    assert question.mark.process == A
    assert question.mark.askers == ()


# -- the values ----------------------------------------------------------------------------------------------

KNOWN = Mark(DISK, AT, A, 2, (NEW,))


def vouch(mark: Mark | None, said: Speaker, asker: bytes) -> Mark:
    verdict = judge_vouch(mark, said, asker)
    assert isinstance(verdict, Admitted)
    return verdict.mark


def test_the_former_mark_comes_back_when_all_askers_gave_back() -> None:
    mark = vouch(vouch(KNOWN, copy(), ONE), copy(), TWO)
    assert mark.askers == (ONE, TWO)
    left = given_back(mark, (ONE,))
    assert left is not None
    assert left.askers == (TWO,)
    assert given_back(left, (TWO,)) == own_part(mark) == KNOWN
    unknown = vouch(None, copy(), ONE)
    assert given_back(unknown, (ONE,)) is None


def test_a_later_start_of_the_copy_does_not_forget_what_was_known_before_it() -> None:
    mark = vouch(vouch(KNOWN, copy(), ONE), speaker(b"l" * 16, starts=4, past=(COPY, A, FIRST)), TWO)
    assert own_part(mark) == KNOWN


def test_what_nobody_can_give_back_is_definite() -> None:
    assert vouch(KNOWN, original(), ONE) == KNOWN
    learner = Speaker(W3, b"x" * 16, learner=True, position=NOWHERE, process=COPY)
    replaced = vouch(KNOWN, learner, ONE)
    assert (replaced.askers, replaced.retired[0]) == ((), DISK)
    mark = KNOWN
    for number in range(ASKERS_MAX + 1):
        mark = vouch(mark, copy(), bytes([number]) * 16)
    assert (mark.process, mark.askers) == (COPY, ())


def test_only_a_word_about_another_process_gives_back() -> None:
    mark = vouch(KNOWN, copy(), ONE)
    assert settle(mark, copy(), ONE) == mark
    assert settle(mark, speaker(b"l" * 16, starts=4, past=(COPY, A, FIRST)), ONE) == mark
    assert settle(mark, speaker(b"z" * 16, starts=3, past=(b"y" * 16,)), ONE) == mark
    assert settle(mark, restarted(), TWO) == mark
    assert settle(mark, restarted(), ONE) == KNOWN


def test_older_states_are_refused_as_before() -> None:
    mark = vouch(KNOWN, copy(), ONE)
    verdict = judge_vouch(mark, replace(restarted(), position=replace(AT, turn=9)), TWO)
    assert isinstance(verdict, Refused)
    assert "older state" in verdict.words


def test_a_tentative_mark_is_read_as_it_was_written() -> None:
    marks = [KNOWN, vouch(KNOWN, copy(), ONE), vouch(None, copy(), ONE)]
    assert [decode_mark(W3, encode_mark(mark)) for mark in marks] == marks
    for broken in (replace(marks[1], askers=(b"short",)), replace(marks[1], askers=(ONE,) * (ASKERS_MAX + 1))):
        with pytest.raises(StoreRefused, match="another format"):
            decode_mark(W3, encode_mark(broken))


def test_o4_an_answer_to_an_earlier_question_lets_nobody_in(pair: Pair) -> None:
    """Since then the one that answered may have vouched for the other copy."""
    first = pair.one.introduce(copy())
    ask_only(pair)
    stale, pair.to_one.said[:] = list(pair.to_one.said), []
    pair.one.drop(first)
    second = pair.one.introduce(restarted())
    ask_only(pair)
    pair.one.drop(second)
    pair.to_one.said.clear()
    again = pair.one.introduce(copy())
    pair.one.hears(pair.to_two, stale[0])
    assert not pair.one.counts(again)
    pair.deliver()
    assert pair.one.counts(again)


# -- any order -----------------------------------------------------------------------------------------------


class Chaos:
    """Two copies of a disk come and go at two members, which are started again now and then, but never cut off."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.pair = Pair()
        self.members = (self.pair.one, self.pair.two)
        self.starts = {"o": 2, "c": 2}
        self.past: dict[str, tuple[bytes, ...]] = {"o": (FIRST,), "c": (FIRST,)}
        self.now: dict[str, Speaker] = {}
        self.open: list[tuple[Member, Link]] = []
        for which in ("o", "c"):
            self.restart(which)

    def restart(self, which: str) -> None:
        process = f"{which}{self.starts[which]}".encode().ljust(16, b"_")
        self.now[which] = speaker(process, starts=self.starts[which], past=self.past[which])
        self.past[which] = (process, *self.past[which])[:16]
        self.starts[which] += 1

    def step(self) -> None:
        dice, member, which = self.rng.random(), self.rng.choice(self.members), self.rng.choice("oc")
        if dice < 0.35:
            self.open.append((member, member.introduce(self.now[which])))
        elif dice < 0.55 and self.open:
            at, link = self.open.pop(self.rng.randrange(len(self.open)))
            at.drop(link)
        elif dice < 0.65:
            self.restart(which)
        elif dice < 0.7:
            member.now_s += 2.0
        elif dice < 0.75:
            member.start()
            self.open.clear()
            self.meet()
        else:
            self.deliver_one()

    def meet(self) -> None:
        for member in self.members:
            for peer, link in list(member.links.items()):
                if peer != W3:
                    member.drop(link)
        self.pair.meet()

    def deliver_one(self) -> None:
        pair = self.pair
        ways = [(pair.to_two, pair.two, pair.to_one), (pair.to_one, pair.one, pair.to_two)]
        link, member, back = self.rng.choice(ways)
        if link.said:
            word = link.said.pop(0)
            member.hears(back, word)

    def counted(self) -> set[str]:
        return {chr(process[0]) for member in self.members for process in member.let_in_ever} & {"o", "c"}


@pytest.mark.parametrize("first", range(0, 2_000, 500))
def test_o4_in_any_order_only_one_of_two_copies_is_ever_let_in(first: int) -> None:
    both = 0
    for seed in range(first, first + 500):
        chaos = Chaos(seed)
        for _ in range(60):
            chaos.step()
            assert len(chaos.counted()) <= 1, f"seed {seed}"
        both += len(chaos.counted())
    assert both > 250
