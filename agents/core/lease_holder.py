"""(10) What one site holds of one group: counted from before it asked, final when it ends.

Rules (DESIGN section 3; proto.lease has the arithmetic): authority comes only from a positive answer whose nonce
belongs to an attempt of this incarnation that carried this epoch; it lasts until *sent* + ttl, on BOOTTIME and on
MONOTONIC_RAW, whichever ends first; the arrival time of the answer is never used. An epoch not above `finished` is
over for good, and an epoch is begun at most once.
While no witness answers, holds of every other site extend it in the same way (agents/core/holds_taken.py): the greater
of the two counts, and none revives what has ended. A re-grant in place is claimed, with the same claim, while the epoch
before it goes on by holds; its first positive answer ends that one for good and begins the new one without a stop.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto.clock import ClockReading
from proto.invariants import require
from proto.lease import LeaseConstants, holder_deadline
from proto.units import NS_PER_MS, Claim, Epoch, InstantNs

NO_CLAIM = Claim(bytes(16))
NO_EPOCH = Epoch(0)


@dataclass(frozen=True, slots=True)
class Authority:
    """Until when, on each clock that can end it. Nobody knows which clock is right when they part."""

    deadline: InstantNs
    raw_deadline_ns: int

    def alive(self, now: ClockReading) -> bool:
        """On both clocks: for whoever wants to use it."""
        return self.left_ns(now) > 0

    def left_ns(self, now: ClockReading) -> int:
        """For whoever uses it or hands a part of it on: on the clock that says less. Negative when it is over."""
        return min(self._left_ns(now))

    def over_in_ns(self, now: ClockReading) -> int:
        """For whoever waits until nobody can use it any more: on the clock that says more. Negative when it is over."""
        return max(self._left_ns(now))

    def _left_ns(self, now: ClockReading) -> tuple[int, int]:
        return self.deadline - now.boottime_ns, self.raw_deadline_ns - now.monotonic_raw_ns

    def or_later(self, other: Authority) -> Authority:
        """The later of both, on each clock."""
        return Authority(
            InstantNs(max(self.deadline, other.deadline)), max(self.raw_deadline_ns, other.raw_deadline_ns)
        )


class LeaseHolder:
    def __init__(self, bound: Epoch, finished: Epoch) -> None:
        self.bound = bound
        """The highest epoch ever acted upon here; durable before it is acted upon."""
        self.finished = finished
        """Every epoch up to this one is over here for good."""
        self.epoch = NO_EPOCH
        self.claim = NO_CLAIM
        self.constants: LeaseConstants | None = None
        self.authority: Authority | None = None
        self.next = NO_EPOCH
        """Granted in place and claimed, not answered yet."""
        self._passed_over_at: InstantNs | None = None
        """When the first answer of this epoch came too late to begin with."""

    def may_begin(self, epoch: Epoch) -> bool:
        return self.epoch == NO_EPOCH and epoch > self.bound and epoch > self.finished

    def begin(self, epoch: Epoch, claim: Claim) -> None:
        """From now on heartbeats claim this epoch. Its bound is durable already."""
        require(self.epoch == NO_EPOCH, f"epoch {self.epoch} is still held, {epoch} cannot begin")
        require(epoch > self.finished and epoch == self.bound, f"epoch {epoch}: bound {self.bound}, {self.finished}")
        self.epoch, self.claim, self._passed_over_at = epoch, claim, None

    def too_late(self, sent: ClockReading, constants: LeaseConstants, stop_budget_ms: int, now: ClockReading) -> bool:
        """Whether a first answer is passed over: the stop would begin with the start, and a younger one is under way.

        A claim that waited out an election is answered so. For one ttl at most: when answers stay so slow, the site
        begins, is fenced and releases, or it would renew for ever what it cannot use.
        """
        stop_at = holder_deadline(sent.boottime_ns, constants) - stop_budget_ms * NS_PER_MS
        if now.boottime_ns < stop_at:
            return False
        self._passed_over_at = self._passed_over_at or now.boottime_ns
        return now.boottime_ns - self._passed_over_at < constants.ttl_ns

    def adopt(self, epoch: Epoch, claim: Claim, constants: LeaseConstants, authority: Authority) -> None:
        """Goes on with what a former process of this incarnation held and the guard still holds."""
        require(self.epoch == NO_EPOCH, f"epoch {self.epoch} is still held, {epoch} cannot be taken over")
        require(epoch > self.finished and epoch == self.bound, f"epoch {epoch}: bound {self.bound}, {self.finished}")
        self.epoch, self.claim, self.constants, self.authority = epoch, claim, constants, authority

    def renewed(self, epoch: Epoch, sent: ClockReading, constants: LeaseConstants, now: ClockReading) -> bool:
        """Takes in a positive answer to the attempt that was sent at `sent`; True when authority grew."""
        if epoch != self.epoch or epoch <= self.finished:
            return False
        if self.constants is not None and constants != self.constants:
            return False
        grown = Authority(holder_deadline(sent.boottime_ns, constants), sent.monotonic_raw_ns + constants.ttl_ns)
        if not grown.alive(now) or (self.authority is not None and not self.authority.alive(now)):
            return False
        if self.authority is not None and grown.deadline <= self.authority.deadline:
            return False
        self.constants, self.authority = constants, grown
        return True

    def held(self, epoch: Epoch, grown: Authority, now: ClockReading) -> bool:
        """Takes in what a complete set of holds gives; True when authority grew."""
        if epoch != self.epoch or epoch <= self.finished or self.authority is None:
            return False
        if not grown.alive(now) or not self.authority.alive(now) or grown.deadline <= self.authority.deadline:
            return False
        self.authority = grown
        return True

    def begin_in_place(self, epoch: Epoch) -> None:
        """From now on heartbeats claim this epoch; the one that is held goes on. Its bound is durable already."""
        require(
            self.epoch != NO_EPOCH and self.next == NO_EPOCH, f"epoch {epoch} in place of {self.epoch}, {self.next}"
        )
        require(epoch == self.bound and epoch > self.epoch, f"epoch {epoch}: bound {self.bound}, held {self.epoch}")
        self.next = epoch

    def decline_in_place(self) -> None:
        self.next = NO_EPOCH

    def moved(self, epoch: Epoch, sent: ClockReading, constants: LeaseConstants, now: ClockReading) -> bool:
        """The first positive answer to a claim in place: the epoch before it is over for good. True when it counts."""
        if epoch == NO_EPOCH or epoch != self.next or epoch <= self.finished or not self.alive(now):
            return False
        grown = Authority(holder_deadline(sent.boottime_ns, constants), sent.monotonic_raw_ns + constants.ttl_ns)
        if not grown.alive(now):
            return False
        self.finished = Epoch(max(self.finished, self.epoch))
        self.epoch, self.next, self.constants, self.authority = epoch, NO_EPOCH, constants, grown
        return True

    def alive(self, now: ClockReading) -> bool:
        return self.authority is not None and self.authority.alive(now)

    def end(self) -> Epoch:
        """The epoch is over here for good; answers to what is still in flight mean nothing any more.

        So is one that was to be claimed in place, or was claimed: the highest of them is what is to be released.
        """
        ended = Epoch(max(self.epoch, self.next))
        self.finished = Epoch(max(self.finished, self.bound, ended))
        self.epoch, self.next, self.claim, self.constants, self.authority = NO_EPOCH, NO_EPOCH, NO_CLAIM, None, None
        return ended
