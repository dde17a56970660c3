"""Findings of the review of permits: who claims what was adopted, and a new process of the agent under a permit."""

from __future__ import annotations

from agent_rig import HEALTHY, TTL_MS, G
from core_rig import A, B
from permit_rig import P
from test_permit_agent import SITES, PermitAgent
from test_permit_machine import returned_with_permit

from agents.core.agent import SiteAgent
from agents.core.effects import PlanKind
from agents.core.takeover import AdoptedGroup, KeptGroup, KeptIncarnation, Machine, Takeover
from proto.health import SiteState
from proto.messages import Verdict
from proto.timing import default_budgets, local_deadlines
from proto.units import Epoch


def test_what_was_adopted_is_claimed_only_under_a_permit():
    rig = returned_with_permit()
    assert rig.one(rig.adoption()).ok
    rig.known(A)
    down = {"epoch_bound": P, "finished_epoch": P}
    assert rig.says(B, **down).verdict is Verdict.DORMANT, "an operator ended it, or it is a copy that never ran"
    assert rig.says(B, epoch=rig.group.epoch, **down).verdict is Verdict.REFUSED
    assert rig.lease.claim is None


def test_under_a_permit_the_next_process_of_the_agent_goes_on_extending():
    rig = PermitAgent().active()
    rig.agent = next_process(rig)
    rig.effects.clear()
    rig.passes(4 * TTL_MS)
    rig.take()
    assert rig.state is SiteState.ACTIVE
    assert rig.group.under_permit is not None


def next_process(rig: PermitAgent) -> SiteAgent:
    """What agents/runtime/take_over.py makes of a guard that holds on after SIGUSR2."""
    former, settings = rig.agent, rig.settings
    holder = rig.group.holder
    assert holder.authority is not None
    assert holder.constants is not None
    kept = KeptGroup(holder.epoch, holder.claim, holder.constants)
    whole = KeptIncarnation(
        settings.cluster, settings.site, settings.store_id, Machine("boot", ""), former.incarnation, 1, {G: kept}
    )
    group = AdoptedGroup(
        epoch=holder.epoch,
        claim=holder.claim,
        constants=holder.constants,
        authority=holder.authority,
        deadlines=local_deadlines(holder.authority.deadline, default_budgets(holder.constants.ttl_ms)),
        state=SiteState.ACTIVE,
        plan=9,
        resumes=None,
        cause="permit",
        elapsed_ms=0,
    )
    numbers = iter(range(2_000_000, 3_000_000))
    return SiteAgent(
        settings,
        tokens=lambda: next(numbers).to_bytes(16, "big"),
        bounds={G: (holder.bound, holder.finished)},
        started=rig.clock.read(),
        takeover=Takeover(whole, {G: group}),
        sites={G: SITES},
        permits={G: rig.group.desk.record},
    )


def test_who_was_active_when_the_witnesses_were_lost_takes_a_permit_with_its_release_unanswered():
    rig = was_active()
    assert rig.group.end.release is not None, "nobody answers it, and it hinders nothing"
    assert rig.silent().use() == ""
    rig.store()
    assert rig.state is SiteState.ACTIVATING
    assert rig.group.end.release is None, "it does not release under the feet of the permit"


def test_a_permit_waits_for_the_lock_delay_of_what_ended_by_force():
    rig = was_active(lock_delay_ms=60_000, orderly=False)
    release = rig.group.end.release
    assert release is not None
    assert not rig.group.end.settled(rig.clock.read())
    rig.passes(60_000)
    assert rig.silent().use() == ""
    assert rig.clock.read().boottime_ns > release.not_before


def was_active(*, lock_delay_ms: int = 0, orderly: bool = True) -> PermitAgent:
    """It ran under the witnesses, which fell silent; it is down now, and proven to be."""
    rig = PermitAgent()
    rig.agent.observe(G, HEALTHY, rig.clock.read())
    rig.hear(Verdict.GRANTED, epoch=Epoch(2))
    rig.store()
    rig.fresh_beat()
    rig.renewed(lock_delay_ms=lock_delay_ms)
    rig.finish(PlanKind.ACTIVATE)
    if orderly:
        while rig.state is SiteState.ACTIVE:  # up to where the graceful stop begins
            rig.passes(10)
        rig.finish(PlanKind.DEACTIVATE)
    else:
        rig.agent.guard_lost(G, "killed", rig.clock.read())
        rig.agent.fenced(G, True, "", rig.clock.read())
        rig.take()
        rig.store()
    return rig
