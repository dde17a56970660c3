"""(11) One group on this site: what witnesses and other sites say of its lease, and what is said to them.

Its life cycle is agents/core/group_life.py. A grant is claimed only when this site could use it and has promised nobody
not to; while no witness answers, holds of every other site extend what is held (agents/core/holds_taken.py), and this
site's own promises keep it from beginning anything (agents/core/holds_given.py). docs/adr/0016 has the reasons.
"""

from __future__ import annotations

from agents.core.effects import ExtendDeadline, KeepAuthority, PlanKind, StoreSites, Tell
from agents.core.group_life import GroupLife
from agents.core.group_parts import Storing
from agents.core.holds_given import Standing
from agents.core.lease_holder import NO_EPOCH
from agents.core.life_start import GroupLifeStart
from agents.core.report import HoldsReport, report_bytes
from agents.core.site import LIVE_STATES, SiteInput
from agents.core.takeover import HANDOVER
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.groups import WitnessLoss
from proto.health import DORMANT_STATES, SiteState
from proto.invariants import require
from proto.lease import LeaseConstants
from proto.license import LicenseReport
from proto.messages import (
    GroupAnswer,
    GroupHeartbeat,
    GroupSites,
    Notice,
    NoticeKind,
    ReleaseKind,
    RevokePhase,
    Verdict,
)
from proto.permit import PermitMark
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRequest
from proto.units import Claim, Epoch, InstantNs, SiteId

SECOND_AGENT = "another agent speaks for this site: stop one of the two, then restart this one"
UNKNOWN_GROUP = "the witnesses know no such group, or it does not name this site: see `witnessctl groups`"
_NOT_LOST = frozenset({Reason.STALE_HEARTBEAT, Reason.REVOKE_DUE})
"""Refusals that do not mean that the lease is lost: a reordered attempt; a handover whose time is over."""
__all__ = ["UNKNOWN_GROUP", "GroupAgent", "GroupLifeStart"]


