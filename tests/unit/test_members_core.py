"""One lead, one member: when authority begins, when it ends, and what the lead must hear before it releases."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from member_rig import BUDGETS, CONSTANTS, DB, TTL_MS, G, Pair

from agents.core.member_group import MEMBER_TRANSITIONS, MemberInput
from agents.core.members import (
    ANYBODY,
    STANDING_TRANSITIONS,
    MemberBook,
    Standing,
    StandingInput,
    left_by_a_former_lead,
)
from proto.clock import ClockReading
from proto.lease import LeaseConstants, drift_shortened, member_deadline
from proto.member_messages import GroupAsk, MemberPhase, Order
from proto.units import NS_PER_MS, Epoch, InstantNs, MemberName


def at(ns: int) -> ClockReading:
    return ClockReading(InstantNs(ns), ns, ns)


def test_a_member_counts_from_before_it_asked_and_less_than_its_lead_has_left():
    asked, left = InstantNs(1_000), 500 * NS_PER_MS
    assert member_deadline(asked, left, 10_000) == asked + drift_shortened(left, 10_000)
    assert member_deadline(asked, left, 10_000) < asked + left


def test_the_time_of_the_answer_gives_nothing():
    pair = Pair()
    pair.passes(20)
    pair.renew(1)
    pair.member.tick(pair.true_ns)
    pair.collect()
    asked = pair.member.clock.at(pair.true_ns)
    while pair.asks:
        pair.take_ask()
    pair.passes(300, ticks=False)
    while pair.answers:
        pair.take_answer()
    assert {epoch for epoch, _ in pair.member.armed} == {1}
    until = asked + drift_shortened(TTL_MS * NS_PER_MS, CONSTANTS.drift_max_ppm)
    assert max(deadline for _, deadline in pair.member.armed) <= until


def test_a_member_holds_with_its_lead_and_is_renewed():
    pair = Pair().holding()
    for _ in range(20):
        pair.passes(100)
        pair.renew()
        pair.talk(1)
    assert pair.member.group.phase is MemberPhase.HOLDING
    assert len(pair.member.armed) > 10


def test_what_is_too_short_to_begin_with_is_not_begun_and_costs_nothing():
    """The lead's renewal is late; the epoch would end here for good in the moment in which it began."""
    pair = Pair()
    pair.renew(7)
    pair.passes(TTL_MS - BUDGETS.stop_budget_ms)
    pair.talk(1)
    assert pair.member.armed == []
    assert pair.member.disk == (0, 0)
    pair.renew()
    pair.talk()
    assert pair.member.group.phase is MemberPhase.HOLDING


def test_a_lead_that_ends_an_epoch_waits_for_the_members_word():
    pair = Pair().holding()
    pair.lead.book.end(Order.STOP, 1_000)
    assert pair.lead.may_hold(pair.true_ns)
    assert "member db1 is not verified down" in pair.lead.book.words(pair.lead.clock.read(pair.true_ns))
    pair.talk()
    assert not pair.lead.may_hold(pair.true_ns)
    assert not pair.member.runs(pair.true_ns)
    assert pair.member.disk == (7, 7)


def test_a_member_that_cannot_stop_is_waited_for_until_its_authority_has_run_out():
    pair = Pair().holding()
    pair.member.stuck = True
    pair.lead.book.end(Order.STOP, 1_000)
    pair.talk()
    assert pair.member.group.phase is MemberPhase.STOPPING
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(TTL_MS)
    assert not pair.lead.may_hold(pair.true_ns)
    assert not pair.member.runs(pair.true_ns)


def test_a_member_that_is_cut_off_runs_out_before_its_lead_calls_it_out():
    pair = Pair().holding()
    pair.lead.book.end(Order.FENCE)
    ran_until = pair.true_ns
    while pair.lead.may_hold(pair.true_ns):
        ran_until = pair.true_ns if pair.member.runs(pair.true_ns) else ran_until
        pair.passes(5)
        assert pair.true_ns < 3_000 * NS_PER_MS
    assert not pair.member.runs(pair.true_ns)
    assert ran_until < pair.true_ns


def test_a_restarted_lead_counts_a_full_ttl_against_whoever_was_handed_authority():
    pair = Pair().holding()
    pair.lead.restart(pair.true_ns)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(TTL_MS - 1, ticks=False)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(1, ticks=False)
    assert not pair.lead.may_hold(pair.true_ns)


def test_a_restarted_lead_ends_what_its_members_still_run():
    pair = Pair().holding()
    pair.lead.restart(pair.true_ns)
    pair.talk()
    assert not pair.member.runs(pair.true_ns)
    assert not pair.lead.may_hold(pair.true_ns)


