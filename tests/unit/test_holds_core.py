"""The two sides of a hold, each alone: what is promised and kept, what is asked and counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.core.effects import AnswerSite, SendSite, StorePromise
from agents.core.holds_given import ANSWERS_WAITING_MAX, HoldsGiven, Standing
from agents.core.holds_taken import ROUND_AGAIN_NS, Held, HoldsTaken
from agents.core.promise import Promise
from proto.clock import ClockReading, ManualClock
from proto.holds import NO_CHAIN, chain_next, promise_wait
from proto.lease import LeaseConstants
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRefusal, HoldRequest, HoldVerdict
from proto.units import NS_PER_MS, Chain, Claim, Epoch, GroupId, Incarnation, Nonce, SiteId

A, B, C, G = SiteId("dc-a"), SiteId("dc-b"), SiteId("dc-c"), GroupId("erp")
CONSTANTS = LeaseConstants(3_000, 10_000, 500)
LONG = LeaseConstants(60_000, 10_000, 0)
CLAIM, LIFE = Claim(b"c" * 16), Incarnation(b"i" * 16)
INTERVAL_NS = 1_000 * NS_PER_MS
DOWN = Standing(
    enforcing=True,
    down=True,
    claiming=False,
    bound=Epoch(3),
    granted=Epoch(0),
    holds=True,
    sites=(A, B),
    hears_witnesses=False,
)


def request(**changes: object) -> HoldRequest:
    plain = HoldRequest(
        nonce=Nonce(b"n" * 16),
        group=G,
        site=A,
        incarnation=LIFE,
        epoch=Epoch(5),
        claim=CLAIM,
        ttl_ms=CONSTANTS.ttl_ms,
        drift_max_ppm=CONSTANTS.drift_max_ppm,
        lock_delay_ms=CONSTANTS.lock_delay_ms,
        number=7,
        chain=Chain(b"x" * 16),
        sites_version=1,
    )
    return replace(plain, **changes)


class Promiser:
    def __init__(self, stored: Promise | None = None, *, cold: bool = False, linked: bool = True) -> None:
        self.clock = ManualClock()
        self.effects: list = []
        since = self.clock.read() if cold else None
        self.given = HoldsGiven(G, self.effects.append, stored=stored, cold_since=since, linked=linked)

    def now(self) -> ClockReading:
        return self.clock.read()

    def ask(self, standing: Standing = DOWN, **changes: object) -> HoldAnswer | None:
        """The answer that left, if one did: what is promised leaves when it is on disk."""
        self.given.asked(A, request(**changes), self.now(), standing)
        return self.answer()

    def answer(self) -> HoldAnswer | None:
        answers = [one.message for one in self.effects if isinstance(one, AnswerSite)]
        self.effects[:] = [one for one in self.effects if not isinstance(one, AnswerSite)]
        return answers[-1] if answers else None

    def held(self, **changes: object) -> HoldAnswer | None:
        assert self.ask(**changes) is None
        self.given.promise_stored()
        return self.answer()


def test_a_promise_is_on_disk_before_its_answer_leaves() -> None:
    one = Promiser()
    assert one.ask() is None
    assert [type(effect) for effect in one.effects] == [StorePromise]
    one.given.promise_stored()
    answer = one.answer()
    assert answer is not None
    assert (answer.verdict, answer.number, answer.nonce) == (HoldVerdict.HELD, 7, b"n" * 16)


def test_while_one_is_stored_others_wait_for_a_store_of_their_own_and_are_bounded() -> None:
    one = Promiser()
    one.ask()
    for number in range(ANSWERS_WAITING_MAX):
        assert one.ask(number=8 + number) is None
    busy = one.ask(number=99)
    assert busy is not None
    assert busy.refusal is HoldRefusal.BUSY
    one.given.promise_stored()
    first = one.answer()
    assert first is not None
    assert first.number == 7
    one.given.promise_stored()
    last = one.answer()
    assert last is not None
    assert last.number == 7 + ANSWERS_WAITING_MAX


def test_a_promise_lasts_for_d_from_its_receipt_by_both_clocks_and_the_longest_counts() -> None:
    one = Promiser()
    one.held()
    wait_ns = promise_wait(CONSTANTS)
    assert wait_ns > (CONSTANTS.ttl_ms + CONSTANTS.lock_delay_ms) * NS_PER_MS
    one.clock.advance(wait_ns - 1)
    assert not one.given.may_claim(one.now())
    one.clock.boottime_ns += 1
    assert not one.given.may_claim(one.now()), "MONOTONIC_RAW has not passed it"
    one.clock.monotonic_raw_ns += 1
    assert one.given.may_claim(one.now())
    one.held(number=8, ttl_ms=60_000)
    one.held(number=9)
    one.clock.advance(2 * wait_ns)
    assert not one.given.may_claim(one.now())


@pytest.mark.parametrize(
    ("standing", "changes", "why"),
    [
        ({}, {"site": B}, HoldRefusal.WRONG_SITE),
        ({"sites": (B, C)}, {}, HoldRefusal.NOT_A_SITE),
        ({}, {"ttl_ms": 600_001}, HoldRefusal.BAD_CONSTANTS),
        ({"holds": False}, {}, HoldRefusal.HOLDS_OFF),
        ({"enforcing": False}, {}, HoldRefusal.NOT_ENFORCING),
        ({"permit": True}, {}, HoldRefusal.PERMIT),
        ({"down": False}, {}, HoldRefusal.NOT_DOWN),
        ({"claiming": True}, {}, HoldRefusal.CLAIMING),
        ({"bound": Epoch(5)}, {}, HoldRefusal.EPOCH_OLD),
        ({"granted": Epoch(6)}, {}, HoldRefusal.GRANT_KNOWN),
    ],
)
def test_who_may_not_promise_says_why_and_promises_nothing(
    standing: dict[str, object], changes: dict[str, object], why: HoldRefusal
) -> None:
    one = Promiser()
    answer = one.ask(replace(DOWN, **standing), **changes)
    assert answer is not None
    assert (answer.verdict, answer.refusal) == (HoldVerdict.REFUSED, why)
    assert one.given.may_claim(one.now())


def test_a_site_that_hears_the_witnesses_relays() -> None:
    answer = Promiser().ask(replace(DOWN, hears_witnesses=True))
    assert answer is not None
    assert answer.verdict is HoldVerdict.RELAY


def test_one_instance_is_promised_and_who_is_behind_it_is_told() -> None:
    one = Promiser()
    one.held(number=7)
    behind, again = one.ask(number=6), one.held(number=7)
    assert behind is not None
    assert behind.verdict is HoldVerdict.STALE
    assert again is not None
    assert again.verdict is HoldVerdict.HELD
    other = one.ask(number=8, claim=Claim(b"d" * 16))
    assert other is not None
    assert other.refusal is HoldRefusal.OTHER_CLAIM
    older = one.ask(number=9, epoch=Epoch(4))
    assert older is not None
    assert older.refusal is HoldRefusal.EPOCH_OLD
    assert one.held(number=10, epoch=Epoch(6), claim=Claim(b"d" * 16)) is not None


def end(**changes: object) -> HoldEnd:
    return replace(HoldEnd(Nonce(b"e" * 16), G, A, LIFE, Epoch(5), CLAIM, 7), **changes)


def test_the_holders_end_ends_the_promise_at_once_and_durably() -> None:
    one = Promiser()
    one.held()
    for wrong in (end(number=6), end(claim=Claim(b"d" * 16)), end(incarnation=Incarnation(b"j" * 16))):
        one.given.ended(A, wrong)
        assert not one.given.may_claim(one.now())
        assert one.answer() is None
    one.given.ended(A, end())
    assert one.answer() is None
    one.given.promise_stored()
    assert isinstance(one.answer(), HoldEndAnswer)
    assert one.given.may_claim(one.now())
    late = one.ask(number=7)
    assert late is not None
    assert late.refusal is HoldRefusal.EPOCH_OLD, "a request that comes after the end begins nothing"


def test_after_a_cold_start_nothing_is_claimed_for_the_longest_lease_whatever_is_stored() -> None:
    one = Promiser(cold=True)
    assert not one.given.may_claim(one.now()), "the witnesses have not said yet what may be lived on"
    one.given.tell(LONG)
    one.given.tell(None)
    one.clock.advance(promise_wait(LONG) - 1)
    assert not one.given.may_claim(one.now())
    one.clock.advance(1)
    assert one.given.may_claim(one.now())


def test_a_stored_promise_makes_a_cold_start_wait_also_where_the_site_link_is_gone() -> None:
    before = Promiser()
    before.held()
    one = Promiser(replace(before.given.promise, until=0, until_raw_ns=0), cold=True, linked=False)
    one.clock.advance(promise_wait(CONSTANTS) - 1)
    assert not one.given.may_claim(one.now())
    one.clock.advance(1)
    assert one.given.may_claim(one.now())
    assert Promiser(cold=True, linked=False).given.may_claim(one.now())


# -- the holder -----------------------------------------------------------------------------------------------

HELD = Held(A, LIFE, Epoch(5), CLAIM, CONSTANTS)


class Holder:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.effects: list[SendSite] = []
        numbers = iter(range(1, 1_000))
        self.taken = HoldsTaken(G, self.effects.append, lambda: next(numbers).to_bytes(16, "big"))

    def round(self) -> dict[SiteId, HoldRequest]:
        self.effects.clear()
        assert self.taken.tick(HELD, (B, C), 4, INTERVAL_NS, self.clock.read())
        return {effect.site: effect.message for effect in self.effects}

    def says(self, site: SiteId, asked: HoldRequest, verdict: HoldVerdict = HoldVerdict.HELD) -> bool:
        return self.taken.answered(site, HoldAnswer(asked.nonce, G, asked.epoch, asked.number, verdict))


def test_authority_needs_every_other_site_and_counts_from_before_the_earliest_request() -> None:
    one = Holder()
    first_at = one.clock.now()
    first = one.round()
    one.says(B, first[B])
    assert one.taken.authority(CONSTANTS) is None
    assert one.taken.mark is None
    one.clock.advance(ROUND_AGAIN_NS)
    second = one.round()
    one.clock.advance(50 * NS_PER_MS)
    one.says(C, second[C])
    found = one.taken.authority(CONSTANTS)
    assert found is not None
    assert found.deadline == first_at + CONSTANTS.ttl_ns
    one.says(B, second[B])
    found = one.taken.authority(CONSTANTS)
    assert found is not None
    assert found.deadline == first_at + ROUND_AGAIN_NS + CONSTANTS.ttl_ns
    assert one.taken.mark is not None
    chain = chain_next(chain_next(NO_CHAIN, Epoch(5), CLAIM, 1), Epoch(5), CLAIM, 2)
    assert one.taken.mark == (5, 2, chain)


def test_an_answer_counts_for_its_own_nonce_site_and_epoch_and_once() -> None:
    one = Holder()
    asked = one.round()
    wrong = (
        (C, HoldAnswer(asked[B].nonce, G, Epoch(5), 1, HoldVerdict.HELD)),
        (B, HoldAnswer(Nonce(b"?" * 16), G, Epoch(5), 1, HoldVerdict.HELD)),
        (B, HoldAnswer(asked[B].nonce, G, Epoch(6), 1, HoldVerdict.HELD)),
        (B, HoldAnswer(asked[B].nonce, G, Epoch(5), 2, HoldVerdict.HELD)),
    )
    one.says(C, asked[C])
    for site, answer in wrong:
        assert not one.taken.answered(site, answer)
        assert one.taken.authority(CONSTANTS) is None


def test_the_newest_round_cannot_be_stale() -> None:
    one = Holder()
    first = one.round()
    one.clock.advance(ROUND_AGAIN_NS)
    second = one.round()
    assert not one.says(B, first[B], HoldVerdict.STALE)
    assert one.says(B, second[B], HoldVerdict.STALE)


def test_an_end_is_told_when_it_is_durable_the_lock_delay_has_passed_and_nobody_is_ahead() -> None:
    one = Holder()
    asked = one.round()
    one.says(B, asked[B])
    one.effects.clear()
    one.taken.epoch_over(HELD, one.clock.read(), 500 * NS_PER_MS)
    one.taken.tell_ends(one.clock.read())
    one.taken.durable(one.clock.now())
    one.taken.tell_ends(one.clock.read())
    assert one.effects == []
    one.clock.advance(500 * NS_PER_MS)
    one.taken.tell_ends(one.clock.read())
    assert [effect.site for effect in one.effects] == [B], "C has not answered the newest round: a twin may be ahead"
    message = one.effects[0].message
    assert isinstance(message, HoldEnd)
    one.taken.end_answered(B, HoldEndAnswer(message.nonce, G, Epoch(5)))
    one.effects.clear()
    one.clock.advance(1_000 * NS_PER_MS)
    one.taken.tell_ends(one.clock.read())
    assert one.effects == []
