"""(6) What may enter the Raft log. Whatever varies (ids, times, names) was put in by the proposer.

Every command is total at apply: it is applied or refused with a Reason, on every replica alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.clock_rate import RateBounds
from proto.decisions import Reason
from proto.features import FEATURE_FIRST
from proto.groups import GroupConfig, Mode
from proto.license import EscrowVersion, SealedKey
from proto.messages import Release, ReleaseKind
from proto.units import Claim, ClusterId, Epoch, GroupId, Incarnation, LicenseName, SiteId, WallMs, WitnessId


@dataclass(frozen=True, slots=True)
class Author:
    """Who asked and why: an operator's certificate name, or 'witness' for the cluster itself."""

    name: str
    reason: str


class Cause(Enum):
    """Why a site becomes active; every activation step sees it."""

    FIRST = "first"
    TAKEOVER = "takeover"
    HANDOVER = "handover"
    FAILBACK = "failback"
    REGRANT = "regrant"
    """In place: the holder went on by holds while the witnesses were away, and goes on under a new epoch."""
    ADOPTED = "adopted"
    """In place: the site is active under a break-glass permit, and goes on under an epoch of the witnesses."""


class QuarantineCause(Enum):
    UNCLEAN_END = "unclean-end"
    ACTIVATION_FAILED = "activation-failed"
    STORE_CHANGED = "store-changed"
    OPERATOR = "operator"


class VoteKind(Enum):
    __hash__ = object.__hash__  # members are singletons; Enum's own hash is written in Python

    EXPIRY = "expiry"
    REVOKE_DUE = "revoke-due"
    BAR_OVER = "bar-over"
    SESSION_OVER = "session-over"


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """The first command of a cluster: who votes. Any later one that differs is refused."""

    cluster: ClusterId
    witnesses: tuple[WitnessId, ...]


@dataclass(frozen=True, slots=True)
class ConfigureGroup:
    config: GroupConfig
    expected_version: int
    """0 creates; otherwise the version that the author saw."""
    author: Author


@dataclass(frozen=True, slots=True)
class DeleteGroup:
    group: GroupId
    author: Author


@dataclass(frozen=True, slots=True)
class HeartbeatFrame:
    """A Heartbeat exactly as it was received, so that it is encoded once."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class Vote:
    """This witness counted in full, from its own apply of (epoch, number), without seeing a later one."""

    kind: VoteKind
    group: GroupId
    epoch: Epoch
    number: int
    """The renewal for EXPIRY, the revoke's number for REVOKE_DUE, else 0."""


EVERY_GROUP = GroupId("every-group")
"""Stands in a BAR_OVER vote for the group, with the restore generation for the epoch."""


@dataclass(frozen=True, slots=True)
class Votes:
    witness: WitnessId
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """Compare-and-set on (expected_epoch, vacant)."""

    group: GroupId
    expected_epoch: Epoch
    epoch: Epoch
    site: SiteId
    incarnation: Incarnation
    cause: Cause
    reason: Reason
    author: Author


@dataclass(frozen=True, slots=True)
class ReleaseLease:
    group: GroupId
    site: SiteId
    incarnation: Incarnation
    epoch: Epoch
    claim: Claim
    kind: ReleaseKind
    text: str

    @classmethod
    def asked(cls, by: Release) -> ReleaseLease:
        return cls(by.group, by.site, by.incarnation, by.epoch, by.claim, by.kind, by.text)


@dataclass(frozen=True, slots=True)
class Revoke:
    """Begins a handover: the holder goes on renewing until it released or the deadline was voted."""

    group: GroupId
    epoch: Epoch
    successor: SiteId
    cause: Cause
    reason: Reason
    author: Author


@dataclass(frozen=True, slots=True)
class SetMode:
    group: GroupId
    mode: Mode
    author: Author


@dataclass(frozen=True, slots=True)
class SetMaintenance:
    group: GroupId
    site: SiteId
    on: bool
    author: Author


