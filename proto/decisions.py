"""(8) Decisions and refusals are values with Reason codes; words come last, from one function.

A Reason is stable: integrators may match on its value. docs/reference/reasons.md is generated from this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.units import GroupId, SiteId


class Reason(Enum):
    """Why something was done, or was not. The value is the code, the doc text is `REASON_TEXT`."""

    OK = "ok"
    # refused commands
    MALFORMED = "malformed"
    NOT_A_MEMBER = "not-a-member"
    CLUSTER_MISMATCH = "cluster-mismatch"
    UNKNOWN_GROUP = "unknown-group"
    UNKNOWN_SITE = "unknown-site"
    VERSION_CONFLICT = "version-conflict"
    BAD_CONFIGURATION = "bad-configuration"
    TOO_MANY_GROUPS = "too-many-groups"
    LEASE_HELD = "lease-held"
    NOT_VACANT = "not-vacant"
    EPOCH_CONFLICT = "epoch-conflict"
    EPOCH_TOO_LOW = "epoch-too-low"
    WRONG_INCARNATION = "wrong-incarnation"
    WRONG_CLAIM = "wrong-claim"
    STALE_VOTE = "stale-vote"
    STALE_HEARTBEAT = "stale-heartbeat"
    INCARNATION_SUPERSEDED = "incarnation-superseded"
    SUPERSEDED_BY_ENDED = "superseded-by-ended"
    HELD_BY_OTHER_INCARNATION = "held-by-other-incarnation"
    NOT_HOLDER = "not-holder"
    NOT_CLAIMED = "not-claimed"
    ALREADY_REVOKED = "already-revoked"
    REVOKE_DUE = "revoke-due"
    ALREADY_THERE = "already-there"
    ALREADY_SO = "already-so"
    MODE_FORBIDS = "mode-forbids"
    SITES_NOT_DOWN = "sites-not-down"
    REASON_REQUIRED = "reason-required"
    NOT_QUARANTINED = "not-quarantined"
    NO_QUORUM = "no-quorum"
    OUTCOME_UNKNOWN = "outcome-unknown"
    OVERLOADED = "overloaded"
    FEATURE_LEVEL = "feature-level"
    # why a site may not be activated (blockers)
    NOT_HEARD = "not-heard"
    NOT_ENFORCING = "not-enforcing"
    NOT_VERIFIED_DOWN = "not-verified-down"
    NOT_READY = "not-ready"
    LAG_TOO_HIGH = "lag-too-high"
    LAG_UNKNOWN = "lag-unknown"
    IN_MAINTENANCE = "in-maintenance"
    QUARANTINED = "quarantined"
    CONFIG_NOT_CARRIED = "config-not-carried"
    OTHER_SITE_NOT_DOWN = "other-site-not-down"
    # why a decision was taken, or none
    HOLDER_ACTIVE = "holder-active"
    GRANT_UNCLAIMED = "grant-unclaimed"
    WAITING_FOR_EXPIRY = "waiting-for-expiry"
    BARRED_AFTER_CREATION = "barred-after-creation"
    HANDOVER_RUNNING = "handover-running"
    FIRST_ACTIVATION = "first-activation"
    HOLDER_EXPIRED = "holder-expired"
    HOLDER_RELEASED = "holder-released"
    OPERATOR_ASKED = "operator-asked"
    HOLDER_UNFIT = "holder-unfit"
    FAILBACK_DUE = "failback-due"
    NO_CANDIDATE = "no-candidate"
    COOLDOWN = "cooldown"
    MOVES_EXHAUSTED = "moves-exhausted"
    MODE_MANUAL = "mode-manual"
    MODE_PAUSED = "mode-paused"
    MODE_OBSERVE = "mode-observe"
    BACKOFF_OVER = "backoff-over"
    LAST_RESORT = "last-resort"
    PROVEN_DOWN = "proven-down"
    ACTIVATION_FAILED = "activation-failed"
    UNCLEAN_END = "unclean-end"
    STORE_CHANGED = "store-changed"
    NEVER_CLAIMED = "never-claimed"
    CLAIM_CLASH = "claim-clash"
    # holds
    HOLDS_UNBROKEN = "holds-unbroken"
    HOLDS_UNPROVEN = "holds-unproven"
    HOLDS_BROKEN = "holds-broken"
    HOLDER_HOLDS = "holder-holds"
    PROMISE_OUTSTANDING = "promise-outstanding"
    SITES_UNHEARD = "sites-unheard"
    CONFIG_NOT_KNOWN = "config-not-known"
    HOLDER_MAY_LIVE = "holder-may-live"
    # break-glass permits
    UNDER_PERMIT = "under-permit"
    RECONCILING = "reconciling"
    PERMIT_CLASH = "permit-clash"
    PERMIT_OVERRULED = "permit-overruled"
    SESSION_MAY_LIVE = "session-may-live"
    # licenses
    UNKNOWN_LICENSE = "unknown-license"
    ESCROW_OFF = "escrow-off"
    ESCROW_CONFLICT = "escrow-conflict"
    TOO_MANY_LICENSES = "too-many-licenses"
    NOTHING_TO_WAIVE = "nothing-to-waive"
    LICENSE_NOT_CURRENT = "license-not-current"
    LICENSE_ACTIVE_ELSEWHERE = "license-active-elsewhere"
    # notifications
    TOLD_ELSEWHERE = "told-elsewhere"
    UNKNOWN_ALARM = "unknown-alarm"
    # clock rates
    CLOCK_TOO_SLOW = "clock-too-slow"
    CLOCK_TOO_FAST = "clock-too-fast"


REASON_TEXT: dict[Reason, str] = {
    Reason.OK: "done",
    Reason.MALFORMED: "the command could not be read; upgrade the older side or report a bug",
    Reason.NOT_A_MEMBER: "the vote is not from a witness of this cluster",
    Reason.CLUSTER_MISMATCH: "the witness list differs from the one that this cluster was founded with",
    Reason.UNKNOWN_GROUP: "no such group; `witnessctl groups` lists them, `witnessctl apply` creates one",
    Reason.UNKNOWN_SITE: "the group has no such site",
    Reason.VERSION_CONFLICT: "somebody changed it first; look again and repeat",
    Reason.BAD_CONFIGURATION: "the configuration breaks a rule",
    Reason.TOO_MANY_GROUPS: "the cluster's limit of groups is reached",
    Reason.LEASE_HELD: "a site still holds the lease, or may; it must be released or over first",
    Reason.NOT_VACANT: "the lease is not vacant",
    Reason.EPOCH_CONFLICT: "the group moved on since this was asked",
    Reason.EPOCH_TOO_LOW: "the epoch is not above every epoch that was ever seen",
    Reason.WRONG_INCARNATION: "another incarnation of the site's agent is the one that counts",
    Reason.WRONG_CLAIM: "another instance claimed this epoch first: two agents share one identity",
    Reason.STALE_VOTE: "a renewal was committed since that timer started",
    Reason.STALE_HEARTBEAT: "a newer heartbeat of this agent was applied already",
    Reason.INCARNATION_SUPERSEDED: "a newer incarnation of this site's agent took over: is a second agent running?",
    Reason.SUPERSEDED_BY_ENDED: "a late word of an incarnation of this agent that had ended was heard after it: it "
    "begins anew by itself",
    Reason.HELD_BY_OTHER_INCARNATION: "another incarnation of this site's agent holds the lease until it expires",
    Reason.NOT_HOLDER: "the site does not hold the lease of that epoch",
    Reason.NOT_CLAIMED: "the grant has not been claimed yet; try again in a moment",
    Reason.ALREADY_REVOKED: "a handover is under way already",
    Reason.REVOKE_DUE: "the handover's time is over: no more renewals",
    Reason.ALREADY_THERE: "that site is active already",
    Reason.ALREADY_SO: "nothing to change",
    Reason.MODE_FORBIDS: "the group's mode forbids moves; see `witnessctl mode`",
    Reason.SITES_NOT_DOWN: "every site must be verified down first",
    Reason.REASON_REQUIRED: "say why with --reason: it is kept in the ledger",
    Reason.NOT_QUARANTINED: "the site is not in quarantine, or not for that cause",
    Reason.NO_QUORUM: "this witness reaches no majority; nothing can be decided now",
    Reason.OUTCOME_UNKNOWN: "no answer in time; it may still happen: look at the status before you repeat it",
    Reason.OVERLOADED: "too many requests wait already; try again",
    Reason.FEATURE_LEVEL: "not every witness can do this yet: upgrade them first; see `witnessctl status`",
    Reason.NOT_HEARD: "its agent is not heard by the witnesses",
    Reason.NOT_ENFORCING: "its agent only watches (enforce: false)",
    Reason.NOT_VERIFIED_DOWN: "it is not verified down",
    Reason.NOT_READY: "it reports itself not ready",
    Reason.LAG_TOO_HIGH: "its replication lag is above the limit",
    Reason.LAG_UNKNOWN: "its replication lag was never known",
    Reason.IN_MAINTENANCE: "it is in maintenance",
    Reason.QUARANTINED: "it is in quarantine",
    Reason.CONFIG_NOT_CARRIED: "it was added and the holder has not renewed with that configuration yet",
    Reason.OTHER_SITE_NOT_DOWN: "another site is heard and does not say that it is down; end what runs there, or vouch "
    "for it by putting it in maintenance",
    Reason.HOLDER_ACTIVE: "the holder renews",
    Reason.GRANT_UNCLAIMED: "granted, and not claimed yet",
    Reason.WAITING_FOR_EXPIRY: "the holder is silent; its lease has not run out yet",
    Reason.BARRED_AFTER_CREATION: "after creation or restore one full lease must pass first",
    Reason.HANDOVER_RUNNING: "a handover is under way",
    Reason.FIRST_ACTIVATION: "no site is active and none was before",
    Reason.HOLDER_EXPIRED: "the holder's lease expired",
    Reason.HOLDER_RELEASED: "the holder released its lease, verified down",
    Reason.OPERATOR_ASKED: "an operator asked for it",
    Reason.HOLDER_UNFIT: "the active site reports itself unfit",
    Reason.FAILBACK_DUE: "the preferred site has been fit long enough",
    Reason.NO_CANDIDATE: "no site may be activated",
    Reason.COOLDOWN: "the cooldown after the last automatic move runs",
    Reason.MOVES_EXHAUSTED: "too many automatic moves in the window",
    Reason.MODE_MANUAL: "mode manual: an operator must ask",
    Reason.MODE_PAUSED: "mode paused: nothing moves",
    Reason.MODE_OBSERVE: "mode observe: this is only what it would do",
    Reason.BACKOFF_OVER: "the back-off after a failed activation is over",
    Reason.LAST_RESORT: "no other site may be activated, and this one is verified down with nothing failing",
    Reason.PROVEN_DOWN: "its agent proved everything down and its data checks pass",
    Reason.ACTIVATION_FAILED: "its activation failed",
    Reason.UNCLEAN_END: "its lease ended without a release",
    Reason.STORE_CHANGED: "its agent came with another store: was its state_dir replaced or wiped?",
    Reason.NEVER_CLAIMED: "it was granted the lease and did not claim it",
    Reason.CLAIM_CLASH: "two instances with one identity tried to use one grant",
    Reason.HOLDS_UNBROKEN: "the last holder went on by holds of every other site, and nobody was granted since",
    Reason.HOLDS_UNPROVEN: "its last promise, as it was reported, does not reach to the holder's last round of holds",
    Reason.HOLDS_BROKEN: "what another site promised contradicts the holder's chain of holds",
    Reason.HOLDER_HOLDS: "the last holder goes on by holds of the other sites",
    Reason.PROMISE_OUTSTANDING: "it promised the last holder not to begin, or may have before it was started anew",
    Reason.SITES_UNHEARD: "after a loss of witnesses every site is heard first, or one full lease passes: the last "
    "holder may go on by holds",
    Reason.CONFIG_NOT_KNOWN: "its agent does not know this version of the group's configuration yet",
    Reason.HOLDER_MAY_LIVE: "the last holder may go on by holds of the other sites: its agent must be heard, down",
    Reason.UNDER_PERMIT: "it is active under a break-glass permit; it is adopted in place, nothing else is granted",
    Reason.RECONCILING: "it was not heard for so long that it may be active under a break-glass permit: bring its "
    "agent back, or look there yourself and vouch for it with `witnessctl reconcile`",
    Reason.PERMIT_CLASH: "another site says that it is active, too, or the permit was used before: stop one of the two "
    "by hand; `site-agent break-glass GROUP --end` ends a permit",
    Reason.SESSION_MAY_LIVE: "an operator vouched that no permit is in use; a license server may keep the session of "
    "what ran there for the lock delay: the wait ends by itself",
    Reason.TOLD_ELSEWHERE: "another witness began to tell this target first",
    Reason.UNKNOWN_ALARM: "no such alarm is open; `witnessctl notify list` shows them",
    Reason.PERMIT_OVERRULED: "another site holds the lease under a higher epoch than the permit's: the permit is over",
    Reason.UNKNOWN_LICENSE: "the group has no such license; `witnessctl license status GROUP` lists them",
    Reason.ESCROW_OFF: "the group's configuration keeps no sealed keys of this license (escrow: none)",
    Reason.ESCROW_CONFLICT: "its number is not above the stored version's: another value was stored since",
    Reason.TOO_MANY_LICENSES: "the cluster's limit of licenses is reached",
    Reason.NOTHING_TO_WAIVE: "no newest version keeps a site of this group back, or the license does not require one",
    Reason.LICENSE_NOT_CURRENT: "it does not hold the newest sealed key of a license: wait until it has it, bring back "
    "a site that has it, or give that version up with `witnessctl license waive`",
    Reason.LICENSE_ACTIVE_ELSEWHERE: "a license is seen activated at another site, which does not hold the lease; end "
    "it there, or vouch for that site by putting it in maintenance",
    Reason.CLOCK_TOO_SLOW: "its host's clock is slower than drift_max allows: mend it, or raise drift_max",
    Reason.CLOCK_TOO_FAST: "its host's clock is faster than drift_max allows: mend it, or raise drift_max",
}


PASSING = frozenset({Reason.PROMISE_OUTSTANDING, Reason.SESSION_MAY_LIVE})
"""Blockers that end by themselves soon: whoever asks for a move may wait for it."""


class DecisionKind(Enum):
    NOTHING = "nothing"
    GRANT = "grant"
    REVOKE = "revoke"
    CLEAR_QUARANTINE = "clear-quarantine"


@dataclass(frozen=True, slots=True)
class Blocker:
    """One reason why one site may not be activated, with what was seen."""

    site: SiteId
    reason: Reason
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What should happen to a group now, why, and what stood against the alternatives (promise P6)."""

    group: GroupId
    kind: DecisionKind
    reason: Reason
    site: SiteId | None = None
    blockers: tuple[Blocker, ...] = ()
    retry_in_ns: int | None = None
    """Look again after this long even when nothing is heard (a countdown that people can see)."""
    would: DecisionKind | None = None
    """In `observe`, `manual` and `paused`: what automatic mode would have done."""


def blocker_words(blocker: Blocker) -> str:
    seen = f" ({blocker.seen})" if blocker.seen else ""
    return f"{blocker.site}: {REASON_TEXT[blocker.reason]}{seen}"


def decision_words(decision: Decision) -> str:
    """The one place where a decision becomes English."""
    what = {
        DecisionKind.NOTHING: "no move",
        DecisionKind.GRANT: f"activate {decision.site}",
        DecisionKind.REVOKE: f"hand over to {decision.site}",
        DecisionKind.CLEAR_QUARANTINE: f"clear the quarantine of {decision.site}",
    }[decision.kind]
    words = f"{what}: {REASON_TEXT[decision.reason]}"
    if decision.would is not None:
        words += f" (automatic mode would: {decision.would.value})"
    if decision.blockers:
        words += "; " + "; ".join(blocker_words(blocker) for blocker in decision.blockers)
    return words
