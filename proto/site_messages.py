"""What the agents of a group's sites say to each other over the site link (DESIGN section 6; docs/adr/0016).

Each agent dials its peers: requests go over the connection that the asker dialled, answers come back on it. First
SiteHello, then SiteWelcome or SiteGoodbye. A hold is a promise by the asked site not to begin activation; it gives
authority only through a HoldAnswer with the very nonce of an attempt, counted by the holder from before it asked. No
message carries an instant of anybody's clock. A relay has a connection of its own: SiteHello, SiteWelcome, RelayOpen,
then RelayOpened, and from there on the bytes belong to the asker's TLS stream with the witness.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from proto.license import EscrowItem
from proto.units import Chain, Claim, ClusterId, Epoch, GroupId, Incarnation, Nonce, SiteId, WitnessId

SITE_PROTOCOL: Final = 1
"""Of this family alone."""


@dataclass(frozen=True, slots=True)
class SiteHello:
    protocol: int
    site: SiteId
    """The asker's own."""
    cluster: ClusterId
    version: str
    groups: tuple[GroupId, ...]


@dataclass(frozen=True, slots=True)
class SiteWelcome:
    site: SiteId
    """Of the one that was dialled."""
    cluster: ClusterId
    version: str
    groups: tuple[GroupId, ...]
    """Of the asker's, those that are served here, too."""


class SiteGoodbyeCode(Enum):
    WRONG_CLUSTER = "wrong-cluster"
    WRONG_IDENTITY = "wrong-identity"
    BAD_FRAME = "bad-frame"
    VERSION = "version"
    OVERLOADED = "overloaded"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class SiteGoodbye:
    """Why the connection is closed, with what to do about it."""

    code: SiteGoodbyeCode
    text: str


@dataclass(frozen=True, slots=True)
class SitePing:
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class SitePong:
    nonce: Nonce


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """Asks the other site to promise that it begins no activation for proto.holds.promise_wait after it got this."""

    nonce: Nonce
    """Fresh for each attempt and each site."""
    group: GroupId
    site: SiteId
    incarnation: Incarnation
    epoch: Epoch
    claim: Claim
    """Of that epoch; a promise is given to one claim."""
    ttl_ms: int
    drift_max_ppm: int
    lock_delay_ms: int
    """The lease's constants, as they were fixed at the grant of the epoch."""
    number: int
    """Grows with every round of requests of the incarnation."""
    chain: Chain
    """proto.holds.chain_next over the rounds until this one."""
    sites_version: int
    """Of the group's configuration whose sites the holder asks."""
    escrow: tuple[EscrowItem, ...] = ()
    """The newest sealed key of each license (proto.license): kept durably before the promise is given."""


class HoldVerdict(Enum):
    HELD = "held"
    """The promise is given, durably."""
    RELAY = "relay"
    """No hold: the asked site hears the witnesses, and carries the asker's streams to them."""
    STALE = "stale"
    """A later request of this incarnation and claim was seen: of two twins the asker is the one behind."""
    REFUSED = "refused"


class HoldRefusal(Enum):
    """Why no promise was given; stable, for status and log."""

    NONE = "none"
    UNKNOWN_GROUP = "unknown-group"
    NOT_A_SITE = "not-a-site"
    WRONG_SITE = "wrong-site"
    """The request names another site than its connection is authenticated for."""
    NOT_DOWN = "not-down"
    """This site is not verified down."""
    NOT_ENFORCING = "not-enforcing"
    CLAIMING = "claiming"
    """This site holds or claims an epoch, or did and it is not over yet."""
    GRANT_KNOWN = "grant-known"
    """This site knows of a grant of a later epoch."""
    EPOCH_OLD = "epoch-old"
    """This site acted upon a later epoch, or promised to the holder of one."""
    OTHER_CLAIM = "other-claim"
    """Another instance of the holder was promised something in this epoch."""
    WITNESSES_HEARD = "witnesses-heard"
    HOLDS_OFF = "holds-off"
    """The group's configuration says witness_loss: fence."""
    BUSY = "busy"
    """A request of the same round is being stored."""
    BAD_CONSTANTS = "bad-constants"
    PERMIT = "permit"
    """This site acts under a permit."""


@dataclass(frozen=True, slots=True)
class HoldAnswer:
    nonce: Nonce
    group: GroupId
    epoch: Epoch
    number: int
    verdict: HoldVerdict
    refusal: HoldRefusal = HoldRefusal.NONE


@dataclass(frozen=True, slots=True)
class HoldEnd:
    """The holder is verified down and its epoch is over: the promise ends at once."""

    nonce: Nonce
    group: GroupId
    site: SiteId
    incarnation: Incarnation
    epoch: Epoch
    claim: Claim
    number: int


@dataclass(frozen=True, slots=True)
class HoldEndAnswer:
    """No such promise stands any more, by this end or by another one."""

    nonce: Nonce
    group: GroupId
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class RelayOpen:
    """Carry this connection's further bytes to that witness, as the asked site knows its address."""

    witness: WitnessId


@dataclass(frozen=True, slots=True)
class RelayOpened:
    witness: WitnessId


class RelayRefusal(Enum):
    UNKNOWN_WITNESS = "unknown-witness"
    NOT_HEARD = "not-heard"
    """The asked site has no answer of a witness over a direct stream of its own within a renewal period."""
    BUSY = "busy"
    """This site's stream to that witness is carried already, or too many are."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class RelayRefused:
    witness: WitnessId
    refusal: RelayRefusal
    text: str


SiteRequest = SiteHello | SitePing | HoldRequest | HoldEnd | RelayOpen
"""From the one that dialled."""
SiteAnswer = SiteWelcome | SiteGoodbye | SitePong | HoldAnswer | HoldEndAnswer | RelayOpened | RelayRefused
"""From the one that was dialled."""
