"""The event ledger's entries: every outcome that people care about, hash-chained (promise P6).

How much each kind matters stands in proto/severity.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

from proto.units import Epoch, GroupId, LogIndex, SiteId, WallMs

GENESIS_HASH = b"\x00" * 32


class EventKind(Enum):
    CLUSTER_FOUNDED = "cluster-founded"
    GROUP_CREATED = "group-created"
    GROUP_CHANGED = "group-changed"
    GROUP_DELETED = "group-deleted"
    SITE_JOINED = "site-joined"
    SITE_RESTARTED = "site-restarted"
    SITE_STATE = "site-state"
    GRANTED = "granted"
    CLAIMED = "claimed"
    CLAIM_CLASH = "claim-clash"
    REVOKED = "revoked"
    REVOKE_DUE = "revoke-due"
    RELEASED = "released"
    EXPIRED = "expired"
    UNBARRED = "unbarred"
    MODE = "mode"
    MAINTENANCE = "maintenance"
    QUARANTINED = "quarantined"
    QUARANTINE_CLEARED = "quarantine-cleared"
    SECOND_AGENT = "second-agent"
    FEATURE_RAISED = "feature-raised"
    RESTORED = "restored"
    HOLDS_BEGAN = "holds-began"
    HOLDS_ENDED = "holds-ended"
    HOLDS_BROKEN = "holds-broken"
    REGRANTED = "regranted"
    PERMIT_USED = "permit-used"
    PERMIT_ENDED = "permit-ended"
    PERMIT_CLASH = "permit-clash"
    RECONCILED = "reconciled"
    ESCROW_STORED = "escrow-stored"
    ESCROW_WAIVED = "escrow-waived"
    LICENSE_PROBLEM = "license-problem"
    LICENSE_CURRENT = "license-current"
    BOTH_ACTIVE = "both-active"
    BOTH_ACTIVE_ENDED = "both-active-ended"
    UNDELIVERED = "undelivered"
    ACKNOWLEDGED = "acknowledged"
    WOULD_HAVE = "would-have"
    CLOCK_TOO_SLOW = "clock-too-slow"
    CLOCK_TOO_FAST = "clock-too-fast"
    CLOCK_FIT = "clock-fit"
    UNUSUAL = "unusual"
    USUAL_AGAIN = "usual-again"
    SITE_SILENT = "site-silent"
    SITE_HEARD = "site-heard"
    NO_STANDBY = "no-standby"
    STANDBY_AGAIN = "standby-again"


@dataclass(frozen=True, slots=True)
class Event:
    seq: int
    index: LogIndex
    """The Raft entry that caused it."""
    kind: EventKind
    group: GroupId | None
    site: SiteId | None
    epoch: Epoch
    author: str
    text: str
    wall_ms: WallMs
    """The proposer's wall clock, for people."""
    chain: bytes
    """sha256 over the previous event's chain and this event's other fields."""


def chain_hash(previous: bytes, body: bytes) -> bytes:
    """`body` is the encoding of the event with an empty chain (proto.codec.encode_event_body)."""
    return hashlib.sha256(previous + body).digest()
