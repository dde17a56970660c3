"""What the lead agent of a site and the members on its further hosts say to each other.

A member opens one stream to its lead: MemberHello, then LeadWelcome or LeadGoodbye. From then on it asks, and each ask
says first how it stands; an answer to that very ask (nonce) is the only thing that gives authority, as a duration that
the member counts from before it asked. No message carries an instant of anybody's clock. `AskNow` and `RunStep` give no
authority. A step travels as a name: which command it stands for is written in the member's own configuration, so that
nothing that comes over the network is ever executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from proto.units import ClusterId, Epoch, GroupId, MemberName, Nonce, SiteId

MEMBER_PROTOCOL: Final = 2
"""Of this family alone; lead and member of one site run the same one."""
NO_EXIT_CODE: Final = -1


class MemberPhase(Enum):
    """How a member stands with one group (agents/core/member.py has the transitions)."""

    UNKNOWN = "unknown"
    DOWN = "down"
    """Everything is verified down."""
    STARTING = "starting"
    HOLDING = "holding"
    STOPPING = "stopping"
    FENCING = "fencing"


class GroupAsk(NamedTuple):
    group: GroupId
    phase: MemberPhase
    epoch: Epoch
    """That it holds or is ending; 0 for none."""
    finished: Epoch
    """Durable: every epoch up to this one is verified down here and over for good. This is what lets a lead release."""
    forced: Epoch
    """The highest of them that this process did not end in order: a fence, or what a former process left. 0 for none.
    Its lock delay passes before the lead releases."""
    lacks: tuple[str, ...]
    """Why this host cannot carry the group, in words."""


class GroupOffer(NamedTuple):
    group: GroupId
    steps: tuple[str, ...]
    """The steps that its configuration has a command for."""


@dataclass(frozen=True, slots=True)
class MemberHello:
    protocol: int
    site: SiteId
    member: MemberName
    cluster: ClusterId
    instance: Nonce
    """128 random bits of this process: what one process was handed, another one's word does not end."""
    version: str
    groups: tuple[GroupOffer, ...]
    number: int
    """Of this connection: greater than that of any former one of this instance, over its processes too. Two live copies
    of one process count alike, so the second one to connect shows a number that was seen."""


@dataclass(frozen=True, slots=True)
class MemberAsk:
    nonce: Nonce
    groups: tuple[GroupAsk, ...]


@dataclass(frozen=True, slots=True)
class StepEnded:
    """Of a RunStep with this id: now, or whenever it is asked for again."""

    group: GroupId
    epoch: Epoch
    step_id: str
    end: str
    """A StepEnd of agents/fencing/base.py."""
    exit_code: int
    signal: int
    text: str


class Order(Enum):
    HOLD = "hold"
    """Authority for `epoch`, for what the lead has left."""
    STOP = "stop"
    """Every epoch up to `epoch` is over: stop in order, within `grace_ms`."""
    FENCE = "fence"
    """The same, by force."""


class GroupOrder(NamedTuple):
    group: GroupId
    order: Order
    epoch: Epoch
    lead_left_ns: int
    """What the lead had left of its own authority when it answered; 0 unless HOLD."""
    ttl_ms: int
    """Of the group's lease; 0 while the lead does not know it."""
    drift_max_ppm: int
    grace_ms: int


@dataclass(frozen=True, slots=True)
class LeadWelcome:
    site: SiteId
    cluster: ClusterId


@dataclass(frozen=True, slots=True)
class LeadGoodbye:
    """Why the lead closes the stream, with what to do about it."""

    text: str


@dataclass(frozen=True, slots=True)
class LeadAnswer:
    nonce: Nonce
    groups: tuple[GroupOrder, ...]


@dataclass(frozen=True, slots=True)
class TwinSeen:
    """Two machines speak as this instance: nobody's word counts for it any more. End what it holds, be another one."""

    text: str


@dataclass(frozen=True, slots=True)
class AskNow:
    """A hint: something changed."""


@dataclass(frozen=True, slots=True)
class RunStep:
    """Begin the step, unless one with this id was begun in this epoch: then tell, once more, how it ended."""

    group: GroupId
    epoch: Epoch
    step_id: str
    step: str
    undo: bool
    """Its undo command, which may also run when everything is down and the epoch is over."""
    cause: str
    plan: str
    timeout_ms: int


MemberMessage = MemberHello | MemberAsk | StepEnded
LeadMessage = LeadWelcome | LeadGoodbye | LeadAnswer | AskNow | RunStep | TwinSeen
