"""Findings of the review of waits under a permit: a life that ends in them, and what they leave behind."""

from __future__ import annotations

import pytest
from core_rig import A, B, token
from permit_rig import MARK
from test_permit_agent import NEXT, P, PermitAgent, adopted
from test_permit_lock_delay import LOCK_MS, LOCK_PASSES_MS, LOCKED, G, under_permit
from test_permit_machine import returned_with_permit

from agents.core.effects import PlanKind, StartPlan
from agents.core.permit_record import PermitRecord
from proto.codec import REPORTS
from proto.decisions import Reason
from proto.events import EventKind
from proto.health import SiteState
from proto.messages import Verdict
from proto.permit import PermitMark
from proto.units import Epoch, Incarnation

LEFT = PermitRecord(used=(b"p" * 16,), current=PermitMark(P, b"p" * 16))


def next_life() -> PermitAgent:
    """The former one lived by a permit, and ended; what it left is proven down by now."""
    return PermitAgent(record=LEFT, sites=LOCKED)


def test_a_life_that_ends_in_the_wait_leaves_it_to_the_next_one():
    rig = next_life()
    assert rig.group.desk.record.current == LEFT.current, "what is on disk still says so"
    rig.passes(LOCK_PASSES_MS - 200)
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    assert rig.group.desk.record.current == LEFT.current
    rig = PermitAgent(record=rig.group.desk.record, sites=LOCKED)
    rig.passes(LOCK_PASSES_MS - 200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(400)
    rig.store()
    assert rig.state is SiteState.STANDBY
    assert rig.group.desk.record.current is None


def test_where_nobody_can_tell_whether_a_permit_was_in_use_the_lock_delay_passes_too():
    rig = PermitAgent(record=PermitRecord(damaged="its checksum is wrong"), sites=LOCKED)
    rig.passes(LOCK_PASSES_MS - 200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(400)
    assert rig.state is SiteState.STANDBY


def test_the_next_life_says_whose_permit_it_was_until_that_is_down():
    rig = next_life()
    said = REPORTS.decode(rig.fresh_beat().groups[0].report)
    assert (said.state, said.permit) == (SiteState.UNKNOWN, LEFT.current)
    rig.passes(LOCK_PASSES_MS + 200)
    rig.store()
    said = REPORTS.decode(rig.fresh_beat().groups[0].report)
    assert (said.state, said.permit) == (SiteState.STANDBY, None)


def test_no_wait_is_left_behind_by_an_epoch_that_became_the_witnesses():
    rig = adopted(under_permit())
    assert rig.agent.end_break_glass(G, rig.clock.read()) == ""
    rig.take()
    plan = rig.last(StartPlan)
    assert plan.kind is PlanKind.DEACTIVATE
    rig.agent.plan_finished(G, plan.plan, True, "", rig.clock.read(), orderly=False)
    rig.take()
    assert rig.state is SiteState.DEACTIVATING
    rig.hear(Verdict.RENEWED, epoch=NEXT)
    rig.store()
    assert rig.state is SiteState.STANDBY
    rig.passes(3 * LOCK_MS)
    at = rig.group.next_deadline()
    assert at is None or at > rig.clock.boottime_ns, "woken again and again for what is over"


def test_while_a_next_life_says_so_nobody_else_is_granted_and_it_is_no_second_use():
    rig = returned_with_permit()
    rig.says(B, incarnation="i2", state=SiteState.UNKNOWN, permit=MARK, epoch_bound=P)
    rig.known(A)
    assert rig.one(rig.grant_command(A, epoch=Epoch(P + 1))).reason is Reason.UNDER_PERMIT, "it may be silent by now"
    assert rig.one(rig.adoption()).reason is not Reason.OK, "nor is it adopted: what ran there ends"
    assert EventKind.PERMIT_CLASH not in [event.kind for event in rig.machine.state.ledger.recent]
    rig.says(B, incarnation="i2", epoch_bound=P, finished_epoch=P)
    assert rig.one(rig.grant_command(B, epoch=Epoch(P + 1), incarnation=Incarnation(token("i2")))).ok


@pytest.mark.parametrize("state", [SiteState.DEACTIVATING, SiteState.FENCING, SiteState.UNKNOWN])
def test_what_is_on_its_way_down_is_not_adopted_it_would_claim_nothing(state):
    rig = returned_with_permit()
    rig.under_permit(state=state)
    assert not rig.one(rig.adoption()).ok
