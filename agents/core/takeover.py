"""(11) May a new process go on as the incarnation of the one before it? Judged once, at its start; all or nothing.

Rule: only while a guard of this host still holds exactly that authority: armed, not yet in its graceful stop, for the
epoch, the incarnation and the claim that were kept, which is the highest epoch ever acted upon here and not over.
The journal must belong to it and says what was under way. Anything that is missing, of another boot, of another
generation of a virtual machine, or counted by clocks that disagree since the guard was armed last, is a cold start:
everything down first, then a new incarnation. Authority is what the guard holds and not a moment more.
Each process of an incarnation has a number of its own, on disk before it speaks, and numbers its heartbeats from
there: those of the process before it are stale from then on, and two that believe to be the newest show themselves.
Why this is safe: docs/adr/0013-the-guard-survives-its-agent.md.
Rejected: sequence numbers from a clock (two copies of one machine would never be stale to each other).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.core.effects import PlanKind
from agents.core.lease_holder import Authority
from agents.core.plan_progress import PlanEnd, PlanProgress
from agents.core.settings import AgentSettings
from proto.clock import ClockReading, clock_disagreement
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, Claim, ClusterId, Epoch, GroupId, Incarnation, SiteId

SEQ_BITS = 32
LIVES_MAX = 1 << 20
"""Of one incarnation; then a new one begins."""
ACTIVATION_FAILED = "activation-failed"
HANDOVER = "handover"


@dataclass(frozen=True, slots=True)
class Machine:
    """What must be the same for anything to go on."""

    boot_id: str
    generation: str
    """Of a virtual machine (VMGENID), '' where nothing tells it."""


@dataclass(frozen=True, slots=True)
class KeptGroup:
    epoch: Epoch
    claim: Claim
    constants: LeaseConstants


@dataclass(frozen=True, slots=True)
class KeptIncarnation:
    """What an agent keeps in its runtime directory for the next process."""

    cluster: ClusterId
    site: SiteId
    store_id: bytes
    machine: Machine
    incarnation: Incarnation
    life: int
    """Number of the process, from 0."""
    groups: Mapping[GroupId, KeptGroup]


@dataclass(frozen=True, slots=True)
class HeldLease:
    """What a guard says of itself: it is armed, and nothing has ended yet."""

    epoch: Epoch
    holder: str
    """The incarnation that it was bound to, hex."""
    deadlines: LocalDeadlines
    since: ClockReading
    """The clocks when it was armed last."""


@dataclass(frozen=True, slots=True)
class AdoptedGroup:
    epoch: Epoch
    claim: Claim
    constants: LeaseConstants
    authority: Authority
    deadlines: LocalDeadlines
    state: SiteState
    plan: int
    """The number of the last plan that was begun."""
    resumes: PlanKind | None
    """That plan goes on, or None: it has ended."""
    cause: str
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Takeover:
    kept: KeptIncarnation
    """With the number of the new process."""
    groups: Mapping[GroupId, AdoptedGroup]

    @property
    def seq_first(self) -> int:
        return self.kept.life << SEQ_BITS


def incarnation_problem(
    kept: KeptIncarnation, settings: AgentSettings, machine: Machine, begun: Sequence[Incarnation] = ()
) -> str:
    """'' when the next process may be one of this incarnation, else why not.

    `begun`: those that are on disk, the newest last; none for a member, which has no word that may come late.
    """
    if (kept.cluster, kept.site, kept.store_id) != (settings.cluster, settings.site, settings.store_id):
        return "it belongs to another cluster, site or store"
    if kept.machine.boot_id != machine.boot_id:
        return "the machine was started anew since"
    if kept.machine.generation != machine.generation:
        return "the virtual machine was restored or copied since (its generation id changed)"
    if kept.incarnation in begun[:-1]:  # one that could not be noted is in nobody's way: nothing shows what followed it
        return "a later incarnation of this agent has begun since"
    if kept.life + 1 >= LIVES_MAX:
        return f"it had {LIVES_MAX} processes"
    return ""


def adopt_group(
    kept: KeptGroup,
    incarnation: Incarnation,
    held: HeldLease,
    progress: PlanProgress | None,
    bounds: tuple[Epoch, Epoch],
    machine: Machine,
    now: ClockReading,
) -> AdoptedGroup | str:
    """What goes on, or in words why this group starts cold."""
    authority = adopted_authority(kept, incarnation, held, bounds, now)
    if isinstance(authority, str):
        return authority
    if progress is None:
        return "its journal does not say what was under way"
    header = progress.header
    if (header.epoch, header.incarnation, header.boot_id) != (kept.epoch, incarnation.hex(), machine.boot_id):
        return "its journal is of another authority"
    activating = header.kind is PlanKind.ACTIVATE
    state = SiteState.ACTIVE if header.kind is PlanKind.ON_EPOCH else SiteState.DEACTIVATING
    if activating and progress.end is not PlanEnd.FAILED:
        state = SiteState.ACTIVE if progress.end is PlanEnd.SUCCEEDED else SiteState.ACTIVATING
    failed = activating and progress.end is PlanEnd.FAILED
    return AdoptedGroup(
        epoch=kept.epoch,
        claim=kept.claim,
        constants=kept.constants,
        authority=authority,
        deadlines=held.deadlines,
        state=state,
        plan=header.plan,
        resumes=header.kind if progress.end is PlanEnd.RUNNING else None,
        cause=ACTIVATION_FAILED if failed else header.cause,
        elapsed_ms=max(0, now.boottime_ns - header.began_ns) // NS_PER_MS,
    )


def adopted_authority(
    kept: KeptGroup, incarnation: Incarnation, held: HeldLease, bounds: tuple[Epoch, Epoch], now: ClockReading
) -> Authority | str:
    """What the guard holds and not a moment more, on either clock; or in words why nothing goes on."""
    problem = _authority_problem(kept, incarnation, held, bounds, now)
    if problem:
        return problem
    left_ns = held.deadlines.deadline - now.boottime_ns
    raw_deadline_ns = held.since.monotonic_raw_ns + held.deadlines.deadline - held.since.boottime_ns
    authority = Authority(held.deadlines.deadline, min(raw_deadline_ns, now.monotonic_raw_ns + left_ns))
    return authority if authority.alive(now) else "its authority is over"


def _authority_problem(
    kept: KeptGroup, incarnation: Incarnation, held: HeldLease, bounds: tuple[Epoch, Epoch], now: ClockReading
) -> str:
    bound, finished = bounds
    if held.holder != incarnation.hex():
        return "its guard holds for another incarnation"
    if not kept.epoch == held.epoch == bound:
        return f"epoch {kept.epoch} was kept, the guard holds {held.epoch}, the highest acted upon is {bound}"
    if kept.epoch <= finished:
        return f"epoch {kept.epoch} is over here"
    if now.boottime_ns >= held.deadlines.stop_at:
        return "its graceful stop has begun"
    apart = clock_disagreement(held.since, now, kept.constants.drift_max_ppm)
    return "" if apart is None else f"the clocks disagree since the guard was armed: {apart}"
