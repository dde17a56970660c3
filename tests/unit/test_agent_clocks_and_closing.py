"""Clocks that disagree, agents that only watch, shutdowns, streams."""

from __future__ import annotations

import pytest
from agent_rig import TTL_MS, W1, W2, W3, AgentRig, G

from agents.core.effects import ExtendDeadline, Fence, Send, StartPlan, StoreBounds
from agents.core.health import HealthSummary
from agents.core.view import agent_view
from proto import limits
from proto.decisions import Reason
from proto.health import DataChecks, SiteState
from proto.messages import LAG_UNKNOWN_MS, NoticeKind, Ping, RevokePhase, Verdict
from proto.units import NS_PER_MS, Epoch

# -- clocks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["wall_ns", "monotonic_raw_ns"])
def test_clocks_that_disagree_end_the_incarnation(clock):
    rig = AgentRig().active()
    before, in_flight = rig.agent.incarnation, rig.fresh_beat()
    setattr(rig.clock, clock, getattr(rig.clock, clock) - 3_000 * NS_PER_MS)
    rig.passes(400)
    assert rig.agent.incarnation != before
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)
    assert rig.beat.incarnation == rig.agent.incarnation
    rig.renewed(in_flight, renewal=9)
    rig.fenced()
    rig.stored()
    assert rig.state is SiteState.FENCED


def test_clocks_that_disagree_while_claiming_void_the_claim():
    rig = AgentRig().claiming()
    in_flight = rig.beat
    rig.clock.wall_ns += 3_600 * 1_000 * NS_PER_MS
    rig.passes(20)
    rig.renewed(in_flight)
    assert (rig.state, rig.fences()) == (SiteState.STANDBY, 0)
    assert rig.last(StoreBounds).finished_epoch == 2


def test_small_steps_and_drift_are_daily_business():
    rig = AgentRig().standby()
    before = rig.agent.incarnation
    for _ in range(200):
        rig.passes(500)
        rig.clock.wall_ns += 5 * NS_PER_MS
    assert rig.agent.incarnation == before


# -- enforce: false, shutdown, streams --------------------------------------------------------------------


def test_an_agent_that_only_watches_never_acts():
    rig = AgentRig(enforce=False)
    rig.agent.observe(G, HealthSummary(True, False, DataChecks.NONE, LAG_UNKNOWN_MS), rig.clock.read())
    for verdict in (Verdict.DORMANT, Verdict.GRANTED, Verdict.RENEWED, Verdict.REFUSED):
        rig.fresh_beat()
        rig.answer(verdict=verdict, epoch=Epoch(2), revoke=RevokePhase.REVOKING, reason=Reason.NOT_HOLDER)
    rig.notice(NoticeKind.GRANTED, 3)
    rig.agent.guard_lost(G, "x", rig.clock.read())
    rig.clock.wall_ns += 10**13
    rig.passes(3_000)
    assert not [one for one in rig.effects if isinstance(one, StartPlan | Fence | ExtendDeadline | StoreBounds)]
    assert (rig.report.enforce, rig.report.ready) == (False, True)
    rig.agent.shutdown(rig.clock.read())
    assert rig.agent.finished()


def test_a_shutdown_deactivates_and_releases_before_it_is_finished():
    rig = AgentRig().active()
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    assert rig.state is SiteState.DEACTIVATING
    assert not rig.agent.finished()
    rig.finished()
    assert not rig.agent.finished()
    rig.stored()
    assert not rig.agent.finished()
    rig.release_answered(2)
    assert rig.agent.finished()


def test_a_shutdown_of_a_dormant_site_is_finished_at_once():
    rig = AgentRig().standby()
    rig.agent.shutdown(rig.clock.read())
    assert rig.agent.finished()


def test_a_shutdown_while_claiming_declines_and_releases_in_case_it_was_committed():
    rig = AgentRig().claiming()
    claim = rig.entry.claim
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    assert not rig.agent.finished()
    rig.stored()
    rig.alone()
    assert [(release.epoch, release.claim) for release in rig.releases()] == [(2, claim)]
    rig.release_answered(2, Reason.NOT_CLAIMED)
    assert rig.agent.finished()


def test_every_stream_is_pinged_and_only_one_carries_heartbeats():
    rig = AgentRig().standby()
    rig.effects.clear()
    rig.passes(3_100)
    pinged = [one.witness for one in rig.all_of(Send) if isinstance(one.message, Ping)]
    assert {witness: pinged.count(witness) for witness in (W1, W2, W3)} == {W1: 3, W2: 3, W3: 3}
    assert limits.PING_INTERVAL_NS == 1_000 * NS_PER_MS


def test_without_streams_nothing_is_sent_and_nothing_spins():
    rig = AgentRig(streams=0)
    rig.finished()
    rig.passes(5_000)
    assert rig.all_of(Send) == []


def test_the_status_is_plain_and_says_what_remains():
    rig = AgentRig().active()
    status = agent_view(rig.agent, rig.clock.read())
    group = status["groups"][0]
    assert (group["state"], group["active"], group["epoch"]) == ("active", True, 2)
    assert 0 < group["remaining_ms"] <= TTL_MS
    assert [stream["connected"] for stream in status["streams"]] == [True] * 3
