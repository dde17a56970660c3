"""When a failed activation is forgiven: each witness counts on its own clock, in full, from when it saw it happen."""

from __future__ import annotations

from proto.commands import QuarantineCause
from proto.decisions import Decision, DecisionKind, Reason
from proto.units import NS_PER_MS, InstantNs
from witness.core.sight import GroupSight
from witness.core.state import GroupState


def backoff_over(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision | None:
    """A failed activation is forgiven after a while; a witness that did not see it happen counts in full."""
    for site, record in group.sites.items():
        if QuarantineCause.ACTIVATION_FAILED not in record.quarantine:
            continue
        since = sight.failed_at.setdefault(site, now)
        if now - since >= group.config.activation_backoff_ms * NS_PER_MS:
            return Decision(group.config.group, DecisionKind.CLEAR_QUARANTINE, Reason.BACKOFF_OVER, site)
    return None


def backoff_left_ns(group: GroupState, sight: GroupSight, now: InstantNs) -> int | None:
    """The shortest back-off that still runs: the node looks again then."""
    left = [
        sight.failed_at[site] + group.config.activation_backoff_ms * NS_PER_MS - now
        for site, record in group.sites.items()
        if QuarantineCause.ACTIVATION_FAILED in record.quarantine and site in sight.failed_at
    ]
    return min(left, default=None)
