"""Where what happens drifts from what was assumed: each warning names both numbers and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto.histogram import Histogram
from proto.takeover import Delays
from proto.units import NS_PER_MS
from witness.timing.measurements import Measurements
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