def test_a_former_member_that_the_configuration_no_longer_names_is_waited_for():
    gone = MemberName("gone")
    left = left_by_a_former_lead((Epoch(7), TTL_MS, {gone: b"i" * 16}), at(0))
    book = MemberBook(G, (DB,), over=Epoch(7), left_behind=left)
    assert set(book.may_hold(at(TTL_MS * NS_PER_MS - 1))) == {gone}
    assert book.may_hold(at(TTL_MS * NS_PER_MS)) == {}


def test_an_epoch_that_ended_on_a_member_never_begins_there_again():
    pair = Pair().holding()
    pair.member.restart(pair.true_ns)
    pair.collect()
    assert pair.member.disk == (7, 7)
    pair.renew()
    pair.talk()
    assert pair.member.group.phase is MemberPhase.DOWN
    assert not pair.member.runs(pair.true_ns)


def test_an_answer_in_flight_is_void_when_its_epoch_was_called_over():
    pair = Pair()
    pair.passes(20)
    pair.renew(7)
    pair.member.tick(pair.true_ns)
    pair.collect()
    pair.passes(600)  # more asks go out
    pair.renew()
    pair.take_ask()
    late = pair.answers.pop()
    pair.lead.book.end(Order.STOP)
    pair.talk()
    assert pair.member.disk == (7, 7)
    pair.answers.append(late)
    pair.take_answer()
    assert pair.member.armed == []


def test_nothing_is_handed_out_before_it_is_on_disk():
    pair = Pair()
    pair.renew(7)
    ask = GroupAsk(G, MemberPhase.DOWN, Epoch(0), Epoch(0), Epoch(0), ())
    now = pair.lead.clock.read(pair.true_ns)
    assert pair.lead.book.asked(DB, b"one", ask, now, durable=False).order is not Order.HOLD
    assert not pair.lead.may_hold(pair.true_ns)
    assert pair.lead.book.asked(DB, b"one", ask, now).order is Order.HOLD
    assert pair.lead.may_hold(pair.true_ns)


def test_a_lead_whose_own_authority_is_over_hands_out_nothing():
    pair = Pair()
    pair.renew(7)
    ask = GroupAsk(G, MemberPhase.DOWN, Epoch(0), Epoch(0), Epoch(0), ())
    now = at(pair.lead.deadline)
    assert pair.lead.book.asked(DB, b"one", ask, now).order is not Order.HOLD


def test_the_word_of_another_process_ends_nothing():
    """It may be a copy of the member that was handed authority; its restart is told apart by nobody."""
    pair = Pair().holding()
    pair.lead.book.end(Order.STOP)
    pair.member.restart(pair.true_ns)
    pair.talk()
    assert pair.member.disk == (7, 7)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(TTL_MS)
    assert not pair.lead.may_hold(pair.true_ns)


@pytest.mark.parametrize("warm", [False, True])
def test_after_a_restart_of_the_lead_too_only_the_word_of_that_very_process_ends_it(warm):
    pair = Pair().holding()
    pair.copied()
    pair.asks.clear()
    pair.lead.restart(pair.true_ns, warm=warm)
    pair.copy.core.told_to_ask(pair.copy.clock.read(pair.true_ns))
    pair.copy.perform(pair.true_ns)
    pair.collect()
    while pair.asks:
        pair.take_ask()
    pair.lead.book.end(Order.STOP)
    assert pair.copy.disk == (7, 7)
    assert pair.member.runs(pair.true_ns)
    assert pair.lead.may_hold(pair.true_ns)
    pair.talk()
    assert not pair.member.runs(pair.true_ns)
    assert not pair.lead.may_hold(pair.true_ns)


def test_one_process_of_a_member_is_handed_authority_at_a_time():
    pair = Pair()
    pair.copied()
    pair.member.core.stream_closed(pair.member.clock.read(0))
    pair.asks.clear()
    pair.renew(7)
    pair.talk()
    assert pair.copy.runs(pair.true_ns)
    pair.member.core.stream_opened(pair.member.clock.read(pair.true_ns))
    pair.member.perform(pair.true_ns)
    pair.talk()
    assert not pair.member.runs(pair.true_ns)
    pair.check()


def test_nobodys_word_counts_when_the_leads_file_does_not_say_whose():
    pair = Pair().holding()
    pair.lead.handed = (Epoch(7), TTL_MS, {DB: ANYBODY})
    pair.lead.restart(pair.true_ns)
    pair.talk()
    assert pair.member.disk == (7, 7)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(TTL_MS)
    assert not pair.lead.may_hold(pair.true_ns)


def test_a_machine_that_was_copied_goes_on_as_another_instance():
    """Its end says nothing about the machine that it is a copy of, and both may not hold the next epoch."""
    pair = Pair().holding()
    before = pair.member.instance
    pair.ask_now()
    pair.member.core.machine_changed("copied", pair.member.clock.read(pair.true_ns))
    assert not pair.member.core.connected
    pair.member.perform(pair.true_ns)
    assert pair.member.instance != before
    pair.lead.book.end(Order.STOP)
    pair.talk()
    assert pair.member.disk == (7, 7)
    assert pair.lead.may_hold(pair.true_ns)
    pair.passes(TTL_MS)
    assert not pair.lead.may_hold(pair.true_ns)


