"""Whether a group is as it should be: what the leader's pings to an outside monitor rest on.

Rule: doubt is silence. A ping says "a majority of witnesses decides, every group is active where it may be, and a
takeover would find another site"; whatever keeps one of these from being seen keeps the ping back, and the monitor
raises the alarm. Nothing is decided on it.
"""

from __future__ import annotations

from proto.decisions import blocker_words
from proto.groups import Mode
from proto.health import SiteState
from proto.units import InstantNs, SiteId
from witness.core.notify.standby import against_takeover
from witness.core.sight import GroupSight, heard_max_ns
from witness.core.state import GroupState
from witness.core.transitions import Phase


def unwell(group: GroupState, sight: GroupSight, now: InstantNs, *, standby: bool) -> str:
    """Why the group is not as it should be; empty when it is. `standby`: another site must be able to take over.

    A group in observe holds no lease: its sites must be heard, no more.
    """
    name, lease = group.config.group, group.lease
    if group.mode is Mode.OBSERVE:
        silent = [site for site in group.config.sites if not _heard(group, site, sight, now)]
        return f"{name}: {', '.join(silent)} not heard" if silent else ""
    if group.phase is not Phase.HELD or lease is None or lease.site is None:
        return f"{name}: its lease is {group.phase.value}"
    report = group.sites[lease.site].report
    if report is None or not _heard(group, lease.site, sight, now):
        return f"{name}: {lease.site} holds the lease and is not heard"
    if report.state is not SiteState.ACTIVE or not report.healthy:
        said = "unhealthy" if report.state is SiteState.ACTIVE else report.state.value
        return f"{name}: {lease.site} is {said}"
    if report.holding is not None or report.permit is not None:
        return f"{name}: {lease.site} is active without the witnesses"
    return _no_standby(group, sight, now) if standby else ""


def _heard(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> bool:
    age_ns = sight.heard_age_ns(site, now)
    return age_ns is not None and age_ns <= heard_max_ns(group)


def _no_standby(group: GroupState, sight: GroupSight, now: InstantNs) -> str:
    against: dict[SiteId, str] = {}
    for one in against_takeover(group, sight, now):
        against.setdefault(one.site, blocker_words(one))
    return f"{group.config.group}: no site could take over: {'; '.join(against.values())}" if against else ""
