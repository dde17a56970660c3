"""What one witness measures of what timing rests on: commits, and how late each holder's renewals come.

Rule: bounded (a histogram for each site that is known, and one of commits), of this process only, not replicated; no
decision rests on it. It is for people and for the timing compiler (witness/timing), which asks how the assumptions
behind a lease compare with what happens.

A renewal is *late* by what its gap to the one before exceeds the renewal interval of that lease. Lateness carries over
to another ttl, a gap does not. A gap that a change of the Raft leader falls into is the holder's to bear all the same:
it is in the figures, and counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proto import limits
from proto.histogram import Histogram
from proto.timing import renew_interval_ms
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, SiteId
from witness.core.changes import Changes
from witness.core.state import ClusterState

SITES_MAX = limits.ITEMS_MAX
"""Sites that are measured; those beyond are served and not measured."""


@dataclass(slots=True)
class SiteMeasures:
    late: Histogram = field(default_factory=Histogram)
    """Renewals, by what their gap exceeded the interval."""


@dataclass(slots=True)
class _Last:
    group: GroupId
    epoch: Epoch
    at: InstantNs


class Measures:
    def __init__(self) -> None:
        self.commits = Histogram()
        """From this witness's proposal of an entry to its own apply."""
        self.sites: dict[SiteId, SiteMeasures] = {}
        self.leader_changes = 0
        self._last: dict[SiteId, _Last] = {}

    def committed(self, took_ns: int | None) -> None:
        if took_ns is not None:
            self.commits.add(took_ns)

    def site(self, site: SiteId) -> SiteMeasures | None:
        found = self.sites.get(site)
        if found is None and len(self.sites) < SITES_MAX:
            found = self.sites[site] = SiteMeasures()
        return found

    def heard(self, changes: Changes, state: ClusterState, now: InstantNs) -> None:
        """Takes in the renewals of one applied entry: one heartbeat renews many leases, and the first one speaks."""
        for site, _, renewed in changes.heard:
            group = state.groups.get(renewed[0]) if renewed else None
            lease = None if group is None else group.lease
            measured = self.site(site)
            if lease is None or measured is None:
                self._last.pop(site, None)
                continue
            before = self._last.get(site)
            self._last[site] = _Last(renewed[0], lease.epoch, now)
            if before is not None and (before.group, before.epoch) == (renewed[0], lease.epoch):
                interval_ns = renew_interval_ms(lease.constants.ttl_ms) * NS_PER_MS
                measured.late.add(max(0, now - before.at - interval_ns))

    def to_json(self) -> dict[str, object]:
        """As witness/timing/measurements.py reads it."""
        sites = {site: {"late": one.late.to_json()} for site, one in sorted(self.sites.items())}
        return {"commits": self.commits.to_json(), "leader_changes": self.leader_changes, "sites": sites}
