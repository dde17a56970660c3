"""What witnesses measured, merged, and the delays that follow from it.

Rule: a delay for the bound is twice the 99.9th percentile, and never less than the longest that was seen; below
`SAMPLES_MIN` samples it is what was assumed, or the longest seen when that is more. A commit holds two syncs, so while
there are too few commits it is not less than twice a sync's bound. What a site's disk and a timer's wake-up take is
measured by nobody and stays assumed, and so does what a witness of an earlier version does not tell. A percentile alone
would be broken by the one day that matters; the longest alone grows with every week that is watched and says nothing of
the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from proto.errors import BadValue
from proto.histogram import Histogram
from proto.takeover import ASSUMED, Delays
from proto.units import NS_PER_MS, DurationNs

SAMPLES_MIN = 1_000
QUANTILE = 0.999
MARGIN = 2
SITES_MAX = 1_024
SYNCS_A_COMMIT = 2
"""The leader's, beside which a follower's runs, and the one before it that was under way."""
ASSUMED_SYNC_NS = DurationNs(10 * NS_PER_MS)
"""A turn of the engine with its sync; two of them are the commit that is assumed."""


@dataclass(slots=True)
class Measurements:
    commits: Histogram = field(default_factory=Histogram)
    late: dict[str, Histogram] = field(default_factory=dict)
    """For each site: by what its renewals' gaps exceeded the interval."""
    peers: Histogram = field(default_factory=Histogram)
    """A leader's appends until a majority had them on disk."""
    syncs: Histogram = field(default_factory=Histogram)
    """Turns of the engine that wrote, until they were on disk."""
    trips: dict[str, Histogram] = field(default_factory=dict)
    """Of each site, to all witnesses."""
    links: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    """Over the site link, from the first site's agent to the second's and back."""
    election_max_ns: int = 0
    leader_changes: int = 0
    witnesses: list[str] = field(default_factory=list)

    def take(self, witness: str, raw: object) -> None:
        """Adds what one witness says at /v1/timing. Raises BadValue for what none says."""
        if not isinstance(raw, Mapping):
            raise BadValue(f"measured.{witness}", f"{raw!r:.60}", "is not what a witness says", "ask it again")
        self.witnesses.append(witness)
        self.commits.merge(Histogram.from_json(raw.get("commits"), f"{witness}.commits"))
        self.peers.merge(Histogram.from_json(raw.get("peers"), f"{witness}.peers"))
        self.syncs.merge(_told(raw, "syncs", witness))
        self.election_max_ns = max(self.election_max_ns, _number(raw, "election_max_ns"))
        self.leader_changes = max(self.leader_changes, _number(raw, "leader_changes"))
        sites = raw.get("sites")
        if not isinstance(sites, Mapping) or len(sites) > SITES_MAX:
            raise BadValue(f"measured.{witness}.sites", f"{sites!r:.60}", "is not what a witness says", "ask it again")
        for site, said in sites.items():
            self._take_site(witness, str(site), said)

    def _take_site(self, witness: str, site: str, said: object) -> None:
        if not isinstance(said, Mapping):
            raise BadValue(f"measured.{witness}.{site}", f"{said!r:.60}", "is not what a witness says", "ask it again")
        late = Histogram.from_json(said.get("late"), f"{witness}.{site}.late")
        known = self.late.get(site)
        if known is None or late.total > known.total:
            self.late[site] = late  # every witness applies every renewal: the longest account counts, not their sum
        self.trips.setdefault(site, Histogram()).merge(_told(said, "trips", f"{witness}.{site}"))
        links = said.get("links", {})
        if not isinstance(links, Mapping) or len(links) > SITES_MAX:
            raise BadValue(
                f"measured.{witness}.{site}.links", f"{links!r:.60}", "is not what a witness says", "ask again"
            )
        for peer in links:
            link = _told(links, str(peer), f"{witness}.{site}.links")
            before = self.links.get((site, str(peer)))
            if before is None or link.total > before.total:
                self.links[site, str(peer)] = link  # each witness is told of the same ones


def _told(raw: Mapping[str, object], name: str, where: str) -> Histogram:
    """Nothing from a witness of an earlier version."""
    return Histogram.from_json(raw[name], f"{where}.{name}") if name in raw else Histogram()


def merged(several: Iterable[Histogram]) -> Histogram:
    found = Histogram()
    for one in several:
        found.merge(one)
    return found


def _number(raw: Mapping[str, object], name: str) -> int:
    value = raw.get(name)
    if type(value) is not int:
        raise BadValue(f"measured.{name}", f"{value!r:.60}", "is a whole number", "use what a witness says")
    return value


def delays_of(measured: Measurements | None, assumed: Delays = ASSUMED) -> Delays:
    """What the bound is computed with: measured where there is enough of it."""
    if measured is None:
        return assumed
    syncs_ns = SYNCS_A_COMMIT * _bound(measured.syncs, ASSUMED_SYNC_NS)
    return Delays(
        commit_ns=_bound(measured.commits, max(assumed.commit_ns, syncs_ns)),
        round_trip_ns=_bound(merged(measured.trips.values()), assumed.round_trip_ns),
        wake_ns=assumed.wake_ns,
        store_ns=assumed.store_ns,
        election_ns=DurationNs(measured.election_max_ns or assumed.election_ns),
        link_ns=_bound(merged(measured.links.values()), assumed.link_ns),
    )


def _bound(seen: Histogram, assumed_ns: int) -> DurationNs:
    typical = seen.quantile_ns(QUANTILE)
    if typical is None or seen.total < SAMPLES_MIN:
        return DurationNs(max(assumed_ns, seen.longest_ns))
    return DurationNs(max(MARGIN * typical, seen.longest_ns))
