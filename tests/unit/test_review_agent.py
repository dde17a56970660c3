"""Orders of events, found by review, in which an agent broke a promise."""

from __future__ import annotations

import pytest
from review_rig import HEARD_MS, G, W, activating, answer, claimed, heard, later, sent, site_agent

from agents.core.effects import PlanKind, StartPlan
from agents.core.health import HealthSummary
from proto import limits
from proto.clock import ManualClock
from proto.codec import AGENT_MESSAGES, REPORTS
from proto.decisions import Reason
from proto.health import DataChecks, SiteState
from proto.lease import LeaseConstants
from proto.messages import Heartbeat, HeartbeatAnswer, Release, ReleaseKind, Verdict
from proto.units import NS_PER_MS, GroupId

WORDY = HealthSummary(
    ready=False,
    healthy=False,
    data_checks=DataChecks.NONE,
    lag_ms=-1,
    blockers=tuple(f"ready probe {number}: {'x' * 150}" for number in range(16)),
)


# -- fixed ----------------------------------------------------------------------------------------------------


def test_a_failed_activation_whose_deactivation_is_not_proven_is_not_released_as_clean():
    clock = ManualClock()
    agent = site_agent(clock)
    plan = activating(agent, clock)
    agent.plan_finished(G, plan.plan, ok=False, text="step 2 failed", now=clock.read())
    stop = next(one for one in agent.take_effects() if isinstance(one, StartPlan))
    assert stop.kind is PlanKind.DEACTIVATE
    agent.plan_finished(G, stop.plan, ok=False, text="the port still answers", now=clock.read())
    agent.fenced(G, ok=True, text="", now=clock.read())
    agent.bounds_stored(G, clock.read())
    assert [one.kind for one in heard(agent, clock)] == [ReleaseKind.ACTIVATION_FAILED]


def test_a_guard_that_dies_in_the_activation_makes_it_a_failed_one():
    clock = ManualClock()
    agent = site_agent(clock)
    activating(agent, clock)
    agent.guard_lost(G, "killed", clock.read())
    agent.fenced(G, ok=True, text="", now=clock.read())
    agent.bounds_stored(G, clock.read())
    assert [one.kind for one in heard(agent, clock)] == [ReleaseKind.ACTIVATION_FAILED]


def test_a_fenced_site_releases_only_after_the_lock_delay():
    clock = ManualClock()
    agent = site_agent(clock)
    plan = activating(agent, clock, LeaseConstants(3_000, 10_000, 2_000))
    agent.plan_finished(G, plan.plan, ok=True, text="", now=clock.read())
    agent.guard_lost(G, "killed", clock.read())
    agent.fenced(G, ok=True, text="", now=clock.read())
    agent.bounds_stored(G, clock.read())
    assert heard(agent, clock) == []
    later(agent, clock, 2_000 - HEARD_MS)
    assert not sent(agent, Release)
    later(agent, clock, 20)  # the drift of its own clock
    assert len(sent(agent, Release)) == 1


@pytest.mark.parametrize(("orderly", "waits_ms"), [(False, 2_020), (True, 0)])
def test_a_site_that_its_guard_stopped_releases_only_after_the_lock_delay(orderly, waits_ms):
    """Seed 7 of the simulation: the lease ran out, no step was run any more, and the release left at once."""
    clock = ManualClock()
    agent = site_agent(clock)
    plan = activating(agent, clock, LeaseConstants(3_000, 10_000, 2_000))
    agent.plan_finished(G, plan.plan, ok=True, text="", now=clock.read())
    later(agent, clock, 2_250)  # the graceful stop begins, as the guard's does
    stop = next(one for one in agent.take_effects() if isinstance(one, StartPlan))
    agent.plan_finished(G, stop.plan, ok=True, text="a step failed", now=clock.read(), orderly=orderly)
    agent.bounds_stored(G, clock.read())
    assert len(heard(agent, clock)) == (1 if orderly else 0)
    later(agent, clock, max(0, waits_ms - HEARD_MS - 1))
    assert not sent(agent, Release)
    later(agent, clock, 1)
    assert len(sent(agent, Release)) == (0 if orderly else 1)


