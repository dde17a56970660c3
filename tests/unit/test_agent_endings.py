"""How an epoch ends: refused, handed over, released, fenced; and that its end is final."""

from __future__ import annotations

import pytest
from agent_rig import W1, W2, W3, AgentRig, G

from agents.core.effects import Fence, PlanKind, StartPlan, StoreBounds
from proto.decisions import Reason
from proto.health import SiteState
from proto.messages import ReleaseKind, RevokePhase, Verdict
from proto.units import NS_PER_MS, Epoch

# -- refusals ---------------------------------------------------------------------------------------------

LOST = (Reason.NOT_HOLDER, Reason.WRONG_INCARNATION, Reason.WRONG_CLAIM, Reason.INCARNATION_SUPERSEDED)


@pytest.mark.parametrize("reason", LOST)
def test_a_refused_renewal_fences_at_once(reason):
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.answer(verdict=Verdict.REFUSED, reason=reason, epoch=Epoch(2))
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)
    assert any(reason.value in text for text in rig.told)


@pytest.mark.parametrize(
    ("reason", "after"),
    [(Reason.STALE_HEARTBEAT, SiteState.ACTIVE), (Reason.REVOKE_DUE, SiteState.DEACTIVATING)],
)
def test_a_refusal_that_loses_nothing_fences_nothing(reason, after):
    """An attempt was overtaken; or the answers that told of a handover were lost, and its time is over."""
    rig = AgentRig().active()
    overtaken = rig.fresh_beat()
    rig.fresh_beat()
    rig.answer(overtaken, verdict=Verdict.REFUSED, reason=reason, epoch=Epoch(2))
    assert (rig.state, rig.fences()) == (after, 0)


def test_a_newest_attempt_that_is_stale_shows_a_twin_and_ends_the_incarnation():
    rig = AgentRig().active()
    before = rig.agent.incarnation
    rig.fresh_beat()
    rig.answer(verdict=Verdict.REFUSED, reason=Reason.STALE_HEARTBEAT, epoch=Epoch(2))
    assert rig.agent.incarnation != before
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_a_refusal_of_an_attempt_that_carried_another_epoch_means_nothing():
    rig = AgentRig().claiming()
    before = rig.sent[-2][1]
    assert before.groups[0].epoch == 0
    rig.renewed()
    rig.answer(before, verdict=Verdict.REFUSED, reason=Reason.NOT_HOLDER)
    assert (rig.state, rig.fences()) == (SiteState.ACTIVATING, 0)


def test_a_refused_claim_ends_the_epoch_without_any_action():
    rig = AgentRig().claiming()
    rig.answer(verdict=Verdict.REFUSED, reason=Reason.NOT_HOLDER)
    assert (rig.state, rig.fences()) == (SiteState.STANDBY, 0)
    assert rig.last(StoreBounds).finished_epoch == 2
    rig.stored()
    rig.fresh_beat()
    assert (rig.entry.epoch, rig.report.finished_epoch) == (0, 2)


def test_after_a_fence_the_epoch_is_over_for_good():
    rig = AgentRig().active()
    rig.fresh_beat()
    in_flight = rig.beat
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    rig.fenced()
    assert rig.state is SiteState.FENCED
    rig.renewed(in_flight, renewal=5)
    assert rig.state is SiteState.FENCED
    rig.stored()
    rig.release_answered(2)
    rig.fresh_beat()
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(2))
    assert rig.last(StoreBounds).epoch_bound == 2
    assert len([one for one in rig.all_of(StartPlan) if one.kind is PlanKind.ACTIVATE]) == 1


# -- handover and release ---------------------------------------------------------------------------------


def test_a_handover_deactivates_then_releases_with_the_claim_and_then_is_free():
    rig = AgentRig().active()
    claim = rig.entry.claim
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    assert (rig.state, rig.last(StartPlan).kind, rig.last(StartPlan).cause) == (
        SiteState.DEACTIVATING,
        PlanKind.DEACTIVATE,
        "handover",
    )
    rig.fresh_beat()
    assert rig.entry.epoch == 2, "renewals go on until it is down"
    rig.finished()
    assert rig.releases() == []
    rig.stored()
    rig.alone()
    release = rig.releases()[-1]
    assert (release.epoch, release.claim, release.kind) == (2, claim, ReleaseKind.CLEAN)
    assert release.incarnation == rig.agent.incarnation
    rig.release_answered(2)
    assert rig.group.end.release is None


def test_a_revoke_during_the_activation_lets_it_end_first():
    rig = AgentRig().claiming()
    rig.renewed(revoke=RevokePhase.REVOKING)
    assert rig.state is SiteState.ACTIVATING
    rig.finished()
    assert rig.state is SiteState.DEACTIVATING


def released_without_an_answer() -> AgentRig:
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    rig.finished()
    rig.stored()
    rig.alone()
    rig.passes(1_000)
    return rig


def test_an_unanswered_release_is_sent_until_it_is_answered():
    """Witnesses that come back after long have counted nothing: without it they would wait for a whole lease."""
    rig = released_without_an_answer()
    assert 3 <= len(rig.releases()) <= 5
    assert len({release.nonce for release in rig.releases()}) == len(rig.releases())
    rig.passes(60_000)
    count = len(rig.releases())
    rig.passes(1_000)
    assert len(rig.releases()) >= count + 3
    rig.release_answered(2)
    count = len(rig.releases())
    rig.passes(2_000)
    assert (len(rig.releases()), rig.group.end.release) == (count, None)


