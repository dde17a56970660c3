"""(11) One group's life cycle on this site: plans, moves, endings; what it holds is told to it (agents/core/group.py).

The order that matters: bounds are durable before an epoch is claimed; authority comes before activation; verified
down and a durable `finished` come before a release. Whatever goes wrong leads to FENCING, from which only proof
leads out. A plan that was overtaken answers to nobody: its number no longer matches.
"""

from __future__ import annotations

from agents.core.effects import Fence, PlanKind, Tell
from agents.core.group_parts import GroupParts, Storing
from agents.core.health import HealthSummary
from agents.core.lease_holder import NO_EPOCH
from agents.core.site import LIVE_STATES, TAKEN_OVER, SiteInput
from agents.core.takeover import ACTIVATION_FAILED, HANDOVER, AdoptedGroup
from proto.clock import ClockReading
from proto.health import DORMANT_STATES, SiteState
from proto.lease import LeaseConstants, lock_delay_wait
from proto.messages import ReleaseKind
from proto.units import NS_PER_MS, DurationNs, Epoch, InstantNs, LicenseName

VERIFY_AGAIN_NS = 2_000 * NS_PER_MS
"""A site that cannot prove itself down tries again after this."""
REGRANT = "regrant"


class GroupLife(GroupParts):
    """How the group's state moves; one plan at a time."""

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
        self.given.adopted()
        self.known_constants = adopted.constants
        self._move(TAKEN_OVER[adopted.state])
        self._cause, self._revoked = adopted.cause, adopted.cause == HANDOVER
        if adopted.cause == ACTIVATION_FAILED:
            self.end.because(ReleaseKind.ACTIVATION_FAILED, "activation failed")
        self._told_epoch = NO_EPOCH if adopted.resumes is PlanKind.ON_EPOCH else adopted.epoch
        self._plans.go_on(adopted, self.settings, self.deadlines())
        if self._told_epoch != adopted.epoch and self.state is SiteState.ACTIVE:
            self._go_on_active()  # its steps may be begun again

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
        elif kind is PlanKind.ON_EPOCH:
            self._epoch_told(ok, text)
        elif ok:
            deadlines, self._ended = self.deadlines(), (SiteInput.STOPPED, orderly)
            self.licenses.look_last(now.boottime_ns, now.boottime_ns if deadlines is None else deadlines.kill_at)
            self._end_when_looked(now)
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
            self._store(Storing.FINISH)

    def _activated(self, ok: bool, text: str) -> None:
        if not ok:
            self._emit(Tell(self.settings.group, f"activation failed: {text}", alarm=True))
            self._cause = ACTIVATION_FAILED
            self._stop(ReleaseKind.ACTIVATION_FAILED, f"activation failed: {text}")
            return
        self._move(SiteInput.ACTIVATED)
        self._go_on_active()

    def _epoch_told(self, ok: bool, text: str) -> None:
        """The lease goes on whatever a resource says: it is the resource that refuses what it does not know."""
        if not ok:
            told = f"the resources were not told epoch {self.holder.epoch}: {text}"
            self._emit(Tell(self.settings.group, told, alarm=True))
        self._go_on_active()

    def _go_on_active(self) -> None:
        """Active, and no plan runs: what waited for that comes next."""
        if self._revoked or self._closing:
            self._stop(ReleaseKind.CLEAN, "verified down")
        elif self._told_epoch < self.holder.epoch:
            self._told_epoch = self.holder.epoch
            self._cause = REGRANT
            self._start(PlanKind.ON_EPOCH, self.settings.activation_timeout_ms, self.deadlines())

    def fenced(self, ok: bool, text: str, now: ClockReading) -> None:
        if self.state is not SiteState.FENCING:
            return
        if not ok:
            self.trouble = f"fence not proven: {text}"
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
            return
        self.end.fenced(self.trouble)
        self._ended = SiteInput.FENCED, False
        self._end_when_looked(now)

    def guard_lost(self, text: str) -> None:
        if self.state is SiteState.ACTIVATING:
            self.end.because(ReleaseKind.ACTIVATION_FAILED, "")
        if self.state in LIVE_STATES:
            self.fence(f"guard lost: {text}")

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
        if self.taken.mark is not None:
            # A new process has no round of holds to show, and the bound of an epoch in place is not what is held yet.
            return f"{self.settings.group} goes on by holds, until a witness has renewed it"
        return "" if self.end.release is None else f"the release of {self.settings.group} is not answered yet"

    def fence(self, text: str) -> None:
        if self._move(SiteInput.FENCE):
            self.trouble, self._ended = text, None
            self.licenses.last_look.forget()
            self._plans.drop()
            self._emit(Tell(self.settings.group, f"fencing: {text}", alarm=True))
            self._emit(Fence(self.settings.group, text))

    def license_active(self, name: LicenseName) -> None:
        """Its probe says that it is activated. Where nothing may run that is the end of trust, whoever activated it."""
        if self.state not in DORMANT_STATES:
            return
        text = f"license {name} is activated here though nothing may run"
        self.licenses.found_active(name)
        self.urgent = True
        if not self.settings.enforce:
            self._emit(Tell(self.settings.group, text, alarm=True))
            return
        if self.holder.epoch != NO_EPOCH:
            self.holder.end()  # claimed, not answered yet: it is not begun from here; the grant runs out
        # A release says "verified down", which is not so any more: the lease of what ended here runs out.
        self.end.release = None
        self.fence(text)

    def abandon(self, text: str, now: ClockReading) -> None:
        """The identity that held the epoch is gone (clocks disagree): fence, and release nothing."""
        self.end.release = None
        self.taken.forget()
        self.given.restarted(now)
        if self.state in LIVE_STATES:
            self.fence(text)
        elif self.holder.epoch != NO_EPOCH and self.state in DORMANT_STATES:
            self.holder.end()
            self._store(Storing.FINISH)

    def _stop_when_active(self, kind: ReleaseKind, text: str) -> None:
        """A plan that runs is let to its end first: half an activation is harder to undo than a whole one."""
        if self.state is SiteState.ACTIVE and not self._plans.running:
            self._stop(kind, text)

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

    def _end_when_looked(self, now: ClockReading) -> None:
        if self._ended is None or (self.holder.alive(now) and self.licenses.looking(now.boottime_ns)):
            return
        how, orderly = self._ended
        if orderly or not self._session_kept(now):
            self._ended = None
            self._down(how, now, orderly=orderly)

    def _session_kept(self, _now: ClockReading) -> bool:
        """It did not end in order, and nobody but its own word keeps others from beginning before the lock delay."""
        return False

    def _end_epoch(self, constants: LeaseConstants | None, now: ClockReading, delay_ns: int = 0) -> None:
        self.taken.epoch_over(None if self.superseded else self.held(), now, delay_ns)
        self.licenses.over(now.boottime_ns, 0 if constants is None else constants.ttl_ns)
        claim, epoch = self.holder.claim, self.holder.end()
        if epoch != NO_EPOCH and constants is not None and not self.superseded:
            # Superseded: the other one may be a copy of this machine that holds the same claim and still runs.
            patience_ns = DurationNs(2 * constants.ttl_ns)
            self.end.offer(epoch, claim, now, delay_ns, patience_ns)
        self.end.over()
        self._store(Storing.FINISH)

    def released(self, epoch: Epoch) -> None:
        self.urgent = self.end.answered(epoch) or self.urgent

    # -- time ---------------------------------------------------------------------------------------------

    def tick(self, now: ClockReading) -> None:
        if self._verify_at is not None and now.boottime_ns >= self._verify_at:
            self._verify_at = None
            self.start()
        self._end_when_looked(now)
        self.end.tick(now.boottime_ns, closing=self._closing)
        if self.state not in LIVE_STATES:
            return
        if self.holder.alive(now):
            self.licenses.holding(self.holder.epoch, self.holder.claim)
        deadlines = self.deadlines()
        if deadlines is None or not self.holder.alive(now) or now.boottime_ns >= deadlines.kill_at:
            self.fence("the lease ran out: no witness answered a renewal in time")
        elif now.boottime_ns >= deadlines.stop_at:
            if self.state is SiteState.ACTIVATING or (self.state is SiteState.ACTIVE and self._plans.running):
                what = "the activation" if self.state is SiteState.ACTIVATING else "the steps of a new epoch"
                self.fence(f"the lease runs out during {what}")
            elif self.state is SiteState.ACTIVE:
                self._cause = "lease-end"
                self._stop(ReleaseKind.CLEAN, "the lease ran out: verified down")

    def next_deadline(self) -> InstantNs | None:
        end_at = self.end.next_deadline(kept_back=self.licenses.keeps_release)
        wake = [self._verify_at, end_at, self.licenses.next_deadline()]
        deadlines = self.deadlines() if self.state in LIVE_STATES else None
        if deadlines is not None:
            running = self.state in (SiteState.ACTIVE, SiteState.ACTIVATING)
            wake.append(deadlines.stop_at if running else deadlines.kill_at)
        return min((at for at in wake if at is not None), default=None)
