"""How much each kind of event matters to people, in one table: what is told, what is red on a screen.

Rule: every kind has a line; a kind without one is refused at import. CRITICAL: the service is down, or something that a
promise rests on is broken or used up; somebody looks at once, at night too. WARNING: nothing is down, but the next
failure may find less than there should be. INFO: a move, or what an operator did. DETAIL: steps of those.

Some kinds end what another one began: a claim ends an expiry. Whoever was told of the beginning is told of its end
with the same weight (`weight`), however harmless the end looks by itself.

Rejected: a severity in each event (it is a matter of taste and may change, the ledger may not); severities that an
operator configures for each kind (targets choose kinds by name instead, witness/core/notify).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from proto.events import Event, EventKind
from proto.invariants import require
from proto.units import GroupId, SiteId


class Severity(Enum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    DETAIL = "detail"

    def reaches(self, least: Severity) -> bool:
        """Whether it matters as much as `least`, or more."""
        return _RANK[self] <= _RANK[least]


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Meaning:
    severity: Severity
    words: str
    """What happened, for whoever reads it half asleep."""
    ends: frozenset[EventKind] = frozenset()
    """What is over by this, for the same group, and for the same site where both name one."""


def _of(severity: Severity, words: str, *ends: EventKind) -> Meaning:
    return Meaning(severity, words, frozenset(ends))


_CRITICAL, _WARNING, _INFO, _DETAIL = Severity
_K = EventKind

MEANING: dict[EventKind, Meaning] = {
    _K.EXPIRED: _of(_CRITICAL, "the active site was lost: its lease ran out"),
    _K.CLAIM_CLASH: _of(_CRITICAL, "two instances with one identity claimed one grant"),
    _K.SECOND_AGENT: _of(_CRITICAL, "a second agent speaks for the site"),
    _K.RESTORED: _of(_CRITICAL, "all witnesses were restored from a backup"),
    _K.HOLDS_BEGAN: _of(_CRITICAL, "no witness was reachable: the active site went on by holds of the others"),
    _K.HOLDS_BROKEN: _of(_CRITICAL, "what another site promised contradicts the holder's chain of holds"),
    _K.PERMIT_USED: _of(_CRITICAL, "a site is active under a break-glass permit"),
    _K.PERMIT_CLASH: _of(_CRITICAL, "a break-glass permit is used twice, or beside an active site"),
    _K.BOTH_ACTIVE: _of(_CRITICAL, "a license is activated at a site that may not be active"),
    _K.ESCROW_WAIVED: _of(_WARNING, "an operator gave the newest sealed key of a license up"),
    _K.LICENSE_PROBLEM: _of(_WARNING, "a site cannot keep or open the sealed key of a license"),
    _K.CLOCK_TOO_SLOW: _of(_CRITICAL, "a site's clock is slower than its leases allow: it may not be active"),
    _K.CLOCK_TOO_FAST: _of(_WARNING, "a site's clock is faster than its leases allow: it may not be activated"),
    _K.QUARANTINED: _of(_WARNING, "a site is barred until it is proven safe"),
    _K.REVOKE_DUE: _of(_WARNING, "a handover was not finished in time: the lease runs out"),
    _K.UNUSUAL: _of(_WARNING, "a measurement left what is usual for it"),
    _K.WOULD_HAVE: _of(_WARNING, "automatic mode would have moved the group"),
    _K.SITE_SILENT: _of(_WARNING, "a site that does not hold the lease is not heard"),
    _K.NO_STANDBY: _of(_WARNING, "no site could take over"),
    _K.UNDELIVERED: _of(_WARNING, "a target of notifications cannot be reached"),
    _K.GRANTED: _of(_INFO, "a site was granted the lease and starts"),
    _K.CLAIMED: _of(_INFO, "the site took its lease up and may be active", _K.EXPIRED),
    _K.REVOKED: _of(_INFO, "a handover begins"),
    _K.RELEASED: _of(_INFO, "the site stopped in order and gave its lease back", _K.REVOKE_DUE),
    _K.REGRANTED: _of(_INFO, "the holder goes on under a new epoch, without a stop", _K.EXPIRED),
    _K.HOLDS_ENDED: _of(_INFO, "the witnesses are reachable again", _K.HOLDS_BEGAN),
    _K.QUARANTINE_CLEARED: _of(_INFO, "a site may be activated again", _K.QUARANTINED),
    _K.PERMIT_ENDED: _of(_INFO, "a break-glass permit is over", _K.PERMIT_USED, _K.PERMIT_CLASH),
    _K.BOTH_ACTIVE_ENDED: _of(_INFO, "a license is no longer activated where it may not be", _K.BOTH_ACTIVE),
    _K.LICENSE_CURRENT: _of(_INFO, "a site holds the newest sealed key of a license", _K.LICENSE_PROBLEM),
    _K.RECONCILED: _of(_INFO, "an operator vouched for sites that are away"),
    _K.ACKNOWLEDGED: _of(_INFO, "somebody looks after an alarm"),
    _K.CLOCK_FIT: _of(_INFO, "a site's clock is within the bound again", _K.CLOCK_TOO_SLOW, _K.CLOCK_TOO_FAST),
    _K.SITE_HEARD: _of(_INFO, "a site that was silent is heard again", _K.SITE_SILENT),
    _K.STANDBY_AGAIN: _of(_INFO, "another site could take over again", _K.NO_STANDBY),
    _K.USUAL_AGAIN: _of(_INFO, "a measurement is as usual again", _K.UNUSUAL),
    _K.MODE: _of(_INFO, "an operator changed who may move the group"),
    _K.MAINTENANCE: _of(_INFO, "an operator began or ended maintenance of a site"),
    _K.GROUP_CREATED: _of(_INFO, "a group was created"),
    _K.GROUP_CHANGED: _of(_INFO, "a group's configuration was changed"),
    _K.GROUP_DELETED: _of(_INFO, "a group was deleted"),
    _K.SITE_RESTARTED: _of(_INFO, "a site's agent was started anew"),
    _K.FEATURE_RAISED: _of(_INFO, "every witness is upgraded: the cluster works at a new feature level"),
    _K.CLUSTER_FOUNDED: _of(_DETAIL, "the cluster was founded"),
    _K.SITE_JOINED: _of(_DETAIL, "a site's agent was heard for the first time"),
    _K.ESCROW_STORED: _of(_DETAIL, "a newly sealed key of a license is kept by the witnesses"),
    _K.SITE_STATE: _of(_DETAIL, "a site's life cycle went on"),
    _K.UNBARRED: _of(_DETAIL, "the wait after a creation or a restore is over"),
}


def _prove() -> None:
    for kind in EventKind:
        require(kind in MEANING, f"{kind.value} has no line in proto/severity.py")
    for kind, meaning in MEANING.items():
        require(kind not in meaning.ends, f"{kind.value} cannot end itself")


_prove()


def severity_of(kind: EventKind) -> Severity:
    return MEANING[kind].severity


def is_alarm(kind: EventKind) -> bool:
    """Somebody should look at it."""
    return severity_of(kind).reaches(Severity.WARNING)


class Happened(Protocol):
    """An event, or what is kept of one."""

    @property
    def kind(self) -> EventKind: ...
    @property
    def group(self) -> GroupId | None: ...
    @property
    def site(self) -> SiteId | None: ...


def ends(later: Happened, earlier: Happened) -> bool:
    """Whether `later` says that what `earlier` told of is over."""
    if earlier.kind not in MEANING[later.kind].ends or later.group != earlier.group:
        return False
    # A claim of any site ends the expiry of the one before: the service is back.
    same = later.site == earlier.site or None in (later.site, earlier.site)
    return same or later.kind in _BY_ANY_SITE


_BY_ANY_SITE = frozenset({EventKind.CLAIMED})


def ended_by(event: Event, before: Iterable[Event]) -> Event | None:
    """What `event` is the end of, among the events before it, newest first; None when that was over already."""
    if not MEANING[event.kind].ends:
        return None
    for earlier in before:
        if ends(event, earlier):
            return earlier
        if earlier.kind is event.kind and (earlier.group, earlier.site) == (event.group, event.site):
            return None
    return None


def weight(event: Event, before: Iterable[Event]) -> Severity:
    """Its own severity, or that of what it ends. `before`: the events before it, newest first."""
    own, ended = severity_of(event.kind), ended_by(event, before)
    return own if ended is None or own.reaches(severity_of(ended.kind)) else severity_of(ended.kind)
