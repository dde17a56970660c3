"""(11) One group that may go on without the witnesses: by an operator's break-glass permit.

What may be taken is agents/core/permit_desk.py's. Here is what follows: under a permit the site extends its own
authority, a ttl at a time, while this process lives; guards and members are what they always are. It neither asks for
holds nor gives any, renews nothing at the witnesses, and tells them of the permit. They adopt it in place: it goes on
under the permit until their first answer to the claim of their epoch, and then the permit is over (docs/adr/0018).
Nobody here knows when the others ended, or how: by the operator's word they have, now. So the lock delay passes between
the permit and the first step of the activation; the site counts as activating meanwhile. And no lease of the witnesses
waits for what ends out of order under a permit: it is told as down when the lock delay has passed, also by a next life,
which names the permit until then. Its word alone keeps others from being granted, also when it is silent.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.core.effects import Effect, KeepAuthority, PlanKind, Tell
from agents.core.group import GroupAgent
from agents.core.group_parts import Storing
from agents.core.health import HealthSummary
from agents.core.lease_holder import NO_CLAIM, NO_EPOCH, Authority, LeaseHolder
from agents.core.life_start import GroupLifeStart
from agents.core.lock_delay import LockDelay
from agents.core.permit_desk import PermitDesk, PermitStanding
from agents.core.settings import AgentSettings, GroupSettings
from agents.core.site import LIVE_STATES, SiteInput
from agents.core.takeover import AdoptedGroup
from proto.clock import ClockReading
from proto.decisions import Reason
from proto.health import DORMANT_STATES, SiteState
from proto.lease import LeaseConstants, holder_deadline, longest
from proto.messages import GroupAnswer, GroupHeartbeat, ReleaseKind
from proto.permit import Permit, PermitMark
from proto.timing import renew_interval_ms
from proto.units import NS_PER_MS, Claim, Epoch, InstantNs, SiteId

__all__ = ["GroupLifeStart", "PermittedGroup"]
BY_PERMIT = "permit"
"""The cause that activation steps see."""
_LOCK_DELAY_PASSES = "down; the license server may keep the session of what ran under a permit: lock_delay passes"
_LOCK_DELAY_UNKNOWN = (
    "down; the license server may keep the session of what ran under a permit, and no witness has told for how long"
)


class PermittedGroup(GroupAgent):
    """A GroupAgent whose site may be active under a permit."""

    def __init__(
        self,
        settings: GroupSettings,
        agent: AgentSettings,
        holder: LeaseHolder,
        health: HealthSummary,
        emit: Callable[[Effect], None],
        tokens: Callable[[], bytes],
        life: GroupLifeStart,
    ) -> None:
        super().__init__(settings, agent, holder, health, emit, tokens, life)
        self.desk = PermitDesk((agent.cluster, settings.group, agent.site), emit, life.permit, life.started)
        self._extend_at: InstantNs | None = None
        self._before = LockDelay()
        """Of whoever was stopped: activating, and no step is begun before it has passed."""
        self._behind = LockDelay()
        """Of what ended here."""
        self._lived_by_permit = False
        """The former life, or nobody can tell; and what it left does not count as down yet."""
        self._proven_at: ClockReading | None = None
        """What it left was proven down then; from there on the lock delay passes."""
        self._wait_told = ""

    # -- what is under way ----------------------------------------------------------------------------------

    @property
    def permit_in_use(self) -> bool:
        return self.desk.current is not None

    @property
    def under_permit(self) -> PermitMark | None:
        mark = self.desk.current
        return mark if mark is not None and self.holder.epoch == mark.epoch else None

    @property
    def told_permit(self) -> PermitMark | None:
        """A next life says so of what the former one left, until that counts as down: no lease waits for it."""
        return self.desk.current if self._lived_by_permit else self.under_permit

    def lock_delay(self, now: ClockReading) -> tuple[str, int]:
        """What the lock delay stands before, and for how many nanoseconds more; '' and 0 when nothing waits for it."""
        waits = {
            "first-step": self._before.left_ns(now),
            "counts-as-down": self._behind.left_ns(now),
            "release": self.end.kept_back_ns(now),
        }
        return next(((what, left_ns) for what, left_ns in waits.items() if left_ns > 0), ("", 0))

    @property
    def site(self) -> SiteId:
        return self._agent.site

    @property
    def tells_answered(self) -> bool:
        """The witnesses must know which of their answers are known here."""
        return self.sites is not None and self.sites.permits.enabled

    def start(self, adopted: AdoptedGroup | None = None) -> None:
        super().start(adopted)
        if self.under_permit is not None:
            self._extend_at = InstantNs(0)  # a new process of this life: it extends from its first look
        elif self.settings.enforce and self.state is SiteState.UNKNOWN:
            # A cold start: nobody confirmed this life. What is on disk goes on saying so, for one that follows it.
            self._lived_by_permit = self.permit_in_use or bool(self.desk.record.damaged)
        elif not self.desk.taking:
            self.desk.over()

    def heartbeat(self, *, terse: bool = False) -> GroupHeartbeat:
        beat = super().heartbeat(terse=terse)
        if self.under_permit is not None and self.holder.next == NO_EPOCH:
            return beat._replace(epoch=NO_EPOCH, claim=NO_CLAIM)
        return beat

    # -- taking and ending one ------------------------------------------------------------------------------

    def break_glass(self, permit: Permit, now: ClockReading) -> str:
        """'' when the permit is taken, else why not."""
        return self.desk.offered(permit, self.permit_standing(now), now)

    def permit_standing(self, now: ClockReading) -> PermitStanding:
        # A release that no witness answers hinders nothing: who was active when they were lost has one.
        busy = self.holder.epoch != NO_EPOCH or self._storing is not None or not self.end.settled(now)
        promise = self.given.promise
        return PermitStanding(
            enforcing=self.settings.enforce,
            down=self.state in DORMANT_STATES,
            idle=not busy and not self._closing,
            superseded=self.superseded,
            bound=self.holder.bound,
            finished=self.holder.finished,
            promised=NO_EPOCH if promise is None else promise.epoch,
            promising=self.given.outstanding(now),
            cold_wait=self._cold_wait(),
            blockers=self.host_blockers(),
            constants=self.permit_constants(),
            sites=self.sites,
        )

    def _cold_wait(self) -> LeaseConstants | None:
        """The longest lease that this site may have promised to in a former life, as far as its disk tells.

        Without the witnesses nobody knows better; that no other site can go on is the operator's word as well.
        """
        told = () if self.sites is None else (self.sites.wait, self.sites.constants)
        promised = None if self.given.promise is None else self.given.promise.constants
        known = [one for one in (*told, promised, self.known_constants) if one is not None]
        return longest(*known) if known else None

    def permit_constants(self) -> LeaseConstants | None:
        told = None if self.sites is None else self.sites.constants
        return self.known_constants or told

    def permit_stored(self, now: ClockReading) -> None:
        """What was used is on disk. The epoch's bound follows, and only then does anything begin."""
        permit = self.desk.stored()
        self.urgent = True
        if permit is None:
            return
        standing = self.permit_standing(now)
        able = standing.down and standing.idle and not standing.promising and permit.epoch > standing.bound
        if not able or standing.constants is None:
            self.desk.over()
            self._emit(
                Tell(self.settings.group, "the permit is used up: the site changed while it was noted", alarm=True)
            )
            return
        self.known_constants = standing.constants
        self.holder.bound = permit.epoch
        self._store(Storing.PERMIT)

    def bounds_stored(self, now: ClockReading) -> None:
        beginning, ended = self._storing is Storing.PERMIT, self._finish_again
        super().bounds_stored(now)
        mark, constants = self.desk.current, self.desk.record.constants
        if not beginning:
            return
        if (
            mark is None
            or constants is None
            or ended
            or self.state not in DORMANT_STATES
            or self._closing
            or self.holder.epoch != NO_EPOCH
            or self.given.outstanding(now)
        ):
            self._permit_over("the permit is used up: the site changed while it was noted")
            self._finish_former()
            return
        self._begin_by_permit(mark, constants, now)

    def _begin_by_permit(self, mark: PermitMark, constants: LeaseConstants, now: ClockReading) -> None:
        self.end.release = None  # of an epoch before: if its lease is still there, it runs out
        self.holder.begin(mark.epoch, Claim(self._tokens()))
        if not self.holder.renewed(mark.epoch, now, constants, now) or not self._move(SiteInput.AUTHORITY):
            return
        self._revoked, self.trouble, self._cause, self._told_epoch = False, "", BY_PERMIT, mark.epoch
        self._plan_extension(constants, now)
        words = (
            f"active under break-glass permit {mark.permit.hex()[:12]}, epoch {mark.epoch}: no witness protects this"
        )
        self._emit(Tell(self.settings.group, words, alarm=True))
        self._emit(KeepAuthority(self.settings.group, mark.epoch, self.holder.claim, constants))
        delay_ns = self._before.begin(longest(constants, self._cold_wait() or constants), now)
        if delay_ns:
            wait_ms = -(-delay_ns // NS_PER_MS)
            words = f"its first step waits {wait_ms} ms: a license server may keep the other's session"
            self._emit(Tell(self.settings.group, words))
            return
        self._start(PlanKind.ACTIVATE, self.settings.activation_timeout_ms, self.deadlines())

    def _begin_steps(self, now: ClockReading) -> None:
        if self.state is not SiteState.ACTIVATING:
            self._before.forget()
        elif self._before.begun and self._before.passed(now):
            self._told_epoch = self.holder.epoch  # it may be the witnesses' by now
            self._start(PlanKind.ACTIVATE, self.settings.activation_timeout_ms, self.deadlines())

    def _stop_when_active(self, kind: ReleaseKind, text: str) -> None:
        if not self._before.begun:
            super()._stop_when_active(kind, text)
            return
        self._before.forget()
        self._stop(kind, text)  # no step has begun

    def unsettled(self) -> str:
        if self._before.begun and self.state is SiteState.ACTIVATING:
            return f"{self.settings.group} waits for the lock delay before the first step under its permit"
        return super().unsettled()

    def end_permit(self) -> str:
        """'' when the site stops now, verified; else why there is nothing to end."""
        if self.under_permit is None:
            return f"{self.settings.group} is not active under a permit here"
        self._revoked, self._cause = True, "permit-end"
        self._stop_when_active(ReleaseKind.CLEAN, "permit ended: verified down")
        return ""

    def _session_kept(self, now: ClockReading) -> bool:
        constants = self.holder.constants
        if self.under_permit is None or constants is None:
            return False
        if not self._behind.begun:
            self._behind.begin(constants, now)
        return not self._behind.passed(now)

    def _verified(self, ok: bool, text: str, now: ClockReading) -> None:
        if ok and self._lived_by_permit:
            self._proven_at = now
            self._down_at_last(now)
            return
        super()._verified(ok, text, now)

    def _left_constants(self) -> LeaseConstants | None:
        """Whose lock delay passes behind a former life; None while nobody here can tell."""
        ran = self.desk.record.constants
        if ran is None:
            return self._cold_wait()
        present = self.permit_constants()  # whoever raised it since may have cause
        return ran if present is None else longest(ran, present)

    def _down_at_last(self, now: ClockReading) -> None:
        """What a former life had under a permit was proven down, and the lock delay has passed since."""
        proven, constants = self._proven_at, self._left_constants()
        if proven is None:
            return
        if constants is not None:
            self._behind.begin(constants, proven)
        if constants is None or not self._behind.passed(now):
            self._tell_wait(_LOCK_DELAY_UNKNOWN if constants is None else _LOCK_DELAY_PASSES)
            return
        self._proven_at, self._lived_by_permit = None, False
        if self.desk.current is not None:
            # Finished here whatever the disk says of its bound: until then the permit counts.
            self.holder.bound = Epoch(max(self.holder.bound, self.desk.current.epoch))
        self.desk.over()
        super()._verified(True, "", now)

    def _tell_wait(self, words: str) -> None:
        if self._wait_told != words:
            self._wait_told = self.trouble = words
            self._emit(Tell(self.settings.group, words))

    def _permit_over(self, words: str) -> None:
        if self.desk.current is not None:
            self.desk.over()
            self._emit(Tell(self.settings.group, words, alarm=True))

    def _end_epoch(self, constants: LeaseConstants | None, now: ClockReading, delay_ns: int = 0) -> None:
        mark, claimed = self.under_permit, self.holder.next
        super()._end_epoch(constants, now, delay_ns)
        self._behind.forget()  # the epoch may have become the witnesses' in that wait: its release waits, then
        if mark is not None:
            if claimed == NO_EPOCH:
                self.end.release = None  # no witness granted it
            self._permit_over(f"permit {mark.permit.hex()[:12]} is over: verified down")

    def abandon(self, text: str, now: ClockReading) -> None:
        super().abandon(text, now)
        self._silence_over("the clocks that counted the silence are not trusted any more", now)

    # -- the witnesses --------------------------------------------------------------------------------------

    def answered(self, answer: GroupAnswer, sent: ClockReading, carried: Epoch, now: ClockReading) -> None:
        self._silence_over("a witness answered", now)
        super().answered(answer, sent, carried, now)
        mark = self.under_permit
        if mark is None:
            if self.desk.current is not None and self.state in LIVE_STATES and self.holder.epoch != NO_EPOCH:
                self._permit_over(f"adopted by the witnesses under epoch {self.holder.epoch}: the permit is over")
        elif answer.reason is Reason.PERMIT_OVERRULED and self.state in LIVE_STATES:
            self.fence(f"the witnesses granted epoch {answer.epoch} to another site: the permit is over")
        elif self.superseded and self.state in LIVE_STATES:
            self.fence(self.trouble)  # no lease runs out, and the other one's word counts: of this site, nobody waits

    def _silence_over(self, why: str, now: ClockReading) -> None:
        """A permit that has not begun never does.

        The next heartbeat says that this site was answered, and names no permit yet: the witnesses may grant then.
        """
        self.desk.heard(now)
        if self.desk.taking or self._storing is Storing.PERMIT:
            self._permit_over(f"the permit is used up: {why} while it was noted")

    def goes_on_alone(self, carried: Epoch) -> bool:
        return self.under_permit is not None or super().goes_on_alone(carried)

    # -- time -----------------------------------------------------------------------------------------------

    def tick(self, now: ClockReading) -> None:
        constants = self.holder.constants
        due = self._extend_at is not None and now.boottime_ns >= self._extend_at
        if due and constants is not None and self.under_permit is not None and self.state in LIVE_STATES:
            grown = Authority(holder_deadline(now.boottime_ns, constants), now.monotonic_raw_ns + constants.ttl_ns)
            if self.holder.held(self.holder.epoch, grown, now):
                self._extend(constants)
            self._plan_extension(constants, now)
        super().tick(now)
        self._begin_steps(now)
        self._down_at_last(now)

    def _plan_extension(self, constants: LeaseConstants, now: ClockReading) -> None:
        self._extend_at = InstantNs(now.boottime_ns + renew_interval_ms(constants.ttl_ms) * NS_PER_MS)

    def next_deadline(self) -> InstantNs | None:
        extends = self.under_permit is not None and self.state in LIVE_STATES
        extend_at = self._extend_at if extends else None
        wake = [super().next_deadline(), extend_at, self._before.wake_at, self._behind.wake_at]
        return min((at for at in wake if at is not None), default=None)
