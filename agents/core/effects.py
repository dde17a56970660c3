"""What the agent's core asks its shell to do, in order. Each has the input that answers it.

A *plan* is the ordered work of one transition; the shell (agents/actions/runner.py) runs at most one per group
and answers it with exactly one `plan_finished`. Fencing cuts a running plan short: the plan then finishes as
failed, and the fence has its own answer, `fenced`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from agents.core.permit_record import PermitRecord
from agents.core.promise import Promise
from proto.lease import LeaseConstants
from proto.license import EscrowItem, EscrowVersion
from proto.messages import AgentMessage, GroupSites
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRequest
from proto.timing import LocalDeadlines
from proto.units import Claim, Epoch, GroupId, Incarnation, LicenseName, SiteId, WitnessId


class PlanKind(Enum):
    VERIFY_DOWN = "verify-down"
    """End what a former life left, then prove that nothing runs in the active role."""
    ACTIVATE = "activate"
    """Start a guard, arm it, run the activation steps in its namespace."""
    DEACTIVATE = "deactivate"
    """Run the deactivation steps, stop guards, prove that nothing is left."""
    ON_EPOCH = "on-epoch"
    """Tell the resources the new epoch of a site that goes on without a stop (docs/adr/0016)."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send on this witness's stream; when it is not open any more, drop it."""

    witness: WitnessId
    message: AgentMessage
    via: SiteId | None = None
    """Over the stream that this site's agent carries; None: over the direct one."""


@dataclass(frozen=True, slots=True)
class SendSite:
    """Ask this site over the connection that was dialled to it; when that is not open, drop it."""

    site: SiteId
    message: HoldRequest | HoldEnd


@dataclass(frozen=True, slots=True)
class AnswerSite:
    """Answer this site over the connection that it dialled; when that is gone, drop it."""

    site: SiteId
    message: HoldAnswer | HoldEndAnswer


@dataclass(frozen=True, slots=True)
class NoteIncarnation:
    """Make durable that this incarnation began, for those that follow it to name; each is answered by
    `incarnation_noted`, in order, also where it cannot be done. Until then a new one waits, for a while.
    """

    incarnation: Incarnation


@dataclass(frozen=True, slots=True)
class StorePromise:
    """Make durable, with the boot id; answered by `promise_stored`. At most one of a group is under way."""

    group: GroupId
    promise: Promise
    escrow: tuple[EscrowItem, ...] = ()
    """The holder's sealed keys that came with the request: kept before the promise; told by `license_kept`."""


@dataclass(frozen=True, slots=True)
class SealKey:
    """Read the license's key, seal it as that version and make it durable; answered by `license_sealed`.

    At most one of a license is under way. Nothing is sealed when the site does not hold the version's epoch any more.
    """

    group: GroupId
    license: LicenseName
    version: EscrowVersion


@dataclass(frozen=True, slots=True)
class LookAtKey:
    """Look at the license's key in place now, once: the platform has stopped, and its epoch ends behind the look.

    Answered by `license_looked`, when the look says something, and then always by `license_looked_last`.
    """

    group: GroupId
    license: LicenseName


@dataclass(frozen=True, slots=True)
class KeepSealed:
    """A sealed key of the witnesses: make it durable; answered by `license_kept`."""

    group: GroupId
    item: EscrowItem


@dataclass(frozen=True, slots=True)
class StoreSites:
    """Make durable; answered by `sites_stored`. At most one of a group is under way."""

    group: GroupId
    sites: GroupSites


@dataclass(frozen=True, slots=True)
class StorePermit:
    """What is kept of break-glass permits: make durable before anything follows; answered by `permit_stored`, each."""

    group: GroupId
    record: PermitRecord


@dataclass(frozen=True, slots=True)
class StoreBounds:
    """Make durable before anything else of this group happens; answered by `bounds_stored`."""

    group: GroupId
    epoch_bound: Epoch
    finished_epoch: Epoch


@dataclass(frozen=True, slots=True)
class KeepAuthority:
    """Authority for a new epoch: kept for the next process of this incarnation.

    No answer: what was not kept costs a takeover by a new process, never safety.
    """

    group: GroupId
    epoch: Epoch
    claim: Claim
    constants: LeaseConstants


@dataclass(frozen=True, slots=True)
class StartPlan:
    """Answered by `plan_finished(group, plan, ok, text)`. ok of VERIFY_DOWN and DEACTIVATE means proven down.

    A deactivation that is proven without its steps (they failed, hung, or came too late) says `orderly=False`.
    """

    group: GroupId
    plan: int
    kind: PlanKind
    epoch: Epoch
    cause: str
    """Why, for the steps' environment: first, takeover, handover, failback, start, fence ..."""
    deadlines: LocalDeadlines | None
    timeout_ms: int
    resumed: bool = False
    """A former agent of this incarnation began it: the journal says how far it came (agents/core/takeover.py)."""


@dataclass(frozen=True, slots=True)
class ExtendDeadline:
    """A renewal came, or a round of holds: re-arm every guard of the group. A later epoch than before means that the
    site goes on under it, in place. No answer; a guard that dies answers `guard_lost`.
    """

    group: GroupId
    epoch: Epoch
    deadlines: LocalDeadlines
    constants: LeaseConstants


@dataclass(frozen=True, slots=True)
class Fence:
    """Kill everything of the group at once and prove it; answered by `fenced(group, ok, text)`.

    Cancels a running plan. When it cannot be proven the shell goes on trying and answers later.
    """

    group: GroupId
    cause: str


@dataclass(frozen=True, slots=True)
class ReopenStreams:
    """Close every stream and open it anew: a witness knows a stream by the incarnation of its Hello."""


@dataclass(frozen=True, slots=True)
class KeepRelays:
    """Keep a stream to each of these witnesses through another site's agent, and to no other; each opening is told."""

    witnesses: tuple[WitnessId, ...]


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for the log and `site-agent status`; `alarm` when somebody should look at once."""

    group: GroupId | None
    text: str
    alarm: bool = False


Effect = (
    Send
    | ReopenStreams
    | KeepRelays
    | SendSite
    | AnswerSite
    | StorePromise
    | StoreSites
    | StorePermit
    | SealKey
    | LookAtKey
    | KeepSealed
    | StoreBounds
    | NoteIncarnation
    | KeepAuthority
    | StartPlan
    | ExtendDeadline
    | Fence
    | Tell
)
