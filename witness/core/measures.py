"""What a witness measures of what timing rests on: commits, round trips of sites, how late holders' renewals come.

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
from proto.messages import LINK_TRIPS_MAX, Ping
from proto.timing import renew_interval_ms
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, SiteId
from witness.core.changes import Changes
from witness.core.state import ClusterState

SITES_MAX = limits.ITEMS_MAX
"""Sites that are measured; those beyond are served and not measured."""
TRIP_MAX_NS = limits.PING_INTERVAL_NS


@dataclass(slots=True)
class SiteMeasures:
    late: Histogram = field(default_factory=Histogram)
    """Renewals, by what their gap exceeded the interval."""
    trips: Histogram = field(default_factory=Histogram)
    """Round trips between its agent and this witness, through another site's agent too, as its pings tell."""
    silences: int = 0
    """Pings that were answered after a second or later: an outage is no round trip."""
    links: dict[SiteId, Histogram] = field(default_factory=dict)
    """Its round trips over the site link."""

    def to_json(self) -> dict[str, object]:
        return {
            "late": self.late.to_json(),
            "trips": self.trips.to_json(),
            "silences": self.silences,
            "links": {peer: one.to_json() for peer, one in sorted(self.links.items())},
        }


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

    def pinged(self, site: SiteId, ping: Ping) -> None:
        measured = self.site(site) if ping.earlier is not None or ping.links else None
        if measured is None:
            return
        if ping.earlier is not None:
            if ping.earlier.took_ns < TRIP_MAX_NS:
                measured.trips.add(max(0, ping.earlier.took_ns))
            else:
                measured.silences += 1
        for peer, took_ns in ping.links[:LINK_TRIPS_MAX]:
            known = peer in measured.links or len(measured.links) < limits.SITES_PER_GROUP_MAX * LINK_TRIPS_MAX
            if known and 0 <= took_ns < TRIP_MAX_NS:
                measured.links.setdefault(peer, Histogram()).add(took_ns)

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
        sites = {site: one.to_json() for site, one in sorted(self.sites.items())}
        return {"commits": self.commits.to_json(), "leader_changes": self.leader_changes, "sites": sites}
