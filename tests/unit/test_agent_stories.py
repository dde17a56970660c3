"""The agent's stories from the start to a running lease: who is asked what, in which order."""

from __future__ import annotations

import pytest
from agent_rig import ANSWER, TTL_MS, W1, W2, W3, AgentRig, G

from agents.core.effects import ExtendDeadline, PlanKind, StartPlan, StoreBounds
from proto.health import DataChecks, SiteState
from proto.messages import HeartbeatAnswer, NoticeKind, Verdict
from proto.timing import SiteBudgets, default_budgets
from proto.units import NS_PER_MS, Epoch, Nonce, RenewalNo

# -- from the start to active -----------------------------------------------------------------------------


def test_it_begins_by_proving_everything_down_and_is_not_ready_until_it_looked():
    rig = AgentRig()
    assert rig.last(StartPlan).kind is PlanKind.VERIFY_DOWN
    assert (rig.state, rig.report.state, rig.report.ready) == (SiteState.UNKNOWN, SiteState.UNKNOWN, False)
    rig.standby()
    assert (rig.report.state, rig.report.ready, rig.report.data_checks) == (
        SiteState.STANDBY,
        True,
        DataChecks.PASSED,
    )


def test_a_proof_that_fails_is_repeated_and_said():
    rig = AgentRig()
    rig.finished(ok=False, text="pid 7 is alive")
    assert rig.state is SiteState.UNKNOWN
    assert any("pid 7" in text for text in rig.told)
    rig.passes(2_100)
    assert len(rig.all_of(StartPlan)) == 2
    rig.finished()
    assert rig.state is SiteState.STANDBY


def test_what_a_former_life_acted_upon_is_finished_by_the_proof():
    rig = AgentRig(bounds=(7, 5))
    rig.finished()
    assert (rig.last(StoreBounds).epoch_bound, rig.last(StoreBounds).finished_epoch) == (7, 7)
    rig.stored()
    rig.fresh_beat()
    assert (rig.report.epoch_bound, rig.report.finished_epoch) == (7, 7)


def test_a_grant_is_claimed_only_after_its_bound_is_durable():
    rig = AgentRig().standby()
    rig.fresh_beat()
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(2))
    assert rig.last(StoreBounds).epoch_bound == 2
    rig.passes(400)
    assert rig.entry.epoch == 0
    rig.stored()
    rig.fresh_beat()
    assert rig.entry.epoch == 2
    assert rig.entry.claim != bytes(16)
    assert rig.report.epoch_bound == 2


def test_a_noticed_grant_is_claimed_and_gives_nothing_by_itself():
    rig = AgentRig().standby()
    rig.notice(NoticeKind.GRANTED, 2)
    rig.stored()
    rig.fresh_beat()
    assert rig.entry.epoch == 2
    assert rig.state is SiteState.STANDBY
    assert not rig.group.holder.alive(rig.clock.read())


def test_the_answer_to_the_claim_starts_the_activation_with_deadlines_from_the_sending():
    rig = AgentRig().claiming()
    sent_ns = rig.clock.boottime_ns
    rig.passes(50)
    rig.renewed()
    plan = rig.last(StartPlan)
    assert (plan.kind, plan.epoch) == (PlanKind.ACTIVATE, 2)
    assert plan.deadlines is not None
    assert sent_ns - 2 * NS_PER_MS <= plan.deadlines.deadline - TTL_MS * NS_PER_MS <= sent_ns
    assert rig.state is SiteState.ACTIVATING
    rig.finished()
    assert rig.state is SiteState.ACTIVE
    rig.fresh_beat()
    assert rig.report.state is SiteState.ACTIVE


def test_an_unanswered_claim_is_claimed_again_with_the_same_claim():
    rig = AgentRig().claiming()
    claim = rig.entry.claim
    rig.fresh_beat()
    assert (rig.entry.epoch, rig.entry.claim) == (2, claim)


