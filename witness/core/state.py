"""What is replicated: everything that a decision rests on, and nothing that a clock produced.

Mutable and slotted, changed only by witness.core.machine and the rooms that it calls; written to and read from
snapshots by the same codec as the wire (witness.core.snapshot), with sets and dicts sorted, so that equal states
have equal bytes. Frozen values were rejected: one heartbeat of a hundred groups would build hundreds of records.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proto.clock_rate import ClockState, RateBounds
from proto.commands import Cause, QuarantineCause
from proto.decisions import Reason
from proto.events import GENESIS_HASH, Event
from proto.features import FEATURE_FIRST
from proto.groups import GroupConfig, Mode
from proto.health import HealthReport
from proto.lease import LeaseConstants
from proto.license import EscrowVersion, SealedKey
from proto.messages import LAG_UNKNOWN_MS
from proto.permit import AFTER_MS_MAX
from proto.units import (
    NO_LINEAGE,
    Claim,
    ClusterId,
    Epoch,
    GroupId,
    Incarnation,
    LicenseName,
    SiteId,
    WallMs,
    WitnessId,
)
from witness.core.notify.state import NotifyState
from witness.core.transitions import LeaseInput, Phase


@dataclass(slots=True)
class Revocation:
    """A handover under way. `number` tells its votes from those of any other revoke of the epoch."""

    number: int
    successor: SiteId
    cause: Cause
    reason: Reason
    timeout_ms: int
    votes: set[WitnessId] = field(default_factory=set)


@dataclass(slots=True)
class Lease:
    """The lease record of one epoch. `site` is None only while the group is BARRED."""

    epoch: Epoch
    site: SiteId | None
    incarnation: Incarnation | None
    constants: LeaseConstants
    """Fixed at the grant; a change of the configuration takes effect with the next epoch."""
    cause: Cause
    claim: Claim | None = None
    renewal: int = 0
    votes: set[WitnessId] = field(default_factory=set)
    """Expiry votes for exactly (epoch, renewal); emptied by every renewal."""
    revocation: Revocation | None = None
    clash_told: bool = False
    holds: bool = False
    """The configuration allowed holds at some time of this lease: its holder may go on by them."""


@dataclass(slots=True)
class Former:
    """Whose lease ended by expiry while it may go on by holds, until somebody claims (witness.core.holds_rules)."""

    site: SiteId
    incarnation: Incarnation
    claim: Claim
    epoch: Epoch
    last: Epoch
    """What it claimed in place since, and nobody knows whether it heard of that; else `epoch`."""

    def lives_by(self, epoch: Epoch) -> bool:
        return epoch in (self.epoch, self.last)


@dataclass(slots=True)
class QuarantineNote:
    epoch: Epoch
    text: str


@dataclass(slots=True)
class ClockNote:
    """A majority of witnesses measured a clock that is not fit (witness.core.clock_rules)."""

    state: ClockState
    rate_ppm: int
    """The bound that a majority vouches for: upper of one that is too slow, lower of one that is too fast."""
    drift_max_ppm: int
    """What it was judged by."""


@dataclass(slots=True)
class SiteRecord:
    """What the witnesses know about one site of one group."""

    incarnation: Incarnation | None = None
    report_bytes: bytes = b""
    report: HealthReport | None = None
    lag_ms: int = LAG_UNKNOWN_MS
    """The last known lag: it counts when replication broke together with the active site."""
    maintenance: bool = False
    quarantine: dict[QuarantineCause, QuarantineNote] = field(default_factory=dict)
    store_id: bytes = b""
    carried: bool = True
    """False for an added site until the holder renewed with a configuration that includes it."""
    heard_ms: int = 0
    """On the calendar: it has the answer to a heartbeat that was applied then (witness.core.permits); 0: never."""
    vouched_ms: int = 0
    """On the calendar: an operator vouched then that it is under no permit; counts until it is heard again."""
    both_active: set[LicenseName] = field(default_factory=set)
    """Licenses that it was told of as activated without a right to it, and that it did not say to be inactive since."""
    clock: ClockNote | None = None
    """Its clock is not fit for this group's leases; None: fit, or nothing is known of it."""
    silent: bool = False
    """It was told that the site is not heard (witness.core.notify.standby)."""


@dataclass(slots=True)
class Successor:
    """Whom the ended lease was handed over to."""

    site: SiteId
    cause: Cause
    reason: Reason


@dataclass(slots=True)
class PermitNote:
    """A break-glass permit as the first report that named it told of it."""

    site: SiteId
    incarnation: Incarnation
    epoch: Epoch
    clash_told: bool = False


@dataclass(slots=True)
class SessionWait:
    """After an operator's word that no permit is in use, until a majority has counted it out (session_wait)."""

    floor: Epoch
    """Of that word: the next one has a higher one."""
    constants: LeaseConstants
    """With the longest lock delay that what ran there can have gone by."""
    votes: set[WitnessId] = field(default_factory=set)


@dataclass(slots=True)
class GroupPermits:
    """What the witnesses owe to permits (witness.core.permits); instants are on the calendar."""

    after_ms: int = 0
    """The shortest wait after which any site may take a permit, by a configuration that it still knows; 0: none may."""
    since_ms: int = 0
    """Permits are possible since then: silence before it does not count."""
    seen_ms: int = 0
    """The calendar when the group was last heard of, for decisions; what is applied asks the calendar itself."""
    floor: Epoch = Epoch(0)  # noqa: RUF009 - a NewType of an int
    """Grants go above it: permits that an operator vouched away may have had epochs up to there."""
    used: dict[bytes, PermitNote] = field(default_factory=dict)
    """By permit."""
    lock_delay_ms: int = 0
    """The longest of all that the group had: which of them a site goes by, its reports do not tell (session_wait)."""
    session: SessionWait | None = None


