"""The lead's view of one group's members: what was handed out to whom, until when on the lead's own clock.

Rule: *a lead says verified down, and so releases, only when of every member that was ever handed authority one thing
holds: it said that it is verified down for that epoch, for good, or its authority has run out.* A member's authority is
shorter than what the lead had left (proto.lease.member_deadline), so it has run out when that has, on the lead's clock.
Silence is no proof, and neither is a closed connection, nor the word of another process than the one that was handed
it: that may be a copy of the member. When the lead's clocks part, nobody knows which one is right: what is handed on is
what is left on the clock that says less, and a member has run out when both say so. Nothing is handed out any more from
the moment at which the end begins. A lead
that starts anew knows from disk which processes were handed authority by the one before it, and not for how long, so it
counts the longest that can have been (a full ttl from its own start) against each of them, named in the configuration
or not; only that very process's word ends it sooner. docs/adr/0015-members-on-further-hosts.md has the arithmetic and
what was rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from agents.core.lease_holder import Authority
from proto.clock import ClockReading
from proto.invariants import require
from proto.lease import LeaseConstants
from proto.member_messages import GroupAsk, GroupOrder, MemberPhase, Order
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, MemberName

NO_EPOCH = Epoch(0)
NEVER = Authority(InstantNs(-1), -1)
ANYBODY = b""
"""Nobody knows any more which process it was, so nobody's word counts: the lead's file was damaged."""

Handed = tuple[Epoch, int, Mapping[MemberName, bytes]]
"""What is on the lead's disk: epoch, ttl in milliseconds, and to which process (instance) of which member."""


class Standing(Enum):
    OUT = "out"
    """It holds no authority of this lead: none was handed out, or it is over."""
    MAY_HOLD = "may-hold"


class StandingInput(Enum):
    HANDED_OUT = "handed-out"
    VERIFIED_DOWN = "verified-down"
    """It said that the epoch that was handed out is verified down there, and over for good."""
    RAN_OUT = "ran-out"
    """What the lead had left when it handed it out is over, on both clocks of the lead."""


STANDING_TRANSITIONS: dict[tuple[Standing, StandingInput], Standing] = {
    (Standing.OUT, StandingInput.HANDED_OUT): Standing.MAY_HOLD,
    (Standing.MAY_HOLD, StandingInput.HANDED_OUT): Standing.MAY_HOLD,
    (Standing.MAY_HOLD, StandingInput.VERIFIED_DOWN): Standing.OUT,
    (Standing.MAY_HOLD, StandingInput.RAN_OUT): Standing.OUT,
}


@dataclass(slots=True)
class Seat:
    """One member, as this lead knows it."""

    standing: Standing = Standing.OUT
    epoch: Epoch = NO_EPOCH
    """The highest that was handed out."""
    may_hold_until: Authority = NEVER
    """On the lead's clocks."""
    instance: bytes = ANYBODY
    """The process that it was handed to."""
    ended: Epoch = NO_EPOCH
    """Every epoch up to this one is verified down, by the word of that very process."""
    forced: Epoch = NO_EPOCH
    """The highest of them that ended by force there."""
    heard_at: InstantNs = NEVER.deadline
    said: GroupAsk | None = None
    """By whichever process came last; for people and for looks."""

    def take(self, what: StandingInput) -> None:
        self.standing = STANDING_TRANSITIONS.get((self.standing, what), self.standing)

    def hand(self, epoch: Epoch, until: Authority, instance: bytes) -> None:
        if instance != self.instance:
            self.ended = self.forced = NO_EPOCH  # what another process said of itself
        self.epoch, self.instance = epoch, instance
        self.may_hold_until = self.may_hold_until.or_later(until)
        self.take(StandingInput.HANDED_OUT)

    def hear(self, instance: bytes, said: GroupAsk) -> None:
        if instance != self.instance:
            return
        self.ended = Epoch(max(self.ended, said.finished))
        self.forced = Epoch(max(self.forced, said.forced))
        if self.verified_down(self.epoch):
            self.take(StandingInput.VERIFIED_DOWN)

    def disown(self, instance: bytes) -> None:
        """Two machines speak as it: what one of them says of itself is not true of the other."""
        if instance == self.instance:
            self.instance, self.ended, self.forced = ANYBODY, NO_EPOCH, NO_EPOCH

    def verified_down(self, epoch: Epoch) -> bool:
        return self.ended >= epoch

    def orderly(self, epoch: Epoch) -> bool:
        return self.verified_down(epoch) and self.forced < epoch

    def held_by_another(self, instance: bytes) -> bool:
        return self.standing is Standing.MAY_HOLD and self.instance != instance

    def holds(self, epoch: Epoch) -> bool:
        """By its own word; for people and for steps, never for a release."""
        return self.said is not None and self.said.phase is MemberPhase.HOLDING and self.said.epoch == epoch


@dataclass(frozen=True, slots=True)
class Handing:
    """The authority that may be handed on: the lead's own."""

    epoch: Epoch
    authority: Authority
    constants: LeaseConstants


