"""(11) Whether this site takes a break-glass permit, and what is kept of those that it took.

Rules (DESIGN section 6, B2; docs/adr/0018): a permit is taken only when the group enables permits and this agent was
told so by the witnesses; it is for this cluster, group and site; it was never used here; its calendar holds by a wall
clock that is not behind what this machine has seen; no witness answered for longer than `after`, on both clocks of this
life; its epoch is above all that this site acted upon, finished or promised; and the site is verified down, promises
nobody anything, and could be granted. What is used is on disk before anything follows from it, and is never used again,
whatever becomes of it. The signature was verified before (proto.edge.permit_file). Nothing here knows whether the other
sites are stopped.
Rejected: a permit that goes on after its agent was started anew (nobody confirmed that one), an end of its authority at
`use_by` (a calendar would stop a running platform).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from agents.core.effects import Effect, StorePermit
from agents.core.permit_record import PermitRecord
from proto.clock import ClockReading
from proto.holds import promise_wait
from proto.lease import LeaseConstants
from proto.messages import GroupSites
from proto.permit import PERMIT_EPOCH_MAX, Permit, PermitMark, calendar_problem, unanswered_wait
from proto.units import NS_PER_S, ClusterId, Epoch, GroupId, SiteId

USED_KEPT_MAX = 256
"""The oldest go first; the bound of epochs refuses them all the same."""


@dataclass(frozen=True, slots=True)
class PermitStanding:
    """How this site stands with the group when a permit is offered."""

    enforcing: bool
    down: bool
    """Verified: STANDBY or FENCED."""
    idle: bool
    """It holds, claims, stores and releases nothing, and is not being stopped."""
    superseded: bool
    bound: Epoch
    finished: Epoch
    promised: Epoch
    """Of the newest promise that it gave, outstanding or over; 0 for none."""
    promising: bool
    """A promise is outstanding."""
    cold_wait: LeaseConstants | None
    """Of the longest lease that may have been promised to in a former life."""
    blockers: tuple[str, ...]
    """Why this host cannot carry the group."""
    constants: LeaseConstants | None
    sites: GroupSites | None


class PermitDesk:
    """Owned by one group. `current` is what the site is active under, or is about to be."""

    def __init__(
        self,
        place: tuple[ClusterId, GroupId, SiteId],
        emit: Callable[[Effect], None],
        record: PermitRecord,
        started: ClockReading,
    ) -> None:
        self.record = record
        self._place = place
        self._emit = emit
        self._silent_since = started
        self._taken: Permit | None = None
        """Being stored; it takes effect when that is done."""
        self._storing = 0

    @property
    def current(self) -> PermitMark | None:
        return self.record.current

    @property
    def taking(self) -> bool:
        return self._taken is not None

    # -- the witnesses' silence ---------------------------------------------------------------------------

    def heard(self, now: ClockReading) -> None:
        """A witness answered, whatever it said."""
        self._silent_since = now

    def silent_ns(self, now: ClockReading) -> int:
        """For how long no witness has answered, by the clock that says less."""
        since = self._silent_since
        return min(now.boottime_ns - since.boottime_ns, now.monotonic_raw_ns - since.monotonic_raw_ns)

    # -- taking one -----------------------------------------------------------------------------------------

    def offered(self, permit: Permit, standing: PermitStanding, now: ClockReading) -> str:
        """'' when it is taken: it is being stored then. Else why not, with the remedy; nothing has changed."""
        problem = self.problem(permit, standing, now)
        if problem:
            return problem
        self._taken = permit
        mark = PermitMark(permit.epoch, permit.permit)
        used = (*self.record.used, permit.permit)[-USED_KEPT_MAX:]
        record = replace(self.record, used=used, current=mark, wall_seen_ms=now.wall_ms, constants=standing.constants)
        self._store(record)
        return ""

    def problem(self, permit: Permit, standing: PermitStanding, now: ClockReading) -> str:
        rules = (self._binding, self._calendar, self._silence, self._epoch, self._fitness)
        return next((why for rule in rules if (why := rule(permit, standing, now))), "")

    def _binding(self, permit: Permit, standing: PermitStanding, _now: ClockReading) -> str:
        cluster, group, site = self._place
        sites = standing.sites
        if sites is None or not sites.permits.enabled:
            return (
                f"{group} takes no permits here: its configuration has no break_glass, or this agent never heard of it"
            )
        for what, wanted, found in (
            ("cluster", cluster, permit.cluster),
            ("group", group, permit.group),
            ("site", site, permit.site),
        ):
            if wanted != found:
                return f"the permit is for {what} {found}, this is {wanted}: use it there, or make another one"
        if self.record.damaged:
            return self.record.damaged
        if permit.permit in self.record.used:
            return "the permit was used here before, and each is used once: make another one"
        return ""

    def _calendar(self, permit: Permit, _standing: PermitStanding, now: ClockReading) -> str:
        return calendar_problem(permit, now.wall_ms, self.record.wall_seen_ms)

    def _silence(self, _permit: Permit, standing: PermitStanding, now: ClockReading) -> str:
        if standing.sites is None or standing.constants is None:
            return "this agent does not know the group's lease: it was never told by the witnesses"
        wait_ns = unanswered_wait(standing.sites.permits.after_ms, standing.constants)
        wait_ns = max(wait_ns, promise_wait(standing.cold_wait or standing.constants))
        left_ns = wait_ns - self.silent_ns(now)
        if left_ns <= 0:
            return ""
        silent_s = self.silent_ns(now) // NS_PER_S
        return (
            f"the witnesses answered, or this agent started, {silent_s} s ago; they must have been silent for "
            f"{-(-wait_ns // NS_PER_S)} s: wait {-(-left_ns // NS_PER_S)} s more, without restarting the agent"
        )

    def _epoch(self, permit: Permit, standing: PermitStanding, _now: ClockReading) -> str:
        highest = max(standing.bound, standing.finished, standing.promised)
        if permit.epoch <= highest:
            return f"the epoch {permit.epoch} is not above {highest}: make another one with --epoch-above {highest}"
        if permit.epoch > PERMIT_EPOCH_MAX:
            return f"the epoch {permit.epoch} leaves no room above it: at most {PERMIT_EPOCH_MAX}"
        return ""

    def _fitness(self, _permit: Permit, standing: PermitStanding, _now: ClockReading) -> str:
        rules = (
            (not standing.enforcing, "this agent only watches (enforce: false)"),
            (standing.superseded, "another agent speaks for this site: stop one of the two, then restart this one"),
            (not standing.down, "this site is not proven down: see its state and trouble in `site-agent status`"),
            (standing.promising, "a promise to another site is outstanding: it runs out within a lease"),
            (self.taking or not standing.idle, "this site is busy with another epoch: look again in a moment"),
            (bool(standing.blockers), f"this host cannot carry the group: {'; '.join(standing.blockers)}"),
        )
        return next((why for broken, why in rules if broken), "")

    # -- what is on disk ------------------------------------------------------------------------------------

    def stored(self) -> Permit | None:
        """The newest record is on disk, or an older one (None then): the permit that takes effect now."""
        self._storing -= 1
        if self._storing:
            return None
        taken, self._taken = self._taken, None
        return taken

    def over(self) -> None:
        """It ended, or the site goes on under an epoch of the witnesses. It stays used."""
        if self.record.current is not None:
            self._taken = None
            self._store(replace(self.record, current=None, constants=None))

    def _store(self, record: PermitRecord) -> None:
        self.record = record
        self._storing += 1
        self._emit(StorePermit(self._place[1], record))