@dataclass(slots=True)
class EscrowRecord:
    """The newest sealed key of one license that was put."""

    sealed: SealedKey
    site: SiteId
    put_ms: WallMs
    """By the proposer's wall clock, for people."""


@dataclass(slots=True)
class GroupEscrow:
    """What the witnesses keep of a group's licenses (witness.core.licenses)."""

    kept: dict[LicenseName, EscrowRecord] = field(default_factory=dict)
    floor: int = 0
    """Numbers of versions begin above it: it was the newest of a license that was removed, or of a deleted group."""
    unsure: bool = False
    """Since a restore of all witnesses, until a claim: sites may hold newer values than the backup."""
    waived: dict[LicenseName, EscrowVersion] = field(default_factory=dict)
    """Up to this version an operator gave up on; until the next claim or put."""


@dataclass(slots=True)
class Shadow:
    """What automatic mode would do, in the other modes (witness.core.shadow)."""

    active: SiteId | None = None
    needed: bool = False
    to: SiteId | None = None
    count: int = 0
    """How often it would have moved the group, since its creation."""


@dataclass(slots=True)
class GroupState:
    config: GroupConfig
    version: int
    mode: Mode
    epoch: Epoch
    """The highest epoch ever granted (or barred); grants go above it."""
    phase: Phase
    lease: Lease | None
    sites: dict[SiteId, SiteRecord]
    carried_version: int = 1
    """The newest version that a renewal of the holder carried, or that a release settled."""
    successor: Successor | None = None
    last_end: LeaseInput | None = None
    """How the last lease ended: RELEASE or EXPIRY; None before the first."""
    last_holder: SiteId | None = None
    unclaimed_by: SiteId | None = None
    """The site that let the last grant run out unclaimed: others come first until somebody claims."""
    permits: GroupPermits = field(default_factory=GroupPermits)
    former: Former | None = None
    hold_wait: LeaseConstants | None = None
    """The longest of every lease that may still be lived on by holds: how long a site that starts cold waits."""
    settled: Epoch = Epoch(0)  # noqa: RUF009 - a NewType of an int
    """The newest epoch that its holder said, in a renewal, to live by: everything older is over."""
    escrow: GroupEscrow = field(default_factory=GroupEscrow)
    shadow: Shadow = field(default_factory=Shadow)
    no_standby: bool = False
    """It was told that no site could take over (witness.core.notify.standby)."""


@dataclass(slots=True)
class AgentRecord:
    """The agent that speaks for a site: only its newest incarnation counts, only its newest heartbeat."""

    incarnation: Incarnation
    seq: int
    superseded: list[Incarnation] = field(default_factory=list)
    """Those that were heard before it."""
    clash_told: bool = False
    ended: list[Incarnation] = field(default_factory=list)
    """Those that it named, or else the one before it: heard or not, they count no more."""
    marks: list[tuple[int, int]] = field(default_factory=list)
    """Some of its newest heartbeats: number, and the calendar when each was applied."""
    heard_ms: int = 0
    """As SiteRecord.heard_ms, for all its groups."""
    clock: dict[WitnessId, RateBounds] = field(default_factory=dict)
    """The rate of its clock, by each witness that had something to say of it. A new incarnation changes nothing: it is
    the same host's clock until it was measured anew."""


@dataclass(slots=True)
class CalendarMark:
    counted_ms: int
    wall_ms: WallMs


@dataclass(slots=True)
class Calendar:
    """Time as the wall clocks of the entries' proposers tell it (witness.core.calendar)."""

    counted_ms: int = AFTER_MS_MAX
    """Only grows. It begins so far on that what was never heard, 0, is silent for as long as can be configured."""
    wall_ms: WallMs = WallMs(0)  # noqa: RUF009 - a NewType of an int
    """Of the newest entry, whoever proposed it."""
    marks: dict[WitnessId, CalendarMark] = field(default_factory=dict)
    """By each proposer's newest entry."""


@dataclass(slots=True)
class Bar:
    """After a restore: a former life of any group may still be in force. A group that is made meanwhile waits too."""

    constants: LeaseConstants
    """The longest that any group can have had."""
    votes: set[WitnessId] = field(default_factory=set)


@dataclass(slots=True)
class LedgerState:
    head_seq: int = 0
    head_chain: bytes = GENESIS_HASH
    recent: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class ClusterState:
    cluster: ClusterId | None = None
    witnesses: tuple[WitnessId, ...] = ()
    generation: int = 0
    """Restore generation: stands in the high bits of every new group's first epoch."""
    groups: dict[GroupId, GroupState] = field(default_factory=dict)
    tombstones: dict[GroupId, Epoch] = field(default_factory=dict)
    agents: dict[SiteId, AgentRecord] = field(default_factory=dict)
    applied_index: int = 0
    ledger: LedgerState = field(default_factory=LedgerState)
    lineage: bytes = NO_LINEAGE
    """Drawn anew at each restore of all witnesses (witness.core.restore)."""
    bar: Bar | None = None
    """Until a majority has counted it out; None in a cluster that was never restored."""
    feature_level: int = FEATURE_FIRST
    """What may be written: every witness can work at it (proto.features)."""
    calendar: Calendar = field(default_factory=Calendar)
    lock_delays: dict[GroupId, int] = field(default_factory=dict)
    """Of deleted groups: GroupPermits.lock_delay_ms of one that is made again by the name."""
    escrow_floors: dict[GroupId, int] = field(default_factory=dict)
    """Of deleted groups: GroupEscrow.floor of one that is made again by the name."""
    notify: NotifyState = field(default_factory=NotifyState)


def majority(members: int) -> int:
    return members // 2 + 1
