"""The words of the protocol as types, so that no naked number or string crosses a seam.

Instants and durations are integer nanoseconds of a *lease clock* (see proto.clock). Instants of two machines
are never compared; only durations travel.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NewType

from proto.errors import BadValue

SiteId = NewType("SiteId", str)
GroupId = NewType("GroupId", str)
WitnessId = NewType("WitnessId", str)
MemberName = NewType("MemberName", str)
"""A further host of a site, by a name that is its own within the site."""
LicenseName = NewType("LicenseName", str)
"""What may be activated in one place only, by a name that is its own within the group."""
ClusterId = NewType("ClusterId", str)
"""32 lower-case hex digits drawn once when a cluster is created."""

Epoch = NewType("Epoch", int)
"""The fencing token of a group: greater with every grant, never reused (DESIGN: words)."""
RenewalNo = NewType("RenewalNo", int)
"""Number of a committed renewal within its epoch; 0 is the grant itself, 1 the claim."""
LogIndex = NewType("LogIndex", int)
Term = NewType("Term", int)
"""Raft only."""

Incarnation = NewType("Incarnation", bytes)
"""128 random bits for one authority to run; new at every cold start of an agent."""
Nonce = NewType("Nonce", bytes)
"""128 random bits, fresh for each heartbeat attempt, echoed in its answer."""
Claim = NewType("Claim", bytes)
"""128 random bits of the first renewal of an epoch; only the first claim wins."""
Chain = NewType("Chain", bytes)
"""A digest over the rounds of holds of one epoch (proto.holds)."""

InstantNs = NewType("InstantNs", int)
"""A reading of this machine's lease clock, in nanoseconds; meaningless on any other machine."""
DurationNs = NewType("DurationNs", int)
WallMs = NewType("WallMs", int)
"""Milliseconds since 1970 UTC: for people and calendars, never for a lease."""

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
PPM = 1_000_000

TOKEN_BYTES = 16
LINEAGE_BYTES = 16
NO_LINEAGE = bytes(LINEAGE_BYTES)
"""Of a cluster that was never restored."""
EPOCH_MAX = (1 << 62) - 1
RESTORE_GENERATION_SHIFT = 32
"""Epochs carry the restore generation above this bit: four billion grants fit below it, one a second for a century."""
RESTORE_GENERATION_MAX = EPOCH_MAX >> RESTORE_GENERATION_SHIFT

_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_ID_RULE = "1 to 63 of a-z, 0-9 and '-', not starting or ending with '-'"


class TokenKind(Enum):
    INCARNATION = "incarnation"
    NONCE = "nonce"
    CLAIM = "claim"


def ms(value: int) -> DurationNs:
    return DurationNs(value * NS_PER_MS)


def seconds(value: float) -> DurationNs:
    return DurationNs(round(value * NS_PER_S))


def later(instant: InstantNs, duration: int) -> InstantNs:
    return InstantNs(instant + duration)


def between(start: InstantNs, end: InstantNs) -> DurationNs:
    return DurationNs(end - start)


def check_name(value: str, field: str) -> str:
    """A site, group or witness id as people write it; raises BadValue that names the field and the rule."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise BadValue(field, value, _ID_RULE, "choose a short lower-case name, for example 'dc-a'")
    return value
