"""One group on a member: authority from its lead, life cycle, and the proof that lets the lead release.

Rules. Authority comes only from the answer to an ask of this process that is still awaited, and lasts until *asked* +
what the lead had left, shortened for drift, on BOOTTIME and on MONOTONIC_RAW. The time the answer arrived is never
used, and no instant of another host is ever read. An epoch is durable here before it is acted upon, is begun at most
once, and is over for good when everything is verified down; only then is it told as `finished`, and only from disk.
An epoch that the lead calls over is over here too, also one that never began: what is still in flight for it is void.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from agents.core.effects import Effect, ExtendDeadline, Fence, KeepAuthority, PlanKind, StartPlan, StoreBounds, Tell
from agents.core.lease_holder import NO_CLAIM, NO_EPOCH, Authority
from agents.core.report import timing_blockers
from proto.clock import ClockReading
from proto.invariants import require
from proto.lease import LeaseConstants, drift_shortened, member_deadline
from proto.member_messages import GroupAsk, GroupOrder, MemberPhase, Order
from proto.timing import LocalDeadlines, SiteBudgets, default_budgets, local_deadlines
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs

LACKS_MAX = 16
WATCHES_ONLY = "enforce: false: this host only watches"
VERIFY_AGAIN_NS = 2_000 * NS_PER_MS
START_MS = 30_000
"""For a guard to start and to be armed; the lease ends it sooner."""


class MemberInput(Enum):
    VERIFIED_DOWN = "verified-down"
    AUTHORITY = "authority"
    """The lead's answer for a new epoch, whose bound is on disk."""
    STARTED = "started"
    """The guard is armed: steps and `site-agent exec` may begin."""
    STOP = "stop"
    STOPPED = "stopped"
    FENCE = "fence"
    FENCED = "fenced"


_P, _I = MemberPhase, MemberInput

MEMBER_TRANSITIONS: dict[tuple[MemberPhase, MemberInput], MemberPhase] = {
    (_P.UNKNOWN, _I.VERIFIED_DOWN): _P.DOWN,
    (_P.DOWN, _I.AUTHORITY): _P.STARTING,
    (_P.STARTING, _I.STARTED): _P.HOLDING,
    (_P.STARTING, _I.STOP): _P.STOPPING,
    (_P.HOLDING, _I.STOP): _P.STOPPING,
    (_P.STOPPING, _I.STOPPED): _P.DOWN,
    (_P.STARTING, _I.FENCE): _P.FENCING,
    (_P.HOLDING, _I.FENCE): _P.FENCING,
    (_P.STOPPING, _I.FENCE): _P.FENCING,
    (_P.FENCING, _I.FENCED): _P.DOWN,
}
"""A pair that is not in the table changes nothing."""

LIVE_PHASES = frozenset({_P.STARTING, _P.HOLDING, _P.STOPPING})


@dataclass(frozen=True, slots=True)
class MemberGroupSettings:
    group: GroupId
    budgets: SiteBudgets | None
    """None: derived from the ttl that the lead tells."""
    stop_timeout_ms: int
    enforce: bool = True
    """False: nothing is ever started, stopped or looked for here, and the lead hears why."""
    addresses: bool = False
    watchdog: bool = False
    reset_before_ms: int | None = None
    """What asks for a longer ttl or kill budget, as in an agent's GroupSettings."""


@dataclass(slots=True)
class Held:
    """What this member holds, or will hold once its bound is on disk."""

    epoch: Epoch
    constants: LeaseConstants
    authority: Authority


