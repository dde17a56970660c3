"""The lock delay under a permit: whoever was stopped a moment ago may have a session open at the license server."""

from __future__ import annotations

from dataclasses import replace

from agent_rig import G
from test_permit_agent import CONSTANTS, NEXT, SITES, P, PermitAgent, adopted

from agents.core.effects import PlanKind, StartPlan
from agents.core.permit_record import PermitRecord
from proto.codec import REPORTS
from proto.health import SiteState
from proto.messages import Verdict
from proto.permit import PermitMark
from proto.units import NS_PER_MS, Epoch

LOCK_MS = 5_000
LOCK_PASSES_MS = LOCK_MS * (1_000_000 + CONSTANTS.drift_max_ppm) // 1_000_000
LOCKED = replace(SITES, constants=replace(CONSTANTS, lock_delay_ms=LOCK_MS))


def waiting() -> PermitAgent:
    """The permit was taken this moment."""
    rig = PermitAgent(sites=LOCKED).silent()
    rig.passes(2 * LOCK_MS)
    rig.take()
    assert rig.use() == ""
    rig.store()
    assert rig.state is SiteState.ACTIVATING
    return rig


def plans(rig: PermitAgent) -> list[tuple[PlanKind, Epoch]]:
    rig.take()
    return [(one.kind, one.epoch) for one in rig.effects if isinstance(one, StartPlan)]


def test_whoever_was_stopped_a_moment_ago_may_have_a_session_open_so_the_lock_delay_passes_first():
    rig = waiting()
    assert PlanKind.ACTIVATE not in dict(plans(rig))
    assert "a license server may keep the other's session" in rig.told[-1]
    assert REPORTS.decode(rig.fresh_beat().groups[0].report).permit is not None, "the witnesses hear of it at once"
    rig.passes(LOCK_PASSES_MS - 100)
    assert PlanKind.ACTIVATE not in dict(plans(rig))
    assert rig.state is SiteState.ACTIVATING, "its authority goes on meanwhile, for longer than a ttl"
    assert rig.group.next_deadline() is not None
    rig.passes(200)
    assert plans(rig)[-1] == (PlanKind.ACTIVATE, P)
    rig.finish(PlanKind.ACTIVATE)
    assert rig.state is SiteState.ACTIVE


def test_it_passes_on_both_clocks():
    rig = waiting()
    rig.passes(1_000)
    rig.clock.boottime_ns += 10 * NS_PER_MS
    rig.passes(LOCK_PASSES_MS - 1_010)
    assert PlanKind.ACTIVATE not in dict(plans(rig)), "the other clock has some milliseconds to go"
    rig.passes(20)
    assert plans(rig)[-1] == (PlanKind.ACTIVATE, P)


def test_what_is_ended_before_its_first_step_stops_at_once_and_begins_none():
    rig = waiting()
    assert rig.agent.end_break_glass(G, rig.clock.read()) == ""
    assert plans(rig)[-1][0] is PlanKind.DEACTIVATE
    rig.finish(PlanKind.DEACTIVATE)
    rig.passes(2 * LOCK_MS)
    assert rig.state is SiteState.STANDBY
    assert PlanKind.ACTIVATE not in dict(plans(rig))


def test_what_is_fenced_before_its_first_step_begins_none():
    rig = waiting()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.passes(2 * LOCK_MS)
    assert rig.state is SiteState.FENCING
    assert PlanKind.ACTIVATE not in dict(plans(rig))


def test_an_agent_that_is_stopped_meanwhile_does_not_wait_for_it():
    rig = waiting()
    rig.agent.shutdown(rig.clock.read())
    assert plans(rig)[-1][0] is PlanKind.DEACTIVATE


def test_adopted_before_its_first_step_it_begins_under_the_witnesses_epoch():
    rig = waiting()
    begins_ns = rig.clock.boottime_ns + LOCK_PASSES_MS * NS_PER_MS
    adopted(rig).hear(Verdict.RENEWED, epoch=NEXT)
    rig.store()
    assert not rig.group.permit_in_use
    while rig.clock.boottime_ns < begins_ns - 300 * NS_PER_MS:
        assert PlanKind.ACTIVATE not in dict(plans(rig))
        rig.hear(Verdict.RENEWED, epoch=NEXT)
        rig.passes(100)
    rig.passes(400)
    assert plans(rig)[-1] == (PlanKind.ACTIVATE, NEXT)
    rig.finish(PlanKind.ACTIVATE)
    assert rig.state is SiteState.ACTIVE
    assert PlanKind.ON_EPOCH not in dict(plans(rig)), "its steps saw that epoch"


def test_no_upgrade_in_between():
    rig = waiting()
    assert "waits for the lock delay" in rig.group.unsettled()
    rig.passes(LOCK_PASSES_MS + 100)
    assert rig.group.unsettled() == ""


# -- what ends under a permit ---------------------------------------------------------------------------------


def under_permit() -> PermitAgent:
    rig = waiting()
    rig.passes(LOCK_PASSES_MS + 100)
    rig.finish(PlanKind.ACTIVATE)
    assert rig.state is SiteState.ACTIVE
    return rig


def test_what_is_fenced_under_a_permit_is_down_for_others_when_the_lock_delay_has_passed():
    rig = under_permit()
    rig.agent.guard_lost(G, "killed", rig.clock.read())
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.passes(LOCK_PASSES_MS - 2_000)
    assert REPORTS.decode(rig.fresh_beat().groups[0].report).permit is not None, "nobody is granted beside it"
    assert rig.state is SiteState.FENCING
    rig.passes(2_000)
    rig.store()
    assert (rig.state, rig.group.permit_in_use) == (SiteState.FENCED, False)
    assert rig.releases() == []


def test_what_had_to_be_killed_in_its_stop_waits_as_well_and_an_orderly_stop_does_not():
    for orderly, state in ((False, SiteState.DEACTIVATING), (True, SiteState.STANDBY)):
        rig = under_permit()
        assert rig.agent.end_break_glass(G, rig.clock.read()) == ""
        rig.take()
        rig.agent.plan_finished(G, rig.last(StartPlan).plan, True, "", rig.clock.read(), orderly=orderly)
        rig.passes(LOCK_PASSES_MS - 200)
        assert rig.state is state
        rig.passes(400)
        assert rig.state is SiteState.STANDBY


def test_a_next_life_tells_what_ended_with_the_former_one_as_down_no_sooner():
    record = PermitRecord(used=(b"p" * 16,), current=PermitMark(P, b"p" * 16))
    rig = PermitAgent(record=record, sites=LOCKED)
    rig.passes(LOCK_PASSES_MS - 200)
    assert (rig.state, rig.group.under_permit) == (SiteState.UNKNOWN, None)
    assert "lock_delay passes" in rig.group.trouble
    rig.passes(400)
    rig.store()
    assert (rig.state, rig.group.trouble) == (SiteState.STANDBY, "")
    assert PermitAgent(record=PermitRecord(used=(b"p" * 16,)), sites=LOCKED).state is SiteState.STANDBY