@pytest.mark.parametrize("twin", [False, True])
def test_a_release_waits_until_the_newest_heartbeat_or_a_later_one_is_answered(twin):
    """A clone that was cut off ends with its lease; it must hear of its twin before it releases under its feet."""
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    rig.fresh_beat()
    rig.finished()
    rig.stored()
    rig.passes(2_000)
    assert rig.releases() == [], "nobody heard what it sent last"
    rig.fresh_beat()
    rig.answer(reason=Reason.STALE_HEARTBEAT if twin else Reason.OK)
    rig.passes(2_000)
    assert bool(rig.releases()) is not twin
    assert (rig.group.end.release is None) is twin


@pytest.mark.parametrize("heard_before", [False, True], ids=["not-heard", "heard"])
def test_who_was_superseded_withdraws_a_release_that_waits(heard_before):
    """Who superseded it may be a copy that was told of it, and is still being fenced (simulation seed 2, live-copy)."""
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    rig.fresh_beat()
    rig.finished()
    rig.stored()
    if heard_before:
        rig.alone()
    rig.fresh_beat()
    count = len(rig.releases())
    rig.answer(verdict=Verdict.REFUSED, reason=Reason.INCARNATION_SUPERSEDED)
    rig.passes(2_000)
    assert (len(rig.releases()), rig.group.end.release) == (count, None)


def test_an_agent_that_is_to_stop_waits_for_the_answer_for_two_leases():
    rig = released_without_an_answer()
    rig.passes(60_000)
    rig.agent.shutdown(rig.clock.read())
    rig.passes(1_000)
    assert not rig.agent.finished()
    rig.passes(2 * rig.group.known_constants.ttl_ms)
    count = len(rig.releases())
    rig.passes(2_000)
    assert (len(rig.releases()), rig.agent.finished()) == (count, True)


def test_a_release_without_any_stream_waits_without_spinning():
    """Once the core asked to be woken at the same instant for ever (simulation seed 1003)."""
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    for witness in (W1, W2, W3):
        rig.agent.stream_closed(witness, rig.clock.read())
    rig.finished()
    rig.stored()
    rig.passes(1_000)
    rig.agent.stream_opened(W2, True, rig.clock.read())
    rig.alone()
    rig.passes(400)
    assert rig.releases()


def test_an_answer_about_another_epoch_does_not_end_the_release():
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    rig.finished()
    rig.stored()
    rig.release_answered(1)
    assert rig.group.end.release is not None


# -- what goes wrong on the site --------------------------------------------------------------------------


def test_a_deactivation_that_is_not_proven_is_fenced():
    rig = AgentRig().active()
    rig.fresh_beat()
    rig.renewed(renewal=3, revoke=RevokePhase.REVOKING)
    rig.finished(ok=False, text="pid 9 stays")
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)
    rig.fenced(ok=False)
    assert rig.state is SiteState.FENCING
    assert rig.releases() == []
    rig.fenced()
    rig.stored()
    rig.alone()
    assert rig.state is SiteState.FENCED
    assert [release.epoch for release in rig.releases()] == [2]


def test_a_failed_activation_unwinds_and_releases_with_the_reason():
    rig = AgentRig().activating()
    rig.finished(ok=False, text="step mount: exit 1")
    assert (rig.state, rig.last(StartPlan).kind) == (SiteState.DEACTIVATING, PlanKind.DEACTIVATE)
    rig.finished()
    rig.stored()
    rig.alone()
    release = rig.releases()[-1]
    assert release.kind is ReleaseKind.ACTIVATION_FAILED
    assert "step mount: exit 1" in release.text


def test_a_lost_guard_fences_and_dormant_ones_mean_nothing():
    rig = AgentRig().standby()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    assert rig.fences() == 0
    rig = AgentRig().active()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)
    assert "guard lost: killed" in rig.last(Fence).cause


def test_while_fencing_it_renews_nothing():
    rig = AgentRig().active()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    rig.fresh_beat()
    assert (rig.entry.epoch, rig.report.state) == (0, SiteState.FENCING)


def test_a_plan_that_was_overtaken_answers_to_nobody():
    rig = AgentRig().activating()
    overtaken = rig.last(StartPlan).plan
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    rig.agent.plan_finished(G, overtaken, True, "", rig.clock.read())
    assert rig.state is SiteState.FENCING


def test_the_lock_delay_passes_on_the_later_of_two_clocks_that_part():
    rig = AgentRig().claiming()
    rig.renewed(lock_delay_ms=500)
    rig.finished()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.take()
    rig.clock.monotonic_raw_ns -= 60 * NS_PER_MS
    rig.fenced()
    rig.stored()
    rig.alone()
    rig.clock.monotonic_raw_ns -= 90 * NS_PER_MS
    rig.passes(540)
    assert rig.releases() == [], "by one of them it was fenced 450 ms ago"
    rig.passes(100)
    assert len(rig.releases()) == 1
