"""(3) Everything that agents and witnesses say to each other on an agent's stream.

An agent opens one stream to every witness: Hello, then Welcome or Goodbye. A heartbeat is sent over the best
stream only; the others carry pings. One Heartbeat speaks for many groups. The holder's heartbeat is its renewal.
Notices are hints without authority: authority comes only from a HeartbeatAnswer (proto.lease).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NamedTuple

from proto.decisions import Reason
from proto.features import FEATURE_FIRST
from proto.groups import WitnessLoss
from proto.lease import LeaseConstants
from proto.license import EscrowItem, EscrowVersion, SealedKey
from proto.permit import PermitTerms
from proto.units import (
    Claim,
    ClusterId,
    Epoch,
    GroupId,
    Incarnation,
    LicenseName,
    Nonce,
    RenewalNo,
    SiteId,
    WallMs,
    WitnessId,
)

LAG_UNKNOWN_MS = -1


class GroupHeartbeat(NamedTuple):
    """One group's part of a heartbeat; a NamedTuple because hundreds come in one message."""

    group: GroupId
    epoch: Epoch
    """The epoch to claim or renew; 0 when the site holds nothing."""
    claim: Claim
    """The claim of that epoch; 16 zero bytes when the epoch is 0."""
    lag_ms: int
    """Replication lag; LAG_UNKNOWN_MS when there is no replication to measure or it broke."""
    report: bytes
    """A HealthReport, encoded (proto.codec.REPORTS); compared as bytes, decoded only when it changed."""


@dataclass(frozen=True, slots=True)
class Hello:
    site: SiteId
    incarnation: Incarnation
    agent_version: str
    cluster: ClusterId
    groups: tuple[GroupId, ...]
    features: int = FEATURE_FIRST
    """What this agent can read (proto.features); witnesses are upgraded first."""


@dataclass(frozen=True, slots=True)
class Welcome:
    witness: WitnessId
    cluster: ClusterId
    leading: bool


class GoodbyeCode(Enum):
    WRONG_CLUSTER = "wrong-cluster"
    WRONG_IDENTITY = "wrong-identity"
    SECOND_AGENT = "second-agent"
    BAD_FRAME = "bad-frame"
    VERSION = "version"
    OVERLOADED = "overloaded"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Why the witness closes the stream, with what to do about it."""

    code: GoodbyeCode
    text: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    site: SiteId
    incarnation: Incarnation
    seq: int
    """Grows with every attempt of this incarnation; older ones are refused."""
    nonce: Nonce
    wall_ms: WallMs
    """For people who read the ledger; nothing is decided on it."""
    groups: tuple[GroupHeartbeat, ...]
    answered: int = -1
    """`seq` of the newest heartbeat whose answer this agent has, -1 while none: what it knows, and since when (B3)."""
    ended: tuple[Incarnation, ...] = ()
    """Incarnations of this agent that ended before this one began, the newest last, at most ENDED_NAMED_MAX: what they
    said may come late, and counts no more (ADR 25)."""


class Verdict(IntEnum):
    RENEWED = 1
    """The claim or renewal is committed: authority until sent + ttl."""
    GRANTED = 2
    """The site holds an unclaimed grant of `epoch`: claim it."""
    DORMANT = 3
    """Heard; the site holds nothing."""
    REFUSED = 4
    """The epoch that was to be claimed or renewed is not this agent's any more: see the reason."""
    UNKNOWN_GROUP = 5
    HOLDING = 6
    """The lease expired while the site went on by holds, and nobody was granted since: go on by them. No authority."""


class RevokePhase(IntEnum):
    NONE = 0
    REVOKING = 1
    DUE = 2


class GroupAnswer(NamedTuple):
    group: GroupId
    verdict: Verdict
    epoch: Epoch
    renewal: RenewalNo
    ttl_ms: int
    drift_max_ppm: int
    lock_delay_ms: int
    revoke: RevokePhase
    group_version: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    nonce: Nonce
    groups: tuple[GroupAnswer, ...]