class MemberBook:
    """One group's seats; owned by the lead's desk (agents/members/desk.py)."""

    def __init__(
        self,
        group: GroupId,
        members: Iterable[MemberName],
        *,
        over: Epoch = NO_EPOCH,
        left_behind: Mapping[MemberName, Seat] | None = None,
    ) -> None:
        """`over`: every epoch up to this one has ended or must end. `left_behind`: see `left_by_a_former_lead`."""
        self.group = group
        self.seats: dict[MemberName, Seat] = {name: Seat() for name in members}
        self.seats.update(left_behind or {})
        self._over = over
        self._order = Order.FENCE
        self._grace_ms = 0
        self._handing: Handing | None = None

    # -- the lead's own lease -----------------------------------------------------------------------------

    def give(self, epoch: Epoch, authority: Authority, constants: LeaseConstants) -> None:
        """From now on each ask is answered with what is left of `authority`, the lead's own."""
        require(epoch > self._over, f"epoch {epoch} is handed out, but {self._over} is over")
        self._handing = Handing(epoch, authority, constants)

    def end(self, order: Order, grace_ms: int = 0) -> None:
        """Nothing is handed out any more; what was is to end."""
        if self._handing is not None:
            self._over = self._handing.epoch
            self._handing, self._order, self._grace_ms = None, order, grace_ms
        elif order is Order.FENCE:
            self._order = order

    @property
    def epoch(self) -> Epoch:
        """That is handed out now; 0 for none."""
        return NO_EPOCH if self._handing is None else self._handing.epoch

    # -- what members say ---------------------------------------------------------------------------------

    def asked(
        self,
        name: MemberName,
        instance: bytes,
        ask: GroupAsk,
        now: ClockReading,
        *,
        durable: bool = True,
        known: LeaseConstants | None = None,
    ) -> GroupOrder:
        """The answer to one ask of one process.

        `durable`: it is on disk that this epoch is handed to just that process. `known`: of the group's lease, so that
        a member can say what of its times does not fit; nothing is counted with them.
        """
        seat = self.seats[name]
        seat.heard_at, seat.said = now.boottime_ns, ask
        self._run_out(now)
        seat.hear(instance, ask)
        handing = self._handing
        if handing is None or seat.held_by_another(instance):
            return self._ended(Epoch(max(self._over, ask.epoch)), known)
        if not durable or not handing.authority.alive(now) or ask.finished >= handing.epoch:
            return self._ended(self._over, known)
        seat.hand(handing.epoch, handing.authority, instance)
        constants, left_ns = handing.constants, handing.authority.left_ns(now)
        return GroupOrder(self.group, Order.HOLD, handing.epoch, left_ns, constants.ttl_ms, constants.drift_max_ppm, 0)

    def _ended(self, epoch: Epoch, known: LeaseConstants | None) -> GroupOrder:
        ttl_ms, drift_ppm = (0, 0) if known is None else (known.ttl_ms, known.drift_max_ppm)
        return GroupOrder(self.group, self._order, epoch, 0, ttl_ms, drift_ppm, self._grace_ms)

    # -- the rule of release --------------------------------------------------------------------------------

    def may_hold(self, now: ClockReading) -> dict[MemberName, Seat]:
        """Members that may hold authority; while there is one, nothing is verified down here."""
        self._run_out(now)
        return {name: seat for name, seat in self.seats.items() if seat.standing is Standing.MAY_HOLD}

    def orderly(self) -> bool:
        """Everybody who was handed the epoch that is over said that it is verified down, and not by force."""
        return all(seat.orderly(seat.epoch) for seat in self.seats.values() if seat.epoch >= self._over)

    def _run_out(self, now: ClockReading) -> None:
        for seat in self.seats.values():
            if seat.may_hold_until.over_in_ns(now) <= 0:
                seat.take(StandingInput.RAN_OUT)

    def all_out_in_ns(self, now: ClockReading) -> int:
        """How long until the last of them is out, whatever is heard, as far as the lead's clocks go on together."""
        return max((seat.may_hold_until.over_in_ns(now) for seat in self.may_hold(now).values()), default=0)

    def words(self, now: ClockReading) -> str:
        """Who stands against "verified down", and for how long at most; '' for nobody."""
        return "; ".join(
            f"member {name} is not verified down and may hold epoch {seat.epoch} for "
            f"{seat.may_hold_until.over_in_ns(now) / NS_PER_MS:.0f} ms more"
            for name, seat in self.may_hold(now).items()
        )


def left_by_a_former_lead(handed: Handed | None, started: ClockReading) -> dict[MemberName, Seat]:
    """Seats of members that may hold what another process of this host handed out.

    That process was gone before `started`, and what it had left was less than a ttl.
    """
    if handed is None:
        return {}
    epoch, ttl_ms, processes = handed
    ttl_ns = ttl_ms * NS_PER_MS
    until = Authority(InstantNs(started.boottime_ns + ttl_ns), started.monotonic_raw_ns + ttl_ns)
    return {name: Seat(Standing.MAY_HOLD, epoch, until, instance) for name, instance in processes.items()}
