"""(11) One promise not to begin, as a value: to whom, of which round, and until when on this host's clocks.

Rule (DESIGN section 6): it lasts until D (proto.holds.promise_wait) after the *receipt* of the request, read before the
request was looked at, on BOOTTIME and on MONOTONIC_RAW: both must have passed. Of several promises the longest counts.
It is on disk before its answer leaves. Instants mean nothing after a reboot, so a cold start does not use them: it
waits in full (agents/core/holds_given.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from proto.clock import ClockReading
from proto.holds import HoldMark, promise_wait
from proto.lease import LeaseConstants
from proto.site_messages import HoldRequest
from proto.units import Chain, Claim, Epoch, Incarnation, InstantNs, SiteId, later


@dataclass(frozen=True, slots=True)
class Promise:
    """The last one that this site gave; one is enough, because a later holder begins when the former one is over."""

    site: SiteId
    """The holder's."""
    incarnation: Incarnation
    epoch: Epoch
    claim: Claim
    number: int
    chain: Chain
    constants: LeaseConstants
    """Of the longest of the promises that were given so far."""
    until: InstantNs
    until_raw_ns: int
    over: bool = False
    """The holder said that its epoch has ended there, verified down."""

    @property
    def mark(self) -> HoldMark:
        return HoldMark(self.epoch, self.number, self.chain)

    def outstanding(self, now: ClockReading) -> bool:
        return not self.over and (now.boottime_ns < self.until or now.monotonic_raw_ns < self.until_raw_ns)

    def of_the_same(self, request: HoldRequest) -> bool:
        """The very instance of the holder that was promised something in this epoch."""
        asker = (request.site, request.incarnation, request.epoch, request.claim)
        return asker == (self.site, self.incarnation, self.epoch, self.claim)


def request_constants(request: HoldRequest) -> LeaseConstants:
    return LeaseConstants(request.ttl_ms, request.drift_max_ppm, request.lock_delay_ms)


def promised(request: HoldRequest, received: ClockReading, before: Promise | None) -> Promise:
    """The promise that this request asks for, and never shorter than what was promised before."""
    constants = request_constants(request)
    wait_ns = promise_wait(constants)
    made = Promise(
        site=request.site,
        incarnation=request.incarnation,
        epoch=request.epoch,
        claim=request.claim,
        number=request.number,
        chain=request.chain,
        constants=constants,
        until=later(received.boottime_ns, wait_ns),
        until_raw_ns=received.monotonic_raw_ns + wait_ns,
    )
    if before is None or not before.outstanding(received):
        return made
    longer = before.constants if promise_wait(before.constants) > wait_ns else constants
    until = InstantNs(max(before.until, made.until))
    return replace(made, until=until, until_raw_ns=max(before.until_raw_ns, made.until_raw_ns), constants=longer)


def raw_wake(until: InstantNs, until_raw_ns: int, now: ClockReading) -> InstantNs:
    """When, on BOOTTIME, both clocks will have passed the instants, as far as `now` can tell."""
    return InstantNs(max(until, now.boottime_ns + until_raw_ns - now.monotonic_raw_ns))
