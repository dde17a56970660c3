"""A permit while it is noted, or beside a second agent of its site: what ends it, and what its first step waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agent_rig import G
from test_permit_agent import CONSTANTS, SITES, P, PermitAgent
from test_permit_lock_delay import LOCK_PASSES_MS, LOCKED, plans, under_permit

from agents.core.effects import PlanKind, StoreBounds, StorePermit
from proto.codec import REPORTS
from proto.decisions import Reason
from proto.health import SiteState
from proto.messages import Verdict

LONG = LOCKED.constants


def being_noted() -> PermitAgent:
    """The permit was accepted, and its use is on its way to the disk."""
    rig = PermitAgent().silent()
    assert rig.use() == ""
    assert rig.all_of(StorePermit)
    return rig


def bound_being_stored() -> PermitAgent:
    """Its use is on the disk, its epoch is not."""
    rig = being_noted()
    rig.effects.remove(rig.last(StorePermit))
    rig.agent.permit_stored(G, rig.clock.read())
    rig.take()
    assert rig.last(StoreBounds).epoch_bound == P
    return rig


@pytest.mark.parametrize("before", [being_noted, bound_being_stored])
def test_an_answer_that_comes_while_a_permit_is_being_noted_uses_it_up(before):
    """The next heartbeat says that this site was answered, and not that it is about to begin."""
    rig = before()
    rig.hear()
    said = rig.fresh_beat()
    assert said.answered >= 0
    assert REPORTS.decode(said.groups[0].report).permit is None
    rig.store()
    rig.passes(3_000)
    assert (rig.state, rig.group.permit_in_use) == (SiteState.STANDBY, False)
    assert rig.group.holder.bound == rig.group.holder.finished
    assert "a witness answered while it was noted" in " ".join(rig.told)
    assert "used here before" in rig.silent().use()


@pytest.mark.parametrize("before", [being_noted, bound_being_stored])
def test_so_do_clocks_that_part_because_they_counted_the_silence(before):
    rig = before()
    rig.agent.machine_changed("put back", rig.clock.read())
    rig.take()
    rig.store()
    assert (rig.state, rig.group.permit_in_use) == (SiteState.STANDBY, False)


def test_a_fence_that_is_over_before_the_epoch_is_stored_leaves_no_permit_behind():
    rig = bound_being_stored()
    rig.group.fence("a license is activated here")
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.take()
    rig.store()
    assert (rig.state, rig.group.permit_in_use) == (SiteState.FENCED, False)


def test_who_hears_under_a_permit_that_a_second_agent_speaks_for_its_site_is_fenced():
    """No lease of it runs out, and the other one's word is that nothing runs here."""
    rig = PermitAgent().active()
    rig.hear(Verdict.REFUSED, reason=Reason.INCARNATION_SUPERSEDED)
    assert rig.state is SiteState.FENCING
    assert "another agent speaks for this site" in rig.group.trouble
    rig.agent.fenced(G, True, "", rig.clock.read())
    rig.take()
    rig.store()
    assert (rig.state, rig.group.permit_in_use, rig.releases()) == (SiteState.FENCED, False, [])


def test_so_is_who_waits_for_the_lock_delay_before_its_first_step():
    rig = PermitAgent(sites=LOCKED).silent()
    rig.passes(2 * LOCK_PASSES_MS)
    rig.take()
    assert rig.use() == ""
    rig.store()
    rig.hear(Verdict.REFUSED, reason=Reason.INCARNATION_SUPERSEDED)
    rig.passes(2 * LOCK_PASSES_MS)
    assert rig.state is SiteState.FENCING
    assert PlanKind.ACTIVATE not in dict(plans(rig))


@pytest.mark.parametrize(
    "sites",
    [replace(SITES, wait=LONG), replace(SITES, constants=LONG)],
    ids=["of-a-lease-that-may-be-lived-on", "raised-since"],
)
def test_the_first_step_waits_for_the_longest_lock_delay_that_is_known_here(sites):
    """Whoever was stopped ran under a lease of before; what a witness said last may be of another one."""
    rig = PermitAgent(sites=sites)
    rig.hear(lock_delay_ms=0)
    rig.silent().passes(2 * LOCK_PASSES_MS)
    rig.take()
    assert rig.use() == ""
    rig.store()
    assert rig.group.holder.constants == CONSTANTS
    rig.passes(LOCK_PASSES_MS - 200)
    assert PlanKind.ACTIVATE not in dict(plans(rig))
    rig.passes(400)
    assert plans(rig)[-1] == (PlanKind.ACTIVATE, P)


def test_an_answer_that_comes_when_it_has_begun_ends_nothing():
    rig = under_permit()
    rig.hear()
    assert (rig.state, rig.group.permit_in_use) == (SiteState.ACTIVE, True)


def test_a_next_life_has_finished_the_epoch_of_its_permit_when_it_is_down_whatever_its_bound_says():
    """The witnesses count the permit until then; the file of epochs may be of before, or gone."""
    rig = PermitAgent(record=under_permit().group.desk.record)
    rig.passes(2 * LOCK_PASSES_MS)
    rig.store()
    said = REPORTS.decode(rig.fresh_beat().groups[0].report)
    assert (said.state, said.permit, said.finished_epoch) == (SiteState.STANDBY, None, P)
