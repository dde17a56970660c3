"""Where what happens drifts from what was assumed: each warning names both numbers and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto.histogram import Histogram
from proto.takeover import Delays
from proto.units import NS_PER_MS
from witness.timing.measurements import ASSUMED_SYNC_NS, Measurements
from witness.timing.timers import Timers

QUANTILE = 0.99


@dataclass(frozen=True, slots=True)
class Warned:
    name: str
    assumed: float
    measured: float
    unit: str
    remedy: str

    def words(self) -> str:
        numbers = f"assumed {self.assumed:g} {self.unit}, measured {self.measured:g} {self.unit}"
        return f"{self.name}: {numbers}; {self.remedy}"


def warnings(measured: Measurements, assumed: Delays, timers: Timers) -> Iterator[Warned]:
    yield from _slower("commit (p99)", measured.commits, assumed.commit_ns, "a disk or the network between witnesses")
    yield from _slower("journal sync (p99)", measured.syncs, ASSUMED_SYNC_NS, "a witness's disk, or its processor,")
    for site, trips in sorted(measured.trips.items()):
        yield from _slower(f"{site}: round trip (p99)", trips, assumed.round_trip_ns, "the network to the witnesses")
    for (site, peer), link in sorted(measured.links.items()):
        usual_ns = link.quantile_ns(QUANTILE)
        if usual_ns is not None and usual_ns > assumed.link_ns:
            remedy = (
                "rounds of holds, and streams through the other site, are slower than assumed: look at the site link"
            )
            name = f"{site} to {peer}: site link (p99)"
            yield Warned(name, assumed.link_ns / NS_PER_MS, round(usual_ns / NS_PER_MS, 3), "ms", remedy)
    if measured.election_max_ns > assumed.election_ns:
        yield Warned(
            "election timeout",
            assumed.election_ns / NS_PER_MS,
            measured.election_max_ns / NS_PER_MS,
            "ms",
            "slow round trips stretched it (or another profile is configured): see raft.timers",
        )
    for site, late in sorted(measured.late.items()):
        usual = late.quantile_ns(QUANTILE)
        if usual is not None and usual > timers.renew_ms * NS_PER_MS:
            remedy = "one in a hundred renewals is missed: is its host or its network overloaded?"
            yield Warned(f"{site}: lateness (p99)", timers.renew_ms, round(usual / NS_PER_MS, 1), "ms", remedy)


def _slower(name: str, seen: Histogram, assumed_ns: int, what: str) -> Iterator[Warned]:
    usual = seen.quantile_ns(QUANTILE)
    if usual is not None and usual > assumed_ns:
        remedy = f"takeover_max does not hold with the assumption: {what} is slow"
        yield Warned(name, assumed_ns / NS_PER_MS, round(usual / NS_PER_MS, 3), "ms", remedy)
