"""Feature levels: what the cluster has agreed to write, so that an older witness never misreads a newer one's words.

Rule: everything that is replicated carries the level that it needs, where it is read before anything else: the second
byte of a log entry, of a command, of an image (a msgpack array whose first field is the level, for ever). The
replicated state holds the cluster's level. It rises by one step, by a command, and only when every witness can work
at the next one. Nobody writes what needs more than the cluster's level; whoever meets more than its own FEATURE_MAX
stops with the remedy in its message. It never skips, and never refuses as malformed what a newer witness applies.

To add something: raise FEATURE_MAX once a release, name the new thing in SINCE, and nothing else. Rejected: one
version number of the program (two releases with one format could not work together), flags one by one (every
combination would have to be tested), levels that fall (an older witness cannot read what was written meanwhile).
docs/adr/0008-feature-level.md has the reasons.
"""

from __future__ import annotations

from typing import Final

from proto.errors import LocalFault

FEATURE_FIRST: Final = 1
FEATURE_MAX: Final = 2
"""The highest level that this program can work at; each witness tells it to the others in its introduction."""
LEVEL_CEILING: Final = 127
"""A level is one byte of msgpack."""

_LEVEL_2: Final = (
    "GroupConfig.witness_loss",
    "HealthReport.promising",
    "HealthReport.promised",
    "HealthReport.holding",
    "Hello.features",
    "GroupSites",
    "Verdict.HOLDING",
    "Cause.REGRANT",
    "Reason.HOLDS_UNBROKEN",
    "Reason.HOLDS_UNPROVEN",
    "Reason.HOLDS_BROKEN",
    "Reason.HOLDER_HOLDS",
    "Reason.PROMISE_OUTSTANDING",
    "Reason.SITES_UNHEARD",
    "Reason.CONFIG_NOT_KNOWN",
    "Reason.HOLDER_MAY_LIVE",
    "EventKind.HOLDS_BEGAN",
    "EventKind.HOLDS_ENDED",
    "EventKind.HOLDS_BROKEN",
    "EventKind.REGRANTED",
    "Lease.holds",
    "GroupState.former",
    "GroupState.hold_wait",
    "GroupState.settled",
)
"""Holds, and the re-grant in place (docs/adr/0016)."""

_LEVEL_2_PERMITS: Final = (
    "GroupConfig.break_glass_key",
    "GroupConfig.break_glass_after_ms",
    "HealthReport.permit",
    "Heartbeat.answered",
    "Reconcile",
    "Cause.ADOPTED",
    "Reason.UNDER_PERMIT",
    "Reason.PERMIT_CLASH",
    "Reason.PERMIT_OVERRULED",
    "Reason.RECONCILING",
    "Reason.SESSION_MAY_LIVE",
    "VoteKind.SESSION_OVER",
    "EventKind.PERMIT_USED",
    "EventKind.PERMIT_ENDED",
    "EventKind.PERMIT_CLASH",
    "EventKind.RECONCILED",
    "ClusterState.calendar",
    "ClusterState.lock_delays",
    "AgentRecord.marks",
    "AgentRecord.heard_ms",
    "GroupState.permits",
    "SiteRecord.heard_ms",
    "SiteRecord.vouched_ms",
)
"""Break-glass permits, and what the witnesses owe them (docs/adr/0018)."""

_LEVEL_2_LICENSES: Final = (
    "GroupConfig.licenses",
    "HealthReport.licenses",
    "EscrowPut",
    "EscrowPutAnswer",
    "EscrowValue",
    "PutEscrow",
    "WaiveEscrow",
    "Reason.UNKNOWN_LICENSE",
    "Reason.ESCROW_OFF",
    "Reason.ESCROW_CONFLICT",
    "Reason.TOO_MANY_LICENSES",
    "Reason.NOTHING_TO_WAIVE",
    "Reason.LICENSE_NOT_CURRENT",
    "Reason.LICENSE_ACTIVE_ELSEWHERE",
    "EventKind.ESCROW_STORED",
    "EventKind.ESCROW_WAIVED",
    "EventKind.LICENSE_PROBLEM",
    "EventKind.LICENSE_CURRENT",
    "EventKind.BOTH_ACTIVE",
    "EventKind.BOTH_ACTIVE_ENDED",
    "ClusterState.escrow_floors",
    "GroupState.escrow",
    "SiteRecord.both_active",
)
"""Licenses and their escrow (docs/adr/0020)."""

_LEVEL_2_NOTIFY: Final = (
    "BeginTelling",
    "EndTelling",
    "Acknowledge",
    "Reason.TOLD_ELSEWHERE",
    "Reason.UNKNOWN_ALARM",
    "EventKind.UNDELIVERED",
    "EventKind.ACKNOWLEDGED",
    "ClusterState.notify",
    "NoteWould",
    "EventKind.WOULD_HAVE",
    "GroupState.shadow",
    "NoteUnusual",
    "EventKind.UNUSUAL",
    "EventKind.USUAL_AGAIN",
    "NoteStandby",
    "EventKind.SITE_SILENT",
    "EventKind.SITE_HEARD",
    "EventKind.NO_STANDBY",
    "EventKind.STANDBY_AGAIN",
    "SiteRecord.silent",
    "GroupState.no_standby",
)
"""Who is told of what, open alarms (docs/adr/0021), what automatic mode would have done, what is unusual, and that
nobody could take over."""

_LEVEL_2_CLOCKS: Final = (
    "Ping.sent_ns",
    "Ping.earlier",
    "Ping.links",
    "Pong.features",
    "ClockReport",
    "Reason.CLOCK_TOO_SLOW",
    "Reason.CLOCK_TOO_FAST",
    "EventKind.CLOCK_TOO_SLOW",
    "EventKind.CLOCK_TOO_FAST",
    "EventKind.CLOCK_FIT",
    "AgentRecord.clock",
    "SiteRecord.clock",
)
"""Rates of the agents' clocks, as the witnesses measure them (docs/adr/0024)."""

_LEVEL_2_SPEAKERS: Final = ("Heartbeat.ended", "Reason.SUPERSEDED_BY_ENDED", "AgentRecord.ended")
"""Words of ended incarnations that come late (docs/adr/0025)."""

SINCE: dict[str, int] = dict.fromkeys(
    (*_LEVEL_2, *_LEVEL_2_PERMITS, *_LEVEL_2_LICENSES, *_LEVEL_2_NOTIFY, *_LEVEL_2_CLOCKS, *_LEVEL_2_SPEAKERS), 2
)
"""What came after the first level -> its level. Names: 'Grant' (a command or message), 'Grant.site' (a field, which
must have a default: its value wherever it is not written), 'Cause.DRILL' (a member of an enum)."""


class UpgradeRequired(LocalFault):
    """Something needs a higher feature level than this program has: the process stops, with the remedy."""


def since(name: str) -> int:
    return SINCE.get(name, FEATURE_FIRST)


def require_level(level: int, feature_max: int, what: str) -> None:
    """Raises UpgradeRequired unless this program can work at `level`."""
    if level > feature_max:
        raise UpgradeRequired(
            f"{what} needs feature level {level}, this program works up to level {feature_max}: install the version "
            "that the other witnesses run, or a newer one, and start this witness again; its data stays as it is"
        )