@dataclass(frozen=True, slots=True)
class SetQuarantine:
    """`causes` limits what is cleared (empty: all); setting always has the cause OPERATOR."""

    group: GroupId
    site: SiteId
    on: bool
    causes: tuple[QuarantineCause, ...]
    author: Author


@dataclass(frozen=True, slots=True)
class RaiseFeatureLevel:
    """By one step, once every witness can; proposed by the leader on its own (proto.features)."""

    level: int

    def needs(self) -> int:
        """Read by no witness that cannot work at the level: it stops at the header of the entry."""
        return max(FEATURE_FIRST, self.level)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """An operator vouches for every site of the group that was not heard since the outage: none is under a permit."""

    group: GroupId
    author: Author


@dataclass(frozen=True, slots=True)
class PutEscrow:
    """Compare-and-set on the stored version: the holder of the sealed version's epoch adds the next one."""

    group: GroupId
    site: SiteId
    incarnation: Incarnation
    claim: Claim
    license: LicenseName
    sealed: SealedKey


@dataclass(frozen=True, slots=True)
class WaiveEscrow:
    """An operator gives the newest version up: sites that do not hold it may be activated. Once, until a claim."""

    group: GroupId
    license: LicenseName
    version: EscrowVersion
    """The newest version that is known, as the author saw it."""
    author: Author


@dataclass(frozen=True, slots=True)
class BeginTelling:
    """One witness takes it on to tell one lane of a target of the events above `after`, up to `upto`.

    With `upto` equal to `after` nothing is told: the lane begins there, or there was nothing for it.
    """

    lane: str
    number: int
    """One more than the lane's newest telling: of two that begin at once the second is refused."""
    after: int
    upto: int
    witness: WitnessId


@dataclass(frozen=True, slots=True)
class EndTelling:
    """`told`: the target took it; otherwise it was tried for as long as configured, and given up."""

    lane: str
    upto: int
    told: bool
    text: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Somebody looks after these open alarms (by the number of their first event; empty: all of them)."""

    alarms: tuple[int, ...]
    author: Author


@dataclass(frozen=True, slots=True)
class NoteWould:
    """What automatic mode would do in a group of another mode, as the leader sees it; proposed when that changes."""

    group: GroupId
    active: SiteId | None
    """Where the platform runs, or ran until it was lost."""
    needed: bool
    """A move away from there is due."""
    to: SiteId | None
    """Where it would have gone; None with `needed`: nothing could have taken over."""
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class ClockReport:
    """This witness measured the clock of a site's agent, and what follows from it is not what it said before."""

    witness: WitnessId
    site: SiteId
    incarnation: Incarnation
    bounds: RateBounds


@dataclass(frozen=True, slots=True)
class NoteUnusual:
    """A measurement left what is usual for it, or came back, as the leader sees it (witness.core.notify.usual)."""

    series: str
    group: GroupId | None
    site: SiteId | None
    over: bool
    text: str


@dataclass(frozen=True, slots=True)
class NoteStandby:
    """A dormant site is not heard, or no site could take over; or that is over. As the leader sees it, for a while."""

    group: GroupId
    site: SiteId | None
    """Which site is silent, or is heard again; None: whether any site could take over."""
    over: bool
    text: str


Command = (
    FoundCluster
    | ConfigureGroup
    | DeleteGroup
    | HeartbeatFrame
    | Votes
    | Grant
    | ReleaseLease
    | Revoke
    | SetMode
    | SetMaintenance
    | SetQuarantine
    | RaiseFeatureLevel
    | Reconcile
    | PutEscrow
    | WaiveEscrow
    | BeginTelling
    | EndTelling
    | Acknowledge
    | NoteWould
    | ClockReport
    | NoteUnusual
    | NoteStandby
)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One Raft entry: the commands that came in while the one before was in flight (group commit)."""

    proposer: WitnessId
    session: bytes
    """128 random bits of the proposer's process: only the process that proposed resolves its requests (D-17)."""
    number: int
    """Counts this session's entries."""
    wall_ms: WallMs
    commands: tuple[Command, ...]