def test_a_word_from_before_the_handing_out_proves_nothing():
    """Two asks say "down"; the first one's answer is still on its way when the lead hears the second."""
    pair = Pair()
    pair.passes(20)
    pair.asks.clear()
    pair.ask_now()
    pair.passes(20)
    pair.ask_now()
    pair.renew(7)
    pair.take_ask()
    pair.lead.book.end(Order.STOP)
    pair.take_ask()
    assert pair.lead.may_hold(pair.true_ns)
    pair.take_answer()
    assert pair.member.runs(pair.true_ns)


def test_clocks_that_disagree_end_what_they_counted():
    pair = Pair().holding()
    now = pair.member.clock.read(pair.true_ns)
    pair.member.core.tick(now._replace(wall_ns=now.wall_ns + 10_000 * NS_PER_MS))
    pair.member.perform(pair.true_ns)
    assert not pair.member.runs(pair.true_ns)
    assert pair.member.disk == (7, 7)


def test_a_lost_guard_is_a_fence_and_the_lead_hears_of_it():
    pair = Pair().holding()
    pair.member.core.guard_lost(G, "killed", pair.member.clock.read(pair.true_ns))
    pair.member.perform(pair.true_ns)
    pair.talk()
    assert not pair.lead.may_hold(pair.true_ns)
    assert not pair.lead.book.seats[DB].holds(Epoch(7))


def test_an_orderly_stop_of_the_member_ends_what_it_holds():
    pair = Pair().holding()
    pair.member.core.shutdown(pair.member.clock.read(pair.true_ns))
    pair.member.perform(pair.true_ns)
    assert pair.member.core.finished()
    assert pair.member.disk == (7, 7)


@pytest.mark.parametrize("pair", list(itertools.product(MemberPhase, MemberInput)), ids=str)
def test_every_pair_of_the_members_table_is_meant(pair):
    phase, what = pair
    after = MEMBER_TRANSITIONS.get(pair)
    if what is MemberInput.FENCE:
        live = phase in {MemberPhase.STARTING, MemberPhase.HOLDING, MemberPhase.STOPPING}
        assert after is (MemberPhase.FENCING if live else None)
    if after is MemberPhase.STARTING:
        assert pair == (MemberPhase.DOWN, MemberInput.AUTHORITY)
    if after is MemberPhase.DOWN:
        assert what in {MemberInput.VERIFIED_DOWN, MemberInput.STOPPED, MemberInput.FENCED}


def test_only_proof_and_time_lead_out_of_may_hold():
    out = {what for (_, what), after in STANDING_TRANSITIONS.items() if after is Standing.OUT}
    assert out == {StandingInput.VERIFIED_DOWN, StandingInput.RAN_OUT}


def test_what_a_guard_still_holds_goes_on_and_ends_as_ever():
    pair = Pair().holding()
    held = pair.member.group.held
    assert held is not None
    pair.member.adopt(pair.true_ns, held)
    assert pair.member.group.phase is MemberPhase.HOLDING
    pair.renew()
    pair.talk()
    assert pair.member.armed[-1] > pair.member.armed[0]
    pair.lead.book.end(Order.STOP, 1_000)
    pair.talk()
    assert pair.member.disk == (7, 7)
    assert not pair.lead.may_hold(pair.true_ns)


def test_a_host_that_only_watches_touches_nothing_and_never_holds():
    pair = Pair(enforce=False)
    assert pair.member.plans == []
    pair.renew(7)
    pair.talk()
    assert pair.member.group.phase is MemberPhase.UNKNOWN
    assert "only watches" in pair.member.group.ask().lacks[0]
    assert pair.member.armed == []
    pair.member.core.shutdown(pair.member.clock.read(pair.true_ns))
    assert pair.member.core.finished()
    assert pair.member.plans == []


def test_a_members_times_that_do_not_fit_the_lease_are_said_before_they_matter():
    pair = Pair()
    ask = pair.member.group.ask()
    assert ask.lacks == ()
    known = LeaseConstants(500, 10_000, 0)
    now = pair.lead.clock.read(pair.true_ns)
    order = pair.lead.book.asked(DB, b"one", ask, now, known=known)
    assert (order.order, order.ttl_ms) == (Order.FENCE, 500)
    pair.member.group.ordered(order, pair.member.clock.read(0), pair.member.clock.read(0))
    assert pair.member.group.ask().lacks == ()
    order = pair.lead.book.asked(DB, b"one", ask, now, known=replace(known, ttl_ms=420))
    pair.member.group.ordered(order, pair.member.clock.read(0), pair.member.clock.read(0))
    assert any("stop_budget 200 ms" in words for words in pair.member.group.ask().lacks)