class MemberGroup:
    """Owned by one SiteMember; `emit` takes effects in order."""

    def __init__(
        self, settings: MemberGroupSettings, bounds: tuple[Epoch, Epoch], emit: Callable[[Effect], None]
    ) -> None:
        self.settings = settings
        self.phase = MemberPhase.UNKNOWN
        self.bound, self.finished = bounds
        self.forced = NO_EPOCH
        """The highest epoch that did not end in order here."""
        self.held: Held | None = None
        self.known_constants: LeaseConstants | None = None
        """Of the group's lease, as the lead knows it; nothing is counted with them."""
        self.lacks: tuple[str, ...] = ()
        self.containment = "not tried yet"
        self.trouble = ""
        self.urgent = True
        """Something changed that the lead should hear now."""
        self._stored_finished = self.finished
        self._emit = emit
        self._storing = False
        self._plan = 0
        self._running: PlanKind | None = None
        self._verify_at: InstantNs | None = None
        self._closing = False

    # -- what the lead hears --------------------------------------------------------------------------------

    def ask(self) -> GroupAsk:
        epoch = NO_EPOCH if self.held is None else self.held.epoch
        lacks = ((self.trouble,) if self.trouble else ()) + self.lacks
        closing = ("its member agent is being stopped",) if self._closing else ()
        watching = () if self.settings.enforce else (WATCHES_ONLY,)
        against = watching + lacks + timing_blockers(self.known_constants, self.settings) + closing
        words = tuple(one[:200] for one in against[:LACKS_MAX])
        return GroupAsk(self.settings.group, self.phase, epoch, self._stored_finished, self.forced, words)

    # -- what the lead says ---------------------------------------------------------------------------------

    def ordered(self, order: GroupOrder, asked: ClockReading, now: ClockReading) -> None:
        """The answer to the ask that was sent at `asked`."""
        if order.ttl_ms:
            self.known_constants = LeaseConstants(order.ttl_ms, order.drift_max_ppm, 0)
        if order.order is Order.HOLD:
            self._hold(order, asked, now)
        elif self.held is not None and order.epoch >= self.held.epoch:
            self._end_held(order)
        elif self.held is None and self.phase is MemberPhase.DOWN and order.epoch > self.finished:
            self.bound, self.finished = Epoch(max(self.bound, order.epoch)), order.epoch
            self._store()

    def _hold(self, order: GroupOrder, asked: ClockReading, now: ClockReading) -> None:
        if order.epoch <= self.finished:
            return
        grown = _authority(order, asked)
        if not grown.alive(now):
            return
        constants = LeaseConstants(order.ttl_ms, order.drift_max_ppm, 0)
        if self.held is None:
            able = self.phase is MemberPhase.DOWN and not self._storing and not self._closing and not self.lacks
            worth_it = now.boottime_ns < self._deadlines(grown, constants).stop_at  # or it would end for good at once
            if able and worth_it and order.epoch > self.bound:
                self.bound, self.held = order.epoch, Held(order.epoch, constants, grown)
                self._store()
        elif self.held.epoch == order.epoch:
            self._extend(self.held, grown, constants, now)
        elif self.held.epoch < order.epoch:
            self._go_on_under(order.epoch, Held(order.epoch, constants, grown), now)

    def _go_on_under(self, epoch: Epoch, held: Held, now: ClockReading) -> None:
        """The lead was granted a new epoch in place: what runs here goes on under it, once its bound is durable."""
        before = self.held
        if self.phase not in LIVE_PHASES or before is None or not before.authority.alive(now) or self._storing:
            return
        if self.bound < epoch:
            self.bound = epoch
            self._store()
            return
        self.held = held
        self._emit(KeepAuthority(self.settings.group, epoch, NO_CLAIM, held.constants))
        deadlines = self._deadlines(held.authority, held.constants)
        self._emit(ExtendDeadline(self.settings.group, epoch, deadlines, held.constants))

    def _extend(self, held: Held, grown: Authority, constants: LeaseConstants, now: ClockReading) -> None:
        stale = grown.deadline <= held.authority.deadline or constants != held.constants
        if stale or not held.authority.alive(now):
            return
        held.authority = grown
        deadlines = self.deadlines()
        if self.phase in LIVE_PHASES and deadlines is not None:
            self._emit(ExtendDeadline(self.settings.group, held.epoch, deadlines, constants))

    def _end_held(self, order: GroupOrder) -> None:
        if self.phase is MemberPhase.DOWN:  # its bound is being stored: it never begins
            self._end_epoch()
        elif order.order is Order.FENCE:
            self.fence("the lead fences")
        else:
            self._stop(order.grace_ms)

    def down(self) -> bool:
        """Everything is verified down, and no epoch is about to begin."""
        return self.phase is MemberPhase.DOWN and self.held is None

    def deadlines(self) -> LocalDeadlines | None:
        held = self.held
        if held is None:
            return None
        return self._deadlines(held.authority, held.constants)

    def _deadlines(self, authority: Authority, constants: LeaseConstants) -> LocalDeadlines:
        return local_deadlines(authority.deadline, self.settings.budgets or default_budgets(constants.ttl_ms))

    # -- what the shell reports -----------------------------------------------------------------------------

    def start(self, adopted: Held | None = None) -> None:
        """The worst is assumed until a plan proved that nothing runs here.

        `adopted`: a guard proves that a former process of this instance still holds it, and it goes on.
        """
        if adopted is not None:
            require(adopted.epoch == self.bound > self.finished, f"epoch {adopted.epoch} of {self.bound} is adopted")
            self.held, self.phase = adopted, MemberPhase.HOLDING
            return
        if self.settings.enforce:
            self._begin(PlanKind.VERIFY_DOWN, self.settings.stop_timeout_ms)

    def bounds_stored(self, now: ClockReading) -> None:
        self._storing = False
        self._stored_finished = self.finished
        self.urgent = True
        held, deadlines = self.held, self.deadlines()
        if self.phase is not MemberPhase.DOWN or held is None or deadlines is None:
            return
        if not held.authority.alive(now) or now.boottime_ns >= deadlines.stop_at or self._closing:
            self._end_epoch()
            return
        require(held.epoch > self.finished, f"epoch {held.epoch} begins, but {self.finished} is over")
        self._move(MemberInput.AUTHORITY)
        self._emit(KeepAuthority(self.settings.group, held.epoch, NO_CLAIM, held.constants))
        self._begin(PlanKind.ACTIVATE, START_MS)

    def plan_finished(self, plan: int, ok: bool, text: str, now: ClockReading, *, orderly: bool = True) -> None:
        if plan != self._plan or self._running is None:
            return
        kind, self._running = self._running, None
        if kind is PlanKind.VERIFY_DOWN:
            self._verified(ok, text, now)
        elif kind is PlanKind.ACTIVATE:
            self._started(ok, text)
        elif ok:
            if not orderly:
                self._by_force()
            self._down(MemberInput.STOPPED)
        else:
            self.fence(f"the stop could not be proven: {text}")

    def _verified(self, ok: bool, text: str, now: ClockReading) -> None:
        self.urgent = True
        if not ok:
            self.trouble = f"not proven down: {text}"
            self._verify_at = InstantNs(now.boottime_ns + VERIFY_AGAIN_NS)
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))
            return
        self.trouble = ""
        self._move(MemberInput.VERIFIED_DOWN)
        if self.bound > self.finished:  # whatever a former process began is over now
            self.finished = self.forced = self.bound
            self._store()

    def _started(self, ok: bool, text: str) -> None:
        if ok:
            self._move(MemberInput.STARTED)
            return
        self.trouble = f"its guard did not take the lease: {text}"
        self._emit(Tell(self.settings.group, self.trouble, alarm=True))
        self._stop(0)

    def fenced(self, ok: bool, text: str) -> None:
        if self.phase is not MemberPhase.FENCING:
            return
        if ok:
            self._by_force()
            self._down(MemberInput.FENCED)
        else:
            self.trouble = f"fence not proven: {text}"
            self._emit(Tell(self.settings.group, self.trouble, alarm=True))

    def guard_lost(self, text: str) -> None:
        self.fence(f"guard lost: {text}")

    # -- moves ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """This process stops: what runs here ends first."""
        self._closing = True
        self.urgent = True
        self._stop_unasked(self.settings.stop_timeout_ms)
        if self.phase is MemberPhase.DOWN and self.held is not None:
            self._end_epoch()

    def closed(self) -> bool:
        return self.phase in (MemberPhase.DOWN, MemberPhase.UNKNOWN) and not self._storing

    def unsettled(self) -> str:
        """'' or what only this process can bring to an end that is in order."""
        ending = self.phase in (MemberPhase.STOPPING, MemberPhase.FENCING)
        return f"{self.settings.group} is {self.phase.value}" if ending else ""

    def fence(self, text: str) -> None:
        if self._move(MemberInput.FENCE):
            self.trouble = text
            self._running = None
            self._emit(Tell(self.settings.group, f"fencing: {text}", alarm=True))
            self._emit(Fence(self.settings.group, text))

    def abandon(self, text: str) -> None:
        """What counted this authority is not to be trusted."""
        self.fence(text)
        if self.phase is MemberPhase.DOWN and self.held is not None:
            self._end_epoch()

    def _stop(self, grace_ms: int) -> None:
        if self.phase is MemberPhase.STARTING and self._running is not None:
            self.fence("told to stop before its guard had started")
        elif self._move(MemberInput.STOP):
            self._begin(PlanKind.DEACTIVATE, max(1, min(self.settings.stop_timeout_ms, 3 * grace_ms)))

    def _stop_unasked(self, grace_ms: int) -> None:
        """Not at the lead's word, so none of the lead's steps was run here: that is no end in order."""
        if self.phase in (MemberPhase.STARTING, MemberPhase.HOLDING):
            self._by_force()
        self._stop(grace_ms)

    def _by_force(self) -> None:
        """What it holds did not end by a stop of the lead: a license server may keep its session (lock delay)."""
        if self.held is not None:
            self.forced = Epoch(max(self.forced, self.held.epoch))

    def _down(self, how: MemberInput) -> None:
        self._move(how)
        self.trouble = ""
        self._end_epoch()

    def _end_epoch(self) -> None:
        """Verified down: over here for good, and told so once that is on disk."""
        if self.held is not None:
            self.finished = Epoch(max(self.finished, self.held.epoch))
            self.held = None
        self._store()

    def _move(self, what: MemberInput) -> bool:
        phase = MEMBER_TRANSITIONS.get((self.phase, what))
        if phase is None:
            return False
        self.phase = phase
        self.urgent = True
        return True

    def _store(self) -> None:
        self._storing = True
        self._emit(StoreBounds(self.settings.group, self.bound, self.finished))

    def _begin(self, kind: PlanKind, timeout_ms: int) -> None:
        self._plan += 1
        self._running = kind
        epoch = self.bound if self.held is None else self.held.epoch
        self._emit(StartPlan(self.settings.group, self._plan, kind, epoch, "lead", self.deadlines(), timeout_ms))

    # -- time -----------------------------------------------------------------------------------------------

    def tick(self, now: ClockReading) -> None:
        if self._verify_at is not None and now.boottime_ns >= self._verify_at:
            self._verify_at = None
            self.start()
        deadlines, held = self.deadlines(), self.held
        if self.phase not in LIVE_PHASES or deadlines is None or held is None:
            return
        if not held.authority.alive(now) or now.boottime_ns >= deadlines.kill_at:
            self.fence("the lead's answers stayed out: authority ran out")
        elif now.boottime_ns >= deadlines.stop_at and self.phase is not MemberPhase.STOPPING:
            self._stop_unasked((deadlines.kill_at - now.boottime_ns) // NS_PER_MS)

    def next_deadline(self) -> InstantNs | None:
        wake = [] if self._verify_at is None else [self._verify_at]
        deadlines = self.deadlines()
        if self.phase in LIVE_PHASES and deadlines is not None:
            wake.append(deadlines.kill_at if self.phase is MemberPhase.STOPPING else deadlines.stop_at)
        return min(wake, default=None)


def _authority(order: GroupOrder, asked: ClockReading) -> Authority:
    left_ns = drift_shortened(order.lead_left_ns, order.drift_max_ppm)
    deadline = member_deadline(asked.boottime_ns, order.lead_left_ns, order.drift_max_ppm)
    return Authority(deadline, asked.monotonic_raw_ns + left_ns)
