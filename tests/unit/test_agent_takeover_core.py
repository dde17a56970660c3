"""Who may go on as a former process's incarnation: everything must fit; and what the core does then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agent_rig import HEALTHY, SETTINGS, AgentRig, G

from agents.core.agent import SiteAgent
from agents.core.effects import KeepAuthority, PlanKind, StartPlan
from agents.core.plan_progress import PlanEnd, PlanHeader, PlanProgress, StepInput, StepMark
from agents.core.takeover import (
    LIVES_MAX,
    SEQ_BITS,
    AdoptedGroup,
    HeldLease,
    KeptGroup,
    KeptIncarnation,
    Machine,
    Takeover,
    adopt_group,
    incarnation_problem,
)
from agents.fencing.base import Containment, GuardStatus
from agents.runtime.take_over import held_lease
from proto.clock import ClockReading, ManualClock
from proto.decisions import Reason
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.messages import ReleaseKind, RevokePhase, Verdict
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, Claim, ClusterId, Epoch, GroupId, Incarnation, InstantNs, SiteId

MS = NS_PER_MS
INCARNATION, CLAIM = Incarnation(b"i" * 16), Claim(b"c" * 16)
CONSTANTS = LeaseConstants(1_000, 10_000, 0)
MACHINE = Machine("boot", "generation")
KEPT = KeptIncarnation(
    SETTINGS.cluster,
    SETTINGS.site,
    SETTINGS.store_id,
    MACHINE,
    INCARNATION,
    0,
    {G: KeptGroup(Epoch(7), CLAIM, CONSTANTS)},
)
BOUNDS = (Epoch(7), Epoch(6))


def at(ms: int) -> ClockReading:
    """Boot, raw and wall run alike, from different beginnings."""
    return ClockReading(InstantNs(ms * MS), (50_000 + ms) * MS, (1_700_000_000_000 + ms) * MS)


ARMED_AT, NOW = at(10_000), at(10_200)
DEADLINE = InstantNs(11_000 * MS)
DEADLINES = LocalDeadlines(InstantNs(10_750 * MS), InstantNs(10_900 * MS), DEADLINE)
HELD = HeldLease(Epoch(7), INCARNATION.hex(), DEADLINES, ARMED_AT)


def plan(*marks: StepMark | PlanEnd, kind: PlanKind = PlanKind.ACTIVATE, **header: Any) -> PlanProgress:
    fields = {"cause": "grant", "incarnation": INCARNATION.hex(), "boot_id": "boot", "began_ns": 9_000 * MS, **header}
    progress = PlanProgress(PlanHeader(plan=3, kind=kind, epoch=Epoch(7), steps=("one",), **fields))
    for mark in marks:
        progress.note(mark)
    return progress


def adopted(**changes: Any) -> AdoptedGroup | str:
    facts: dict[str, Any] = {
        "kept": KEPT.groups[G],
        "incarnation": INCARNATION,
        "held": HELD,
        "progress": plan(PlanEnd.SUCCEEDED),
        "bounds": BOUNDS,
        "machine": MACHINE,
        "now": NOW,
        **changes,
    }
    return adopt_group(**facts)


def test_what_fits_goes_on_with_what_the_guard_holds_and_not_a_moment_more() -> None:
    group = adopted()
    assert isinstance(group, AdoptedGroup)
    assert (group.epoch, group.claim, group.constants) == (7, CLAIM, CONSTANTS)
    assert (group.authority.deadline, group.authority.raw_deadline_ns) == (DEADLINE, 61_000 * MS)
    assert (group.state, group.resumes, group.plan, group.elapsed_ms) == (SiteState.ACTIVE, None, 3, 1_200)


def test_a_raw_clock_that_ran_ahead_within_the_allowance_ends_authority_sooner() -> None:
    ahead = NOW._replace(monotonic_raw_ns=NOW.monotonic_raw_ns + 150 * MS)
    group = adopted(now=ahead)
    assert isinstance(group, AdoptedGroup)
    assert group.authority.raw_deadline_ns == 61_000 * MS
    behind = NOW._replace(monotonic_raw_ns=NOW.monotonic_raw_ns - 150 * MS)
    group = adopted(now=behind)
    assert isinstance(group, AdoptedGroup)
    assert group.authority.raw_deadline_ns == behind.monotonic_raw_ns + 800 * MS


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"held": replace(HELD, holder="")}, "another incarnation"),
        ({"held": replace(HELD, holder="ff" * 16)}, "another incarnation"),
        ({"held": replace(HELD, epoch=Epoch(8))}, "the guard holds 8"),
        ({"kept": replace(KEPT.groups[G], epoch=Epoch(6))}, "epoch 6 was kept"),
        ({"bounds": (Epoch(8), Epoch(6))}, "the highest acted upon is 8"),
        ({"bounds": (Epoch(7), Epoch(7))}, "is over here"),
        ({"now": at(10_750)}, "graceful stop has begun"),
        ({"now": at(12_000)}, "graceful stop has begun"),
        ({"now": NOW._replace(wall_ns=NOW.wall_ns + 300 * MS)}, "the wall clock moved"),
        ({"now": NOW._replace(monotonic_raw_ns=NOW.monotonic_raw_ns - 300 * MS)}, "MONOTONIC_RAW moved"),
        ({"progress": None}, "journal does not say"),
        ({"progress": plan(PlanEnd.SUCCEEDED, incarnation="ff" * 16)}, "journal is of another authority"),
        ({"progress": plan(PlanEnd.SUCCEEDED, boot_id="former")}, "journal is of another authority"),
    ],
)
def test_anything_that_does_not_fit_starts_cold(changes: dict[str, Any], why: str) -> None:
    answer = adopted(**changes)
    assert isinstance(answer, str)
    assert why in answer


def test_a_guard_at_its_end_holds_nothing() -> None:
    status = GuardStatus(
        phase="armed",
        containment=Containment.PID_NAMESPACE,
        note="",
        highest_epoch=7,
        epoch=7,
        deadline_ns=DEADLINES.deadline,
        floor_ns=DEADLINES.deadline,
        steps=(),
        holder=INCARNATION.hex(),
        term_at_ns=DEADLINES.stop_at,
        kill_at_ns=DEADLINES.kill_at,
        since_ns=(ARMED_AT.boottime_ns, ARMED_AT.monotonic_raw_ns, ARMED_AT.wall_ns),
    )
    assert held_lease(status) == HELD
    for phase in ("dormant", "stopping", "fencing", "killing"):
        assert held_lease(replace(status, phase=phase)) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cluster": ClusterId("d" * 32)}, "another cluster, site or store"),
        ({"site": SiteId("dc-b")}, "another cluster, site or store"),
        ({"store_id": b"x" * 16}, "another cluster, site or store"),
        ({"machine": replace(MACHINE, boot_id="next")}, "started anew"),
        ({"machine": replace(MACHINE, generation="copy")}, "generation id changed"),
        ({"machine": replace(MACHINE, generation="")}, "generation id changed"),
        ({"life": LIVES_MAX}, "processes"),
    ],
)
def test_an_incarnation_of_other_circumstances_is_over(changes: dict[str, Any], why: str) -> None:
    assert incarnation_problem(KEPT, SETTINGS, MACHINE) == ""
    assert why in incarnation_problem(replace(KEPT, **changes), SETTINGS, MACHINE)


def test_nobody_goes_on_as_an_incarnation_that_another_one_followed() -> None:
    """The later one may have been heard, and then the earlier one is refused until somebody looks (a review)."""
    later, begun = Incarnation(b"l" * 16), (Incarnation(b"e" * 16), KEPT.incarnation)
    assert incarnation_problem(KEPT, SETTINGS, MACHINE, begun) == ""
    assert incarnation_problem(KEPT, SETTINGS, MACHINE, begun[:1]) == "", (
        "it could not be noted, and is active all the same"
    )
    assert "a later incarnation" in incarnation_problem(KEPT, SETTINGS, MACHINE, (*begun, later))


BEGUN = StepMark("one", StepInput.BEGIN, 0)


@pytest.mark.parametrize(
    ("progress", "state", "resumes"),
    [
        (plan(), SiteState.ACTIVATING, PlanKind.ACTIVATE),
        (plan(BEGUN), SiteState.ACTIVATING, PlanKind.ACTIVATE),
        (plan(PlanEnd.SUCCEEDED), SiteState.ACTIVE, None),
        (plan(BEGUN, PlanEnd.FAILED), SiteState.DEACTIVATING, None),
        (plan(kind=PlanKind.DEACTIVATE), SiteState.DEACTIVATING, PlanKind.DEACTIVATE),
    ],
)
def test_the_journal_says_where_it_goes_on(progress: PlanProgress, state: SiteState, resumes: PlanKind | None) -> None:
    group = adopted(progress=progress)
    assert isinstance(group, AdoptedGroup)
    assert (group.state, group.resumes) == (state, resumes)


# -- the core of the new process ------------------------------------------------------------------------------


class TakenRig(AgentRig):
    """A rig whose agent takes over at the moment NOW."""

    def __init__(self, **changes: Any) -> None:
        group = adopted(**changes)
        assert isinstance(group, AdoptedGroup)
        super().__init__()
        self.clock = ManualClock(NOW.boottime_ns, NOW.monotonic_raw_ns, NOW.wall_ns)
        self.effects.clear()
        self.sent.clear()
        self.agent = SiteAgent(
            self.settings,
            tokens=iter(bytes([number]) * 16 for number in range(1, 256)).__next__,
            bounds={G: BOUNDS},
            started=self.clock.read(),
            takeover=Takeover(replace(KEPT, life=1), {G: group}),
        )
        self.agent.observe(G, HEALTHY, self.clock.read())
        self.take()
        self._open_streams()


def test_an_active_site_goes_on_without_a_plan_and_renews_at_once() -> None:
    rig = TakenRig()
    assert rig.state is SiteState.ACTIVE
    assert rig.all_of(StartPlan) == []
    beat = rig.fresh_beat()
    assert (beat.incarnation, beat.seq) == (INCARNATION, (1 << SEQ_BITS) + len(rig.sent))
    assert (rig.entry.epoch, rig.entry.claim) == (7, CLAIM)
    assert rig.report.state is SiteState.ACTIVE
    rig.renewed()
    assert rig.group.holder.authority is not None
    assert rig.group.holder.authority.deadline > DEADLINE
    assert rig.all_of(KeepAuthority) == [], "nothing new to keep"


def test_without_a_renewal_it_stops_when_the_former_process_would_have() -> None:
    rig = TakenRig()
    rig.passes(549)
    assert rig.state is SiteState.ACTIVE
    rig.passes(2)
    assert rig.state is SiteState.DEACTIVATING
    assert (rig.last(StartPlan).plan, rig.last(StartPlan).resumed) == (4, False)
    rig.passes(150)
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_an_answer_to_the_former_process_means_nothing() -> None:
    former = AgentRig().active(epoch=7)
    late = former.beat
    rig = TakenRig()
    deadline = rig.group.holder.authority.deadline
    rig.renewed(late)
    assert rig.group.holder.authority.deadline == deadline


def test_a_resumed_activation_keeps_its_number_and_what_is_left_of_its_time() -> None:
    rig = TakenRig(progress=plan(BEGUN))
    started = rig.last(StartPlan)
    assert (started.plan, started.kind, started.resumed, started.epoch) == (3, PlanKind.ACTIVATE, True, 7)
    assert started.timeout_ms == 5_000 - 1_200
    rig.finished()
    assert rig.state is SiteState.ACTIVE


def test_a_failed_activation_is_unwound_and_released_with_its_kind() -> None:
    rig = TakenRig(progress=plan(BEGUN, PlanEnd.FAILED))
    started = rig.last(StartPlan)
    assert (started.plan, started.kind, started.resumed) == (4, PlanKind.DEACTIVATE, False)
    rig.finished()
    rig.stored()
    rig.alone()
    assert [(one.epoch, one.kind, one.claim) for one in rig.releases()] == [(7, ReleaseKind.ACTIVATION_FAILED, CLAIM)]


def test_a_resumed_handover_is_not_begun_twice_and_ends_clean() -> None:
    rig = TakenRig(progress=plan(kind=PlanKind.DEACTIVATE, cause="handover"))
    assert (rig.last(StartPlan).plan, rig.last(StartPlan).resumed) == (3, True)
    rig.fresh_beat()
    rig.renewed(revoke=RevokePhase.REVOKING)
    assert len(rig.all_of(StartPlan)) == 1
    rig.finished()
    rig.stored()
    rig.alone()
    assert [one.kind for one in rig.releases()] == [ReleaseKind.CLEAN]


def test_a_refused_renewal_fences_it_as_ever() -> None:
    rig = TakenRig()
    rig.fresh_beat()
    rig.answer(verdict=Verdict.REFUSED, epoch=Epoch(8), reason=Reason.NOT_HOLDER)
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_a_changed_machine_ends_the_incarnation() -> None:
    rig = TakenRig()
    rig.agent.machine_changed("a copy", rig.clock.read())
    rig.take()
    assert rig.agent.incarnation != INCARNATION
    assert (rig.state, rig.fences()) == (SiteState.FENCING, 1)


def test_a_group_that_is_only_watched_is_never_taken_over() -> None:
    rig = AgentRig(enforce=False)
    group = adopted()
    assert isinstance(group, AdoptedGroup)
    rig.group.start(group)
    assert (rig.state, rig.group.holder.epoch) == (SiteState.UNKNOWN, 0)


def test_authority_is_told_once_for_an_epoch_so_that_it_can_be_kept() -> None:
    rig = AgentRig().active(epoch=2)
    (kept,) = rig.all_of(KeepAuthority)
    assert (kept.group, kept.epoch, kept.claim) == (GroupId("erp"), 2, rig.entry.claim)