class ReleaseKind(Enum):
    CLEAN = "clean"
    ACTIVATION_FAILED = "activation-failed"


@dataclass(frozen=True, slots=True)
class Release:
    """Sent only after verified down; ends the lease without any wait."""

    site: SiteId
    incarnation: Incarnation
    group: GroupId
    epoch: Epoch
    claim: Claim
    kind: ReleaseKind
    text: str
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class ReleaseAnswer:
    nonce: Nonce
    group: GroupId
    epoch: Epoch
    reason: Reason


@dataclass(frozen=True, slots=True)
class EscrowPut:
    """The holder hands over a newly sealed key; refused unless epoch, incarnation and claim are the holder's.

    The epoch is that of the sealed version. What is not answered is sent again, with the very same sealed bytes.
    """

    site: SiteId
    incarnation: Incarnation
    group: GroupId
    claim: Claim
    license: LicenseName
    sealed: SealedKey
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class EscrowPutAnswer:
    """OK: a majority of the witnesses keeps the value, or kept it already."""

    nonce: Nonce
    group: GroupId
    license: LicenseName
    reason: Reason
    stored: EscrowVersion | None
    """The newest version that is kept now; None when there is none, or the license is not known."""
    version_next: int
    """A number for the next value, above every one that is known of; 0 when the license is not known."""


@dataclass(frozen=True, slots=True)
class EscrowValue:
    """A sealed key that is newer than what the site's report said it holds; follows the heartbeat's answer.

    It comes again until a report says that it is held. No authority.
    """

    group: GroupId
    item: EscrowItem


class NoticeKind(Enum):
    GRANTED = "granted"
    REVOKED = "revoked"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Notice:
    """A hint to send a heartbeat now; carries no authority."""

    group: GroupId
    kind: NoticeKind
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class GroupSites:
    """Whom a holder must ask for holds, as this version of the configuration says; sent when an agent's report names
    another version. It gives no authority, and an agent reports a version only when this is stored.
    """

    group: GroupId
    version: int
    sites: tuple[SiteId, ...]
    witness_loss: WitnessLoss
    wait: LeaseConstants | None
    """The longest of every lease that may still be lived on by holds: a site that was started cold waits that long,
    because it does not know what its former life promised. None: no lease of the group was ever held so."""
    permits: PermitTerms = PermitTerms()  # noqa: RUF009 - frozen
    """Under which terms the group takes break-glass permits."""
    constants: LeaseConstants | None = None
    """As they are configured: a site that begins while the witnesses are away knows no lease."""


@dataclass(frozen=True, slots=True)
class PingEcho:
    """How long an earlier ping's answer took: when its witness heard that ping, its sender's lease clock was between
    what the ping said and so much more, whatever the ways took (witness/core/clock_rates.py).
    """

    nonce: Nonce
    """Of that ping."""
    took_ns: int
    """From before it was sent until its pong was read."""


class LinkTrip(NamedTuple):
    """A round trip over the site link, as this agent measured it; for people and for the timing compiler."""

    site: SiteId
    took_ns: int


LINK_TRIPS_MAX = 8
"""Told with one ping; more are left out."""


@dataclass(frozen=True, slots=True)
class Ping:
    nonce: Nonce
    sent_ns: int = -1
    """The sender's lease clock, read before it sent; -1 while the witness has not said that it can read it."""
    earlier: PingEcho | None = None
    """Of the newest ping on this stream that was answered; each is told of once."""
    links: tuple[LinkTrip, ...] = ()
    """The newest to each other site since the ping before this one."""


@dataclass(frozen=True, slots=True)
class Pong:
    nonce: Nonce
    leading: bool
    has_quorum: bool
    features: int = FEATURE_FIRST
    """What may be said to this witness: the feature level that its cluster works at, as far as it knows."""


AgentMessage = Hello | Heartbeat | Release | Ping | EscrowPut
WitnessMessage = (
    Welcome | Goodbye | HeartbeatAnswer | ReleaseAnswer | Notice | Pong | GroupSites | EscrowPutAnswer | EscrowValue
)
