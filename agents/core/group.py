"""(11) One group on this site: lease, life cycle and plans tied together; events in, effects out.

The order that matters: bounds are durable before an epoch is claimed; authority comes before activation; verified
down and a durable `finished` come before a release. Whatever goes wrong leads to FENCING, from which only proof
leads out. A plan that was overtaken answers to nobody: its number no longer matches.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from agents.core.effects import Effect, ExtendDeadline, Fence, KeepAuthority, PlanKind, StoreBounds, Tell
from agents.core.health import HealthSummary
from agents.core.lease_holder import NO_EPOCH, LeaseHolder
from agents.core.plan_numbers import PlanNumbers
from agents.core.release import EpochEnd
from agents.core.report import report_bytes, site_budgets, timing_blockers
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.site import LIVE_STATES, TAKEN_OVER, SiteInput, site_after
from agents.core.takeover import ACTIVATION_FAILED, HANDOVER, AdoptedGroup
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.health import DORMANT_STATES, SiteState
from proto.invariants import require
from proto.lease import LeaseConstants, lock_delay_wait
from proto.messages import GroupAnswer, GroupHeartbeat, Notice, NoticeKind, ReleaseKind, RevokePhase, Verdict
from proto.timing import LocalDeadlines, SiteBudgets, local_deadlines
from proto.units import NS_PER_MS, Claim, DurationNs, Epoch, InstantNs

VERIFY_AGAIN_NS = 2_000 * NS_PER_MS
"""A site that cannot prove itself down tries again after this."""

UNKNOWN_GROUP = "the witnesses know no such group, or it does not name this site: see `witnessctl groups`"
_NOT_LOST = frozenset({Reason.STALE_HEARTBEAT, Reason.REVOKE_DUE})
"""Refusals that do not mean that the lease is lost: a reordered attempt; a handover whose time is over."""


class _Storing(Enum):
    CLAIM = "claim"
    FINISH = "finish"


class GroupAgent:
    """Owns one group's lease holder and state; `emit` takes effects in order."""

    def __init__(
        self,
        settings: GroupSettings,
        agent: AgentSettings,
        holder: LeaseHolder,
        health: HealthSummary,
        emit: Callable[[Effect], None],
        tokens: Callable[[], bytes],
    ) -> None:
        self.settings = settings
        self.holder = holder
        self.health = health
        self.state = SiteState.UNKNOWN
        self.containment = "not tried yet"
        self.lacks: tuple[str, ...] = ()
        """What the guard needs and cannot have here: rights, an interface, a device."""
        self.urgent = True
        """Something changed that the witnesses should hear now."""
        self.end = EpochEnd()
        self.trouble = ""
        """Why the site was fenced or cannot prove itself down, for people."""
        self.unknown = False
        """The witnesses have no such group, or it has no such site."""
        self.group_version = 0
        self.known_constants: LeaseConstants | None = None
        self._agent = agent
        self._emit = emit
        self._tokens = tokens
        self._plans = PlanNumbers(settings.group, emit)
        self._storing: _Storing | None = None
        self._stored = (holder.bound, holder.finished)
        self._verify_at: InstantNs | None = None
        self._revoked = False
        self._cause = "start"
        self._closing = False
        self._superseded = False

    # -- what the witnesses hear --------------------------------------------------------------------------

    def heartbeat(self, *, terse: bool = False) -> GroupHeartbeat:
        """`terse`: without words for people, because the groups' reports together must fit one frame."""
        renewing = self.holder.epoch != NO_EPOCH and self.state is not SiteState.FENCING
        return GroupHeartbeat(
            group=self.settings.group,
            epoch=self.holder.epoch if renewing else NO_EPOCH,
            claim=self.holder.claim if renewing else Claim(bytes(16)),
            lag_ms=self.health.lag_ms,
            report=report_bytes(
                self.settings, self._agent, self, stored=self._stored, closing=self._closing, terse=terse
            ),
        )

    def budgets(self, constants: LeaseConstants) -> SiteBudgets:
        return site_budgets(self.settings, constants)

    def host_blockers(self) -> tuple[str, ...]:
        """Why this host cannot carry the group: budgets that do not fit its lease, or what its guard lacks."""
        return self.lacks + timing_blockers(self.known_constants, self.settings)

    def deadlines(self) -> LocalDeadlines | None:
        authority, constants = self.holder.authority, self.holder.constants
        if authority is None or constants is None:
            return None
        return local_deadlines(authority.deadline, self.budgets(constants))

    # -- answers ------------------------------------------------------------------------------------------

    def answered(self, answer: GroupAnswer, sent: ClockReading, carried: Epoch, now: ClockReading) -> None:
        """An answer to the attempt that was sent at `sent` and carried `carried` for this group."""
        unknown = answer.verdict is Verdict.UNKNOWN_GROUP
        if unknown and not self.unknown:
            self._emit(Tell(self.settings.group, UNKNOWN_GROUP, alarm=True))
        self.unknown = unknown
        if not unknown:
            self.group_version = answer.group_version
            self.known_constants = LeaseConstants(answer.ttl_ms, answer.drift_max_ppm, answer.lock_delay_ms)
        if answer.verdict is Verdict.RENEWED and carried == answer.epoch:
            self._renewed(answer, sent, now)
        elif answer.verdict is Verdict.GRANTED:
            self._granted(answer.epoch)
        elif answer.verdict is Verdict.REFUSED:
            self._refused(answer.reason, carried)

    def _refused(self, reason: Reason, carried: Epoch) -> None:
        if reason is Reason.INCARNATION_SUPERSEDED and not self._superseded:
            self._superseded = True
            self.trouble = "another agent speaks for this site: stop one of the two, then restart this one"
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
        if carried != NO_EPOCH and carried == self.holder.epoch and reason not in _NOT_LOST:
            why = f"the witnesses refused the renewal of epoch {carried}: {reason.value}"
            self._lost_lease(f"{self.trouble} ({why})" if self._superseded else why)

    def noticed(self, notice: Notice) -> None:
        """A hint: look at it now. A grant is claimed at once; only the claim's answer gives authority."""
        self.urgent = True
        if notice.kind is NoticeKind.GRANTED and self.known_constants is not None:
            self._granted(notice.epoch)

    def _granted(self, epoch: Epoch) -> None:
        """Claims a grant, unless this site could not use it: an unclaimed grant simply runs out."""
        able = self.settings.enforce and self.state in DORMANT_STATES and not self._closing
        if not able or self.end.release is not None or self._storing is not None or not self.holder.may_begin(epoch):
            return
        if self.host_blockers():
            return
        self.holder.bound = epoch
        self._store(_Storing.CLAIM)

    def _renewed(self, answer: GroupAnswer, sent: ClockReading, now: ClockReading) -> None:
        constants = LeaseConstants(answer.ttl_ms, answer.drift_max_ppm, answer.lock_delay_ms)
        first = self.holder.authority is None
        if not self.holder.renewed(answer.epoch, sent, constants, now):
            return
        deadlines = self.deadlines()
        if deadlines is None:
            return
        if first:
            require(self._move(SiteInput.AUTHORITY), f"authority for epoch {answer.epoch} in state {self.state}")
            self._emit(KeepAuthority(self.settings.group, answer.epoch, self.holder.claim, constants))
            self._start(PlanKind.ACTIVATE, self.settings.activation_timeout_ms, deadlines)
        elif self.state in LIVE_STATES:
            self._emit(ExtendDeadline(self.settings.group, answer.epoch, deadlines, constants))
        if answer.revoke is not RevokePhase.NONE and not self._revoked:
            self._revoked = True
            self._cause = HANDOVER
            self._stop_when_active(ReleaseKind.CLEAN, "handover: verified down")

    def _stop_when_active(self, kind: ReleaseKind, text: str) -> None:
        """An activation that runs is let to its end first: half an activation is harder to undo than a whole one."""
        if self.state is SiteState.ACTIVE:
            self._stop(kind, text)

    def _lost_lease(self, text: str) -> None:
        if self.state in LIVE_STATES:
            self.fence(text)
        elif self.state in DORMANT_STATES and self.holder.epoch != NO_EPOCH:
            self.holder.end()
            self._store(_Storing.FINISH)

    # -- what the shell reports ---------------------------------------------------------------------------

    def start(self, adopted: AdoptedGroup | None = None) -> None:
        """The worst is assumed until a plan proved that nothing runs (or the agent only watches).

        `adopted`: a guard proves that this incarnation still holds, so it goes on where its former process was.
        """
        if adopted is not None and self.settings.enforce:
            self._go_on(adopted)
        elif self.settings.enforce:
            self._start(PlanKind.VERIFY_DOWN, self.settings.deactivation_timeout_ms, None)

    def _go_on(self, adopted: AdoptedGroup) -> None:
        self.holder.adopt(adopted.epoch, adopted.claim, adopted.constants, adopted.authority)
        self.known_constants = adopted.constants
        self._move(TAKEN_OVER[adopted.state])
        self._cause, self._revoked = adopted.cause, adopted.cause == HANDOVER
        if adopted.cause == ACTIVATION_FAILED:
            self.end.because(ReleaseKind.ACTIVATION_FAILED, "activation failed")
        self._plans.go_on(adopted, self.settings, self.deadlines())

    def observe(self, health: HealthSummary) -> None:
        if health != self.health:
            self.urgent = self.urgent or health.ready != self.health.ready or health.healthy != self.health.healthy
            self.health = health

    def plan_finished(self, plan: int, ok: bool, text: str, now: ClockReading, *, orderly: bool = True) -> None:
        kind = self._plans.ended(plan)
        if kind is None:
            return
        if kind is PlanKind.VERIFY_DOWN:
            self._verified(ok, text, now)
        elif kind is PlanKind.ACTIVATE:
            self._activated(ok, text)
        elif ok:
            self._down(SiteInput.STOPPED, now, orderly=orderly)
        else:
            self.fence(f"deactivation could not be proven: {text}")

    def _verified(self, ok: bool, text: str, now: ClockReading) -> None:
        if ok:
            self.trouble = ""
            self._move(SiteInput.VERIFIED_DOWN)
            self._finish_former()
        else:
            self.trouble = f"not proven down: {text}"
            self._verify_at = InstantNs(now.boottime_ns + VERIFY_AGAIN_NS)
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
        self.urgent = True

    def _finish_former(self) -> None:
        """Whatever epoch a former life acted upon is over now: proven down."""
        if self.holder.bound > self.holder.finished:
            self.holder.finished = self.holder.bound
            self._store(_Storing.FINISH)

    def _activated(self, ok: bool, text: str) -> None:
        if not ok:
            self._emit(Tell(self.settings.group, f"activation failed: {text}", alarm=True))
            self._cause = ACTIVATION_FAILED
            self._stop(ReleaseKind.ACTIVATION_FAILED, f"activation failed: {text}")
            return
        self._move(SiteInput.ACTIVATED)
        if self._revoked or self._closing:
            self._stop(ReleaseKind.CLEAN, "verified down")

    def fenced(self, ok: bool, text: str, now: ClockReading) -> None:
        if self.state is not SiteState.FENCING:
            return
        if not ok:
            self.trouble = f"fence not proven: {text}"
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
            return
        self.end.fenced(self.trouble)
        self._down(SiteInput.FENCED, now, orderly=False)

    def guard_lost(self, text: str) -> None:
        if self.state is SiteState.ACTIVATING:
            self.end.because(ReleaseKind.ACTIVATION_FAILED, "")
        if self.state in LIVE_STATES:
            self.fence(f"guard lost: {text}")

    def bounds_stored(self, now: ClockReading) -> None:
        storing, self._storing = self._storing, None
        if storing is None:
            return
        self._stored = (self.holder.bound, self.holder.finished)
        if storing is _Storing.FINISH and not self._superseded:
            self.trouble = ""  # it is over and proven; the ledger and the log keep why
        if storing is _Storing.CLAIM and self._closing:
            self._finish_former()
        elif storing is _Storing.CLAIM and self.state in DORMANT_STATES:
            self._revoked = False
            self._cause = "grant"
            self.trouble = ""
            self.holder.begin(self.holder.bound, Claim(self._tokens()))
        self.end.durable(now.boottime_ns)
        self.urgent = True

    # -- moves --------------------------------------------------------------------------------------------

    def close(self, now: ClockReading) -> None:
        """The agent process stops: deactivate in order, release, claim nothing more."""
        self._closing = True
        self._cause = "shutdown"
        self._stop_when_active(ReleaseKind.CLEAN, "agent stopped: verified down")
        if self.state in DORMANT_STATES and self.holder.epoch != NO_EPOCH:
            # Claimed, not answered yet: declined, and released in case the claim was committed.
            self.end.because(ReleaseKind.CLEAN, "agent stopped before it began")
            self._end_epoch(self.known_constants, now)
        self.urgent = True

    def closed(self) -> bool:
        """Dormant with nothing left to release (or never enforcing)."""
        if not self.settings.enforce:
            return True
        ended = self.end.release is None and self._storing is None
        return ended and self.state not in LIVE_STATES | {SiteState.FENCING}

    def unsettled(self) -> str:
        """'' or what only this process can bring to its end: the next one has neither the plan nor the claim."""
        if self.state in (SiteState.DEACTIVATING, SiteState.FENCING):
            return f"{self.settings.group} is {self.state.value}"
        return "" if self.end.release is None else f"the release of {self.settings.group} is not answered yet"

    def fence(self, text: str) -> None:
        if self._move(SiteInput.FENCE):
            self.trouble = text
            self._plans.drop()
            self._emit(Tell(self.settings.group, f"fencing: {text}", alarm=True))
            self._emit(Fence(self.settings.group, text))

    def abandon(self, text: str) -> None:
        """The identity that held the epoch is gone (clocks disagree): fence, and release nothing."""
        self.end.release = None
        if self.state in LIVE_STATES:
            self.fence(text)
        elif self.holder.epoch != NO_EPOCH and self.state in DORMANT_STATES:
            self.holder.end()
            self._store(_Storing.FINISH)

    def _stop(self, kind: ReleaseKind, text: str) -> None:
        if self._move(SiteInput.STOP):
            self.end.because(kind, text)
            self._start(PlanKind.DEACTIVATE, self.settings.deactivation_timeout_ms, self.deadlines())

    def _down(self, how: SiteInput, now: ClockReading, *, orderly: bool) -> None:
        """Verified down: the epoch ends here for good, durably, and then it is released.

        What was not stopped by its own steps may have left a session open at a license server: the lock delay passes.
        """
        self._move(how)
        constants = self.holder.constants
        delay_ns = 0
        if not orderly and constants is not None:
            delay_ns = lock_delay_wait(constants)
        self._end_epoch(constants, now, delay_ns)

    def _end_epoch(self, constants: LeaseConstants | None, now: ClockReading, delay_ns: int = 0) -> None:
        claim, epoch = self.holder.claim, self.holder.end()
        if epoch != NO_EPOCH and constants is not None and not self._superseded:
            # Superseded: the other one may be a copy of this machine that holds the same claim and still runs.
            patience_ns = DurationNs(2 * constants.ttl_ns)
            self.end.offer(epoch, claim, now, delay_ns, patience_ns)
        self.end.over()
        self._store(_Storing.FINISH)

    def released(self, epoch: Epoch) -> None:
        self.urgent = self.end.answered(epoch) or self.urgent

    def _move(self, site_input: SiteInput) -> bool:
        state = site_after(self.state, site_input)
        if state is None:
            return False
        self.state = state
        self.urgent = True
        return True

    def _store(self, storing: _Storing) -> None:
        self._storing = storing
        self._emit(StoreBounds(self.settings.group, self.holder.bound, self.holder.finished))

    def _start(self, kind: PlanKind, timeout_ms: int, deadlines: LocalDeadlines | None) -> None:
        self._plans.start(kind, self.holder.epoch, self._cause, deadlines, timeout_ms)

    # -- time ---------------------------------------------------------------------------------------------

    def tick(self, now: ClockReading) -> None:
        if self._verify_at is not None and now.boottime_ns >= self._verify_at:
            self._verify_at = None
            self.start()
        self.end.tick(now.boottime_ns, closing=self._closing)
        if self.state not in LIVE_STATES:
            return
        deadlines = self.deadlines()
        if deadlines is None or not self.holder.alive(now) or now.boottime_ns >= deadlines.kill_at:
            self.fence("the lease ran out: no witness answered a renewal in time")
        elif now.boottime_ns >= deadlines.stop_at:
            if self.state is SiteState.ACTIVATING:
                self.fence("the lease runs out during the activation")
            elif self.state is SiteState.ACTIVE:
                self._cause = "lease-end"
                self._stop(ReleaseKind.CLEAN, "the lease ran out: verified down")

    def next_deadline(self) -> InstantNs | None:
        wake = [at for at in (self._verify_at, self.end.next_deadline()) if at is not None]
        deadlines = self.deadlines() if self.state in LIVE_STATES else None
        if deadlines is not None:
            running = self.state in (SiteState.ACTIVE, SiteState.ACTIVATING)
            wake.append(deadlines.stop_at if running else deadlines.kill_at)
        return min(wake, default=None)
