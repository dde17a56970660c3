"""(9) The lease arithmetic, written once: what the holder may use and what a witness must wait, side by side.

Rule (DESIGN section 3; Gray and Cheriton 1989, with drift; docs/lease-safety.md): let every clock run at a rate
within [1-r, 1+r] of true time. The holder counts ttl from *before it sent* the renewal, so its authority ends at
true time <= sent + ttl/(1-r). A witness counts D = ttl*(1+r)/(1-r) from *after it applied* the renewal, so its
timer ends at true time >= applied + D/(1+r) = applied + ttl/(1-r). Applied is after sent; so the holder is always
first. No absolute time of one machine is ever read on another.

Rejected: counting from the arrival of the answer; one wall-clock expiry that all compare; a fixed safety margin.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto import limits
from proto.units import NS_PER_MS, PPM, DurationNs, InstantNs, later


@dataclass(frozen=True, slots=True)
class LeaseConstants:
    """Fixed at the grant of an epoch, stored in its lease record, echoed in every answer."""

    ttl_ms: int
    drift_max_ppm: int
    lock_delay_ms: int

    @property
    def ttl_ns(self) -> DurationNs:
        return DurationNs(self.ttl_ms * NS_PER_MS)


LONGEST_POSSIBLE = LeaseConstants(limits.TTL_MS_MAX, limits.DRIFT_MAX_PPM_MAX, limits.LOCK_DELAY_MS_MAX)
"""No group can be configured with more, so no lease was ever longer: the only bound that needs nobody's memory."""


def longest(*several: LeaseConstants) -> LeaseConstants:
    """Constants whose witness_wait covers that of each: for a lease that stands in for others."""
    return LeaseConstants(
        ttl_ms=max(one.ttl_ms for one in several),
        drift_max_ppm=max(one.drift_max_ppm for one in several),
        lock_delay_ms=max(one.lock_delay_ms for one in several),
    )


def holder_deadline(sent_at: InstantNs, constants: LeaseConstants) -> InstantNs:
    """Authority from a positive answer to the attempt sent at `sent_at` ends here, on the holder's own clock."""
    return later(sent_at, constants.ttl_ns)


def witness_wait(constants: LeaseConstants) -> DurationNs:
    """D with the lock delay: how long a witness counts, from its apply, before it votes for expiry.

    The lock delay is stretched for drift as the ttl is, or it would be short on the fastest clock (found by the
    model in tests/model). Integer arithmetic, rounded up: the same on every machine.
    """
    r = constants.drift_max_ppm
    full_ns = (constants.ttl_ms + constants.lock_delay_ms) * NS_PER_MS
    return DurationNs(-(-full_ns * (PPM + r) // (PPM - r)))


def lock_delay_wait(constants: LeaseConstants) -> DurationNs:
    """How long a site that was fenced waits before it releases: the full lock delay, also on the fastest clock."""
    delay_ns = constants.lock_delay_ms * NS_PER_MS
    return DurationNs(-(-delay_ns * (PPM + constants.drift_max_ppm) // PPM))


def takeover_wait_max(constants: LeaseConstants) -> DurationNs:
    """True-time bound from a holder's last renewal to expiry votes by witnesses within the drift bound."""
    r = constants.drift_max_ppm
    return DurationNs(-(-witness_wait(constants) * PPM // (PPM - r)))


def member_deadline(asked_at: InstantNs, lead_left_ns: int, drift_max_ppm: int) -> InstantNs:
    """A member's authority from its lead's answer to the ask sent at `asked_at` ends here, on the member's own clock.

    The lead had `lead_left_ns` left on its clock when it answered, which was after the ask; so, counted from before the
    ask and shortened for both clocks, the member is over before its lead is. No absolute time crosses hosts.
    """
    return later(asked_at, drift_shortened(lead_left_ns, drift_max_ppm))


def drift_shortened(duration_ns: int, drift_max_ppm: int) -> DurationNs:
    """A duration measured on another clock, shortened so that ours cannot outlive it (rounded down)."""
    return DurationNs(duration_ns * (PPM - drift_max_ppm) // (PPM + drift_max_ppm))