class GroupAgent(GroupLife):
    """Everything that comes in over a stream or over the site link."""

    _heard_grant = NO_EPOCH
    _sites_storing: GroupSites | None = None
    _hold_interval_ns = 0
    _holds_since = InstantNs(0)
    _holds_told = False
    """The alarm of them was raised, and they are not over."""
    _epoch_version = 0
    """The highest that a renewal of this epoch was answered with: the sites of an older one are not the whole set."""
    _claims_at: InstantNs | None = None

    @property
    def permit_in_use(self) -> bool:
        """Neither are holds taken then, nor given (agents/core/group_permit.py)."""
        return False

    @property
    def under_permit(self) -> PermitMark | None:
        """Authority is by this break-glass permit, now."""
        return None

    @property
    def told_permit(self) -> PermitMark | None:
        """What the witnesses are told of permits."""
        return None

    # -- what the witnesses hear --------------------------------------------------------------------------

    @property
    def group_version(self) -> int:
        """The version whose sites are known here; without a site link what the witnesses said last."""
        if not self._agent.peers:
            return self.answered_version if self.sites is None else self.sites.version
        known = self.sites if self.given.told or not self.given.cold else None
        return 0 if known is None else known.version

    @property
    def holds(self) -> HoldsReport:
        if not self.given.told and self.sites is None and self.taken.mark is None:
            return HoldsReport()
        return HoldsReport(self.promising, self.given.mark, self.taken.mark)

    def license_reports(self) -> tuple[LicenseReport, ...]:
        return self.licenses.reports()

    def heartbeat(self, *, terse: bool = False) -> GroupHeartbeat:
        """`terse`: without words for people, because the groups' reports together must fit one frame."""
        renewing = self.holder.epoch != NO_EPOCH and self.state is not SiteState.FENCING
        return GroupHeartbeat(
            group=self.settings.group,
            epoch=max(self.holder.epoch, self.holder.next) if renewing else NO_EPOCH,
            claim=self.holder.claim if renewing else Claim(bytes(16)),
            lag_ms=self.health.lag_ms,
            report=report_bytes(
                self.settings, self._agent, self, stored=self._stored, closing=self._closing, terse=terse
            ),
        )

    # -- answers ------------------------------------------------------------------------------------------

    def answered(self, answer: GroupAnswer, sent: ClockReading, carried: Epoch, now: ClockReading) -> None:
        """An answer to the attempt that was sent at `sent` and carried `carried` for this group."""
        unknown = answer.verdict is Verdict.UNKNOWN_GROUP
        if unknown and not self.unknown:
            self._emit(Tell(self.settings.group, UNKNOWN_GROUP, alarm=True))
        self.unknown = unknown
        if not unknown:
            self.answered_version = answer.group_version
            self.known_constants = LeaseConstants(answer.ttl_ms, answer.drift_max_ppm, answer.lock_delay_ms)
        if answer.verdict is Verdict.RENEWED and carried == answer.epoch:
            self._renewed(answer, sent, now)
        elif answer.verdict is Verdict.GRANTED:
            self._granted(answer.epoch, carried)
        elif answer.verdict is Verdict.REFUSED:
            self._refused(answer.reason, carried)

    def _refused(self, reason: Reason, carried: Epoch) -> None:
        if reason is Reason.INCARNATION_SUPERSEDED and not self.superseded:
            self.superseded = True
            self.end.release = None  # what waits for its word is void as well: the other one may be a copy that runs
            self.taken.tell_nobody()
            self.trouble = SECOND_AGENT
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
        if carried == NO_EPOCH or carried not in (self.holder.epoch, self.holder.next):
            return
        if reason is Reason.REVOKE_DUE:
            self._revoke()  # the answers that would have told of the handover were lost
        if reason in _NOT_LOST:
            return
        if carried != self.holder.epoch and reason is Reason.NOT_HOLDER:
            self.urgent = True
            self.holder.decline_in_place()  # it ran out before it was claimed; the epoch before it goes on by holds
        else:
            why = f"the witnesses refused the renewal of epoch {carried}: {reason.value}"
            self._lost_lease(f"{self.trouble} ({why})" if self.superseded else why)

    def begins_anew(self, text: str) -> None:
        """Another incarnation, which nobody has superseded. A fence that is under way goes on, by another reason."""
        if self.superseded:
            self.trouble = text if self.state is SiteState.FENCING else ""
        self.superseded = False

    def noticed(self, notice: Notice) -> None:
        """A hint: look at it now. A grant is claimed at once; only the claim's answer gives authority."""
        self.urgent = True
        if notice.kind is NoticeKind.GRANTED and self.known_constants is not None:
            self._granted(notice.epoch)

    def _granted(self, epoch: Epoch, carried: Epoch = NO_EPOCH) -> None:
        """Claims a grant, unless this site could not use it: an unclaimed grant simply runs out."""
        if self.state not in DORMANT_STATES:
            self._granted_in_place(epoch, carried)
            return
        self._heard_grant = Epoch(max(self._heard_grant, epoch))
        able = self.settings.enforce and not self._closing and not self.promising
        if not able or self.end.release is not None or self._storing is not None or not self.holder.may_begin(epoch):
            return
        if self.host_blockers():
            return
        self.holder.bound = epoch
        self._store(Storing.CLAIM)

    def _granted_in_place(self, epoch: Epoch, carried: Epoch) -> None:
        """The witnesses are back and know the chain of holds: a new epoch, without a stop."""
        runs = self.state in (SiteState.ACTIVE, SiteState.ACTIVATING) and self.goes_on_alone(carried)
        if not runs or epoch <= self.holder.bound or self._storing is not None or self.holder.next != NO_EPOCH:
            return
        self.holder.bound = epoch
        self._store(Storing.REGRANT)

    def goes_on_alone(self, carried: Epoch) -> bool:
        """Its authority does not come from the witnesses, and the heartbeat that they answer told them so."""
        return self.taken.mark is not None and carried == self.holder.epoch

    def _renewed(self, answer: GroupAnswer, sent: ClockReading, now: ClockReading) -> None:
        constants = LeaseConstants(answer.ttl_ms, answer.drift_max_ppm, answer.lock_delay_ms)
        first = self.holder.authority is None
        if first and self.holder.too_late(sent, constants, self.budgets(constants).stop_budget_ms, now):
            return
        moved = self.state in LIVE_STATES and self.holder.moved(answer.epoch, sent, constants, now)
        if not moved and not self.holder.renewed(answer.epoch, sent, constants, now):
            return
        self._epoch_version = answer.group_version if first else max(self._epoch_version, answer.group_version)
        if self.taken.renewed():
            self.urgent = True
        if self._holds_told:
            self._holds_told = False
            self._emit(Tell(self.settings.group, f"witnesses renew epoch {answer.epoch} again: holds are over"))
        if first:
            require(self._move(SiteInput.AUTHORITY), f"authority for epoch {answer.epoch} in state {self.state}")
            self._told_epoch = answer.epoch
            self._emit(KeepAuthority(self.settings.group, answer.epoch, self.holder.claim, constants))
            self._start(PlanKind.ACTIVATE, self.settings.activation_timeout_ms, self.deadlines())
        elif self.state in LIVE_STATES:
            if moved:
                self._emit(KeepAuthority(self.settings.group, answer.epoch, self.holder.claim, constants))
            self._extend(constants)
        if answer.revoke is not RevokePhase.NONE:
            self._revoke()
        if moved and self.state is SiteState.ACTIVE and not self._plans.running:
            self._go_on_active()

    def _revoke(self) -> None:
        """A handover: down in order; nobody is asked for holds any more."""
        if not self._revoked:
            self._revoked = True
            self._cause = HANDOVER
            self._stop_when_active(ReleaseKind.CLEAN, "handover: verified down")

    def _extend(self, constants: LeaseConstants) -> None:
        deadlines = self.deadlines()
        if deadlines is not None and self._ended is None:
            self._emit(ExtendDeadline(self.settings.group, self.holder.epoch, deadlines, constants))

    def _lost_lease(self, text: str) -> None:
        if self.state in LIVE_STATES:
            self.fence(text)
        elif self.state in DORMANT_STATES and self.holder.epoch != NO_EPOCH:
            self.holder.end()
            self._store(Storing.FINISH)

    def bounds_stored(self, now: ClockReading) -> None:
        storing, self._storing = self._storing, None
        if storing is None:
            return
        self._stored = (self.holder.bound, self.holder.finished)
        if self._finish_again:
            self._finish_again = False
            self._store(Storing.FINISH)
            return
        if storing is Storing.FINISH and not self.superseded:
            self.trouble = ""  # it is over and proven; the ledger and the log keep why
        if storing is Storing.CLAIM and self._closing:
            self._finish_former()
        elif storing is Storing.CLAIM and self.state in DORMANT_STATES:
            self._revoked = False
            self._cause = "grant"
            self.trouble = ""
            self.holder.begin(self.holder.bound, Claim(self._tokens()))
        elif storing is Storing.REGRANT and self.state in LIVE_STATES:
            self.holder.begin_in_place(self.holder.bound)
        self.end.durable(now.boottime_ns)
        if storing is Storing.FINISH:
            self.taken.durable(now.boottime_ns)
        self.urgent = True

    # -- holds --------------------------------------------------------------------------------------------

    def told_sites(self, message: GroupSites) -> None:
        """A version is reported only when its sites are on disk; a lower one only while nothing is held."""
        self.given.tell(message.wait)
        self.licenses.told = True
        self.urgent = True
        known = self.sites
        newer = known is None or message.version > known.version
        again = message.version == self.answered_version and self.holder.epoch == NO_EPOCH
        # Who asks no site for holds, and takes no permits, needs to know nothing; but what was once kept is kept up.
        needed = bool(self._agent.peers) or message.permits.enabled or known is not None
        if needed and self._sites_storing is None and message != known and (newer or again):
            self._sites_storing = message
            self._emit(StoreSites(self.settings.group, message))

    def sites_stored(self) -> None:
        self.sites, self._sites_storing = self._sites_storing or self.sites, None
        self.urgent = True

    def hold(self, now: ClockReading, *, silent: bool, interval_ns: int) -> None:
        """One look: is a round of holds due? `silent`: no witness has answered for longer than it should take."""
        if not (silent or self.taken.on):
            return
        self._hold_interval_ns = interval_ns
        held, known = self.held(), self._whole_set()
        runs = self.state in (SiteState.ACTIVE, SiteState.ACTIVATING) and self.holder.alive(now)
        if held is None or known is None or not runs or self._revoked or self.superseded or self.permit_in_use:
            self.taken.on = False
            return
        if not self.taken.on:
            self._holds_since, self._holds_told = now.boottime_ns, False
        others = tuple(site for site in known.sites if site != self._agent.site)
        self.taken.tick(held, others, known.version, interval_ns, now)
        self._tell_of_holds(now)

    def _tell_of_holds(self, now: ClockReading) -> None:
        """Not before another site that hears the witnesses had the time to carry the streams: nothing is wrong then.

        One that holds does not hear them, so that nobody has to be waited for.
        """
        late = now.boottime_ns - self._holds_since >= self._hold_interval_ns
        if not self._holds_told and (late or self.taken.mark is not None):
            self._holds_told = True
            self._emit(Tell(self.settings.group, "no witness answers: the other sites are asked to hold", alarm=True))

    def _whole_set(self) -> GroupSites | None:
        """The sites that must all hold; None when they are not known, or the configuration says fence."""
        known = self.sites
        usable = known is not None and known.witness_loss is WitnessLoss.HOLD and known.version >= self._epoch_version
        return known if usable else None

    def site_answered(self, site: SiteId, message: HoldAnswer | HoldEndAnswer, now: ClockReading) -> bool:
        """True when a twin with this incarnation and claim is ahead."""
        if isinstance(message, HoldEndAnswer):
            self.taken.end_answered(site, message)
            return False
        twin, mark = self.taken.answered(site, message), self.taken.mark
        constants = self.holder.constants
        grown = None if constants is None or not self.taken.on else self.taken.authority(constants)
        counts = not twin and grown is not None and self.state in LIVE_STATES
        if counts and grown is not None and constants is not None and self.holder.held(message.epoch, grown, now):
            self._extend(constants)
        self.urgent = self.urgent or (mark is None) != (self.taken.mark is None)
        return twin

    def site_asked(
        self, site: SiteId, message: HoldRequest | HoldEnd, received: ClockReading, *, hears_witnesses: bool
    ) -> None:
        if isinstance(message, HoldEnd):
            self.given.ended(site, message)
            return
        standing = Standing(
            enforcing=self.settings.enforce,
            down=self.state in DORMANT_STATES,
            claiming=self.holder.epoch != NO_EPOCH or self.holder.bound > self.holder.finished or bool(self._storing),
            bound=self.holder.bound,
            granted=self._heard_grant,
            holds=self.sites is None or self.sites.witness_loss is WitnessLoss.HOLD,
            sites=() if self.sites is None else self.sites.sites,
            hears_witnesses=hears_witnesses,
            permit=self.permit_in_use,
        )
        self.given.asked(site, message, received, standing)
        self._look_at_promises(received)

    def promise_stored(self) -> None:
        self.given.promise_stored()
        self.urgent = True

    def _look_at_promises(self, now: ClockReading) -> None:
        promising = not self.given.may_claim(now)
        self.urgent = self.urgent or promising != self.promising
        self.promising = promising
        self._claims_at = self.given.next_deadline(now) if promising else None

    # -- time ---------------------------------------------------------------------------------------------

    def tick(self, now: ClockReading) -> None:
        self._look_at_promises(now)
        self.taken.tell_ends(now)
        super().tick(now)

    def next_deadline(self) -> InstantNs | None:
        wake = [super().next_deadline(), self._claims_at, self.taken.next_deadline(self._hold_interval_ns)]
        return min((at for at in wake if at is not None), default=None)
