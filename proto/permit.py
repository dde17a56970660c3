"""A break-glass permit as a value: what it is bound to, and every rule that can be judged without I/O.

Rule (DESIGN section 6): with the witnesses lost for good, a permit lets one site of one group be active under one
epoch that is above any that can have been granted. It is signed with a key that is kept off the machines
(proto.edge.permit_file), good until a wall-clock time and for one use. It says nothing about the other sites: that they
are stopped and can use no answer rests on the operator who uses it.

The epoch leaps: it lies so far above what people read from a status that no grant which they did not see can have had
it, and below the bits of the restore generation, so that a restore goes above it too.
Rejected: the next epoch (a grant that was committed and never seen at this site would have the same number).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.units import EPOCH_MAX, NS_PER_MS, PPM, ClusterId, DurationNs, Epoch, GroupId, SiteId, WallMs, check_name

PERMIT_ID_BYTES: Final = 16
PERMIT_EPOCH_MAX: Final = Epoch(EPOCH_MAX - (1 << 40))
"""Witnesses take no site's bound above this: one that leaves no room would end a group's epochs for good."""
EPOCH_LEAP: Final = 1 << 20
"""A million grants that nobody saw: with the shortest ttl they take a week."""
CLEARED_LEAP: Final = 1 << 24
"""An operator who vouches for a site that was not heard does not know which permits it used: grants go on this far
above, past fifteen permits of which each began where the one before was."""
LIFETIME_MS_MAX: Final = 31 * 86_400_000
"""A permit is made for one outage. One that lies about for longer is a way around the witnesses."""
CALENDAR_SLACK_MS: Final = 2_000
"""Wall clocks may be apart by this much; calendar rules fail closed beyond it (DESIGN section 3)."""
AFTER_MS_MIN: Final = 10_000
AFTER_MS_MAX: Final = 86_400_000
AFTER_MS_DEFAULT: Final = 600_000
KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Permit:
    cluster: ClusterId
    group: GroupId
    site: SiteId
    permit: bytes
    """128 random bits: the same permit is used once."""
    epoch: Epoch
    made_at_ms: WallMs
    use_by_ms: WallMs


@dataclass(frozen=True, slots=True)
class PermitMark:
    """A permit in use, as a site's report names it."""

    epoch: Epoch
    permit: bytes


@dataclass(frozen=True, slots=True)
class PermitTerms:
    """What a group says about permits; an empty key: there are none."""

    key: str = ""
    """Of Ed25519, the public half, in hex."""
    after_ms: int = AFTER_MS_DEFAULT

    @property
    def enabled(self) -> bool:
        return bool(self.key)


def check_permit(permit: Permit) -> Permit:
    """Raises BadValue for the first rule that it breaks by itself, whoever signed it."""
    check_name(permit.group, "permit.group")
    check_name(permit.site, "permit.site")
    if len(permit.permit) != PERMIT_ID_BYTES:
        raise BadValue("permit.permit", permit.permit.hex(), f"must be {PERMIT_ID_BYTES} bytes", "make a new permit")
    if not 0 < permit.epoch <= PERMIT_EPOCH_MAX:
        remedy = "name the highest epoch that a site's status shows"
        raise BadValue("permit.epoch", permit.epoch, f"must lie between 1 and {PERMIT_EPOCH_MAX}", remedy)
    lasts_ms = permit.use_by_ms - permit.made_at_ms
    if not 0 < lasts_ms <= LIFETIME_MS_MAX:
        rule = f"must be after made_at and at most {LIFETIME_MS_MAX // 86_400_000} days after it"
        raise BadValue("permit.use_by", permit.use_by_ms, rule, "make a permit for this outage, when it is needed")
    return permit


def check_key(key: str, field: str) -> str:
    """A public key as a group's configuration holds it; raises BadValue."""
    digits = 2 * KEY_BYTES
    if len(key) != digits or any(one not in "0123456789abcdef" for one in key):
        remedy = "copy it from what `witness pki break-glass init` printed"
        raise BadValue(field, key, f"a public key is {digits} lower-case hex digits", remedy)
    return key


def check_terms(terms: PermitTerms, prefix: str) -> None:
    """Raises BadValue; `prefix` leads the names of the fields."""
    if not terms.enabled:
        return
    check_key(terms.key, f"{prefix}key")
    if not AFTER_MS_MIN <= terms.after_ms <= AFTER_MS_MAX:
        rule = f"must lie between {AFTER_MS_MIN} and {AFTER_MS_MAX} ms"
        raise BadValue(f"{prefix}after", terms.after_ms, rule, f"choose for example {AFTER_MS_DEFAULT} ms")


def unanswered_wait(after_ms: int, constants: LeaseConstants) -> DurationNs:
    """How long a site counts on its own clock, from the last answer, before it takes a permit.

    The witnesses count `after` on their wall clocks, from that heartbeat's entry, before they count the site as silent.
    A site on the fastest clock must not be ready before witnesses on the slowest one, whose wall clocks may be apart.
    """
    r = constants.drift_max_ppm
    full_ns = (after_ms + 2 * CALENDAR_SLACK_MS) * NS_PER_MS
    return DurationNs(-(-full_ns * (PPM + r) // (PPM - r)))


def calendar_problem(permit: Permit, wall_ms: WallMs, wall_seen_ms: WallMs) -> str:
    """Why the wall clock does not allow the permit, '' when it does. It fails closed: a clock that is behind refuses.

    `wall_seen_ms`: the latest wall time that this machine ever kept on its disk.
    """
    if wall_ms < wall_seen_ms - CALENDAR_SLACK_MS:
        return (
            f"this machine's wall clock is {(wall_seen_ms - wall_ms) // 1000} s behind a time that it has seen: "
            "set the clock right first"
        )
    if wall_ms < permit.made_at_ms - CALENDAR_SLACK_MS:
        return (
            f"by this machine's wall clock the permit is made only in {(permit.made_at_ms - wall_ms) // 1000} s: "
            "one of the two clocks is wrong; set this machine's clock right, or make the permit again"
        )
    if wall_ms > permit.use_by_ms:
        return f"it was to be used until {(wall_ms - permit.use_by_ms) // 1000} s ago: make a new one"
    return ""


VOUCHED: Final = "no permit is in use there, and none is left unused"
"""What an operator types who vouches for sites that are not heard: a permit that lies about is used tomorrow."""


def confirmation(group: GroupId, site: SiteId, others: tuple[SiteId, ...]) -> str:
    """What an operator types: that nothing else runs is theirs to know, and no program can."""
    stopped = " and ".join(others) if others else "every other site"
    return f"{stopped} {'are' if len(others) > 1 else 'is'} stopped and stays stopped, activate {group} at {site}"