def test_an_agent_that_stops_declines_the_claim_in_flight_and_begins_nothing_afterwards():
    clock = ManualClock()
    agent = site_agent(clock)
    beat = claimed(agent, clock)
    agent.shutdown(clock.read())
    assert not agent.finished()
    agent.received(W, answer(beat, Verdict.RENEWED, 2), clock.read())
    agent.bounds_stored(G, clock.read())
    effects = agent.take_effects()
    assert not [one for one in effects if isinstance(one, StartPlan)]
    assert [one.message.epoch for one in effects if isinstance(getattr(one, "message", None), Release)] == [2]


def test_a_grant_that_is_being_stored_while_the_agent_stops_is_never_claimed():
    clock = ManualClock()
    agent = site_agent(clock)
    later(agent, clock, 20)
    agent.received(W, answer(sent(agent, Heartbeat)[-1], Verdict.GRANTED, 2), clock.read())
    agent.shutdown(clock.read())
    agent.bounds_stored(G, clock.read())
    assert not agent.finished()
    agent.bounds_stored(G, clock.read())
    later(agent, clock, 2_000)
    assert {beat.groups[0].epoch for beat in sent(agent, Heartbeat)} == {0}
    assert agent.finished()


def test_a_stopping_agent_is_not_ready_for_its_other_groups():
    clock = ManualClock()
    agent = site_agent(clock, G, "other")
    sent(agent, Heartbeat)
    agent.shutdown(clock.read())
    later(agent, clock, 20)
    reports = [REPORTS.decode(entry.report) for entry in sent(agent, Heartbeat)[-1].groups]
    assert not any(report.ready for report in reports)
    assert all("this agent is being stopped" in report.blockers for report in reports)


@pytest.mark.parametrize("groups", [1, 120, limits.HEARTBEAT_GROUPS_MAX])
def test_the_reports_of_all_groups_fit_one_frame(groups):
    clock = ManualClock()
    names = [f"group-{'n' * 40}-{number}" for number in range(groups)]
    agent = site_agent(clock, *names)
    for name in names:
        agent.observe(GroupId(name), WORDY, clock.read())
        agent.guard_containment(GroupId(name), "w" * 3_000)
    sent(agent, Heartbeat)
    later(agent, clock, 3_000)
    beat = sent(agent, Heartbeat)[-1]
    assert len(AGENT_MESSAGES.encode(beat)) <= limits.FRAME_BYTES_MAX
    report = REPORTS.decode(beat.groups[0].report)
    assert bool(report.blockers) == (groups == 1)
    assert report.containment.startswith("www")


def _stale(beat: Heartbeat) -> HeartbeatAnswer:
    made = answer(beat, Verdict.REFUSED, 2)
    groups = tuple(one._replace(reason=Reason.STALE_HEARTBEAT) for one in made.groups)
    return HeartbeatAnswer(made.nonce, groups)


def test_a_stale_answer_to_the_newest_attempt_means_a_twin_and_to_an_older_one_means_nothing():
    clock = ManualClock()
    agent = site_agent(clock)
    plan = activating(agent, clock)
    agent.plan_finished(G, plan.plan, ok=True, text="", now=clock.read())
    later(agent, clock, 1_000)
    older = sent(agent, Heartbeat)[-1]
    later(agent, clock, 900)  # no answer: asked again
    newest = sent(agent, Heartbeat)[-1]
    incarnation = agent.incarnation
    agent.received(W, _stale(older), clock.read())
    assert agent.groups[G].state is SiteState.ACTIVE
    agent.received(W, _stale(newest), clock.read())
    assert agent.groups[G].state is SiteState.FENCING
    assert agent.incarnation != incarnation


# -- open -----------------------------------------------------------------------------------------------------


def test_a_new_incarnation_speaks_only_over_streams_that_know_it():
    clock = ManualClock()
    agent = site_agent(clock)
    hello = agent.incarnation
    sent(agent, Heartbeat)
    clock.wall_ns += 10_000 * NS_PER_MS
    later(agent, clock, 2_000)
    assert all(beat.incarnation == hello for beat in sent(agent, Heartbeat))