@pytest.mark.parametrize(
    "hindrance", ["not enforcing", "not down", "closing", "old epoch", "timing unsafe", "releasing"]
)
def test_a_grant_that_cannot_be_used_is_not_claimed(hindrance):
    if hindrance == "not enforcing":
        rig = AgentRig(enforce=False)
    elif hindrance == "timing unsafe":
        rig = AgentRig(budgets=SiteBudgets(900, 100)).standby()
    elif hindrance == "old epoch":
        rig = AgentRig(bounds=(5, 5)).standby()
    else:
        rig = AgentRig()
        if hindrance != "not down":
            rig.standby()
    if hindrance == "closing":
        rig.agent.shutdown(rig.clock.read())
    if hindrance == "releasing":
        rig = AgentRig().active()
        rig.agent.guard_lost(G, "gone", rig.clock.read())
        rig.take()
        rig.fenced()
    stores = len(rig.all_of(StoreBounds))
    rig.fresh_beat()
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(3))
    rig.passes(400)
    assert len(rig.all_of(StoreBounds)) == stores
    assert rig.entry.epoch == 0


def test_what_the_guard_lacks_makes_the_site_not_ready_until_it_is_there():
    rig = AgentRig()
    rig.standby()
    lacks = ("address 192.0.2.10 on eth0: there is no interface eth0",)
    rig.agent.guard_lacks(G, lacks, rig.clock.read())
    rig.passes(20)
    assert not rig.report.ready
    assert rig.report.blockers[:1] == lacks
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(7))
    assert rig.all_of(StoreBounds) == [], "a grant that this host cannot carry is not claimed"
    rig.agent.guard_lacks(G, (), rig.clock.read())
    rig.take()
    rig.fresh_beat()
    assert rig.report.ready


def test_a_ttl_in_which_addresses_would_flap_is_reported_with_its_numbers_and_not_ready():
    rig = AgentRig(addresses=True).standby()
    rig.fresh_beat()
    rig.answer()
    rig.fresh_beat()
    assert not rig.report.ready
    assert "raise ttl_ms of the group to 3850 or more" in rig.group.host_blockers()[0]


def test_unsafe_timing_is_reported_with_its_numbers_and_not_ready():
    rig = AgentRig(budgets=SiteBudgets(900, 100)).standby()
    rig.fresh_beat()
    rig.answer()
    rig.fresh_beat()
    assert not rig.report.ready
    assert "900" in " ".join(rig.report.blockers)
    assert "1000" in " ".join(rig.report.blockers)


# -- renewals ---------------------------------------------------------------------------------------------


def test_renewals_extend_every_guard_from_their_own_sending():
    rig = AgentRig().active()
    rig.fresh_beat()
    sent_ns = rig.clock.boottime_ns
    rig.passes(30)
    rig.renewed(renewal=3)
    extended = rig.last(ExtendDeadline)
    assert extended.epoch == 2
    assert sent_ns - 2 * NS_PER_MS <= extended.deadlines.deadline - TTL_MS * NS_PER_MS <= sent_ns


def test_three_renewals_go_out_per_ttl():
    rig = AgentRig().active()
    before = len(rig.sent)
    for _ in range(30):
        rig.passes(100)
        rig.renewed(renewal=9)
    assert 8 <= len(rig.sent) - before <= 11


def test_an_unanswered_renewal_goes_at_once_over_another_stream():
    rig = AgentRig().active()
    rig.fresh_beat()
    assert rig.sent[-1][0] == W1
    count, since = len(rig.sent), rig.clock.boottime_ns
    rig.passes(250)
    assert next(witness for witness, _ in rig.sent[count:]) != W1
    assert rig.beat.seq > rig.sent[count - 1][1].seq
    assert rig.beat.nonce != rig.sent[count - 1][1].nonce
    assert rig.clock.boottime_ns - since <= 250 * NS_PER_MS
    rig.renewed(renewal=3)
    assert rig.state is SiteState.ACTIVE


def test_a_closed_stream_moves_the_renewal_at_once():
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.agent.stream_closed(W1, rig.clock.read())
    rig.take()
    assert rig.sent[-1][0] in (W2, W3)


def test_a_late_answer_counts_from_its_own_sending_and_does_not_shorten():
    rig = AgentRig().active()
    late = rig.fresh_beat()
    rig.passes(110)
    newer = rig.fresh_beat()
    rig.renewed(newer, renewal=4)
    deadline = rig.group.holder.authority.deadline
    extensions = len(rig.all_of(ExtendDeadline))
    rig.renewed(late, renewal=3)
    assert rig.group.holder.authority.deadline == deadline
    assert len(rig.all_of(ExtendDeadline)) == extensions


def test_an_answer_is_taken_once_and_only_for_a_nonce_of_ours():
    rig = AgentRig().active()
    beat = rig.fresh_beat()
    rig.renewed(beat, renewal=3)
    deadline = rig.group.holder.authority.deadline
    rig.passes(100)
    rig.renewed(beat, renewal=4)
    rig.agent.received(W1, HeartbeatAnswer(Nonce(b"x" * 16), (ANSWER,)), rig.clock.read())
    assert rig.group.holder.authority.deadline == deadline


def test_a_positive_answer_to_an_attempt_that_carried_no_epoch_gives_nothing():
    rig = AgentRig().standby()
    beat = rig.fresh_beat()
    rig.answer(beat, verdict=Verdict.RENEWED, epoch=Epoch(2), renewal=RenewalNo(1))
    assert rig.state is SiteState.STANDBY
    assert len(rig.all_of(StartPlan)) == 1


def test_without_answers_it_stops_at_stop_at_and_releases_when_down():
    rig = AgentRig().active()
    deadlines = rig.last(ExtendDeadline).deadlines
    rig.passes((deadlines.stop_at - rig.clock.boottime_ns) // NS_PER_MS - 1)
    assert rig.state is SiteState.ACTIVE
    rig.passes(1)
    assert (rig.state, rig.last(StartPlan).kind) == (SiteState.DEACTIVATING, PlanKind.DEACTIVATE)
    rig.finished()
    assert rig.state is SiteState.STANDBY
    assert rig.last(StoreBounds).finished_epoch == 2
    assert rig.releases() == []
    rig.stored()
    rig.alone()
    assert [release.epoch for release in rig.releases()] == [2]


def test_a_stop_that_takes_too_long_is_fenced_at_kill_at():
    rig = AgentRig().active()
    deadlines = rig.last(ExtendDeadline).deadlines
    rig.passes((deadlines.kill_at - rig.clock.boottime_ns) // NS_PER_MS + 1)
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_an_activation_is_fenced_when_the_lease_runs_out_during_it():
    rig = AgentRig().activating()
    rig.passes(TTL_MS)
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_an_agent_that_slept_over_its_deadline_fences_whatever_answer_waits():
    rig = AgentRig().active()
    beat = rig.fresh_beat()
    rig.clock.advance(5_000 * NS_PER_MS)
    rig.renewed(beat, renewal=9)
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_a_claim_that_is_answered_too_late_to_begin_waits_for_a_younger_answer():
    """It waited out an election: with it the site would begin, be fenced at once and be quarantined for it."""
    rig = AgentRig().claiming()
    late = rig.beat
    rig.passes(TTL_MS - default_budgets(TTL_MS).stop_budget_ms)
    rig.renewed(late)
    assert (rig.state, rig.group.holder.authority) == (SiteState.STANDBY, None)
    assert rig.fences() == 0
    rig.renewed(rig.beat, renewal=2)
    assert rig.state is SiteState.ACTIVATING


def test_where_answers_stay_too_late_the_site_does_not_renew_for_ever_what_it_cannot_use():
    rig = AgentRig().claiming()
    for number in range(1, 9):
        late = rig.beat
        rig.passes(TTL_MS - default_budgets(TTL_MS).stop_budget_ms + 1)
        rig.renewed(late, renewal=number)
        if rig.fences():
            break
    assert rig.fences() == 1
    assert number <= 3
