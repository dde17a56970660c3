"""How long something took, counted in fixed buckets: bounded memory, mergeable, and honest about what it has not seen.

Four buckets an octave from one microsecond on, so that an edge is at most 19 % above what fell below it; the longest
is kept exactly. What is read from it is an upper bound: a quantile is the edge above, never below, the true one.
Rejected: reservoirs (they forget the one that matters), averages (elections and leases are broken by the worst case).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from proto.errors import BadValue
from proto.units import DurationNs

PER_OCTAVE = 4
BUCKETS_MAX = 31 * PER_OCTAVE
"""The last bucket ends at 2^31 us, 36 minutes; what took longer falls into it."""
_NS_PER_US = 1_000
_RULE = "a histogram as `witnessctl timing --json` writes it"


def edge_ns(bucket: int) -> DurationNs:
    """What falls into `bucket` took at most this."""
    return DurationNs(math.ceil(2 ** ((bucket + 1) / PER_OCTAVE) * _NS_PER_US))


_EDGES = tuple(edge_ns(bucket) for bucket in range(BUCKETS_MAX))


_NEVER_NS = 1 << 63


def _end_ns(bucket: int) -> int:
    """The last bucket has no end."""
    return _EDGES[bucket] if bucket < BUCKETS_MAX - 1 else _NEVER_NS


def bucket_of(duration_ns: int) -> int:
    if duration_ns <= _EDGES[0]:
        return 0
    near = min(int(math.log2(duration_ns / _NS_PER_US) * PER_OCTAVE), BUCKETS_MAX - 1)
    while near and duration_ns <= _EDGES[near - 1]:
        near -= 1
    while near < BUCKETS_MAX - 1 and duration_ns > _EDGES[near]:
        near += 1
    return near


@dataclass(slots=True)
class Histogram:
    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    longest_ns: DurationNs = DurationNs(0)  # noqa: RUF009 - an int under a name

    def add(self, duration_ns: int) -> None:
        """Below zero counts as zero: the clocks of one machine allow it by rounding only."""
        bucket = bucket_of(duration_ns)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.total += 1
        self.longest_ns = DurationNs(max(self.longest_ns, duration_ns))

    def merge(self, other: Histogram) -> None:
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.total += other.total
        self.longest_ns = DurationNs(max(self.longest_ns, other.longest_ns))

    def quantile_ns(self, share: float) -> DurationNs | None:
        """At most this took a `share` (0 to 1) of all; None of nothing."""
        if not self.total:
            return None
        wanted, seen = math.ceil(share * self.total), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return DurationNs(min(_end_ns(bucket), self.longest_ns))
        return self.longest_ns

    def above(self, duration_ns: int) -> int:
        """How many took longer, or may have: a bucket that reaches beyond counts in full."""
        if duration_ns >= self.longest_ns:
            return 0
        return sum(count for bucket, count in self.counts.items() if _end_ns(bucket) > duration_ns)

    def to_json(self) -> dict[str, object]:
        return {
            "total": self.total,
            "longest_ns": self.longest_ns,
            "counts": {str(bucket): count for bucket, count in sorted(self.counts.items())},
        }

    @classmethod
    def from_json(cls, raw: object, name: str) -> Histogram:
        """Raises BadValue for what `to_json` did not write."""
        counts = raw.get("counts") if isinstance(raw, Mapping) else None
        if not isinstance(raw, Mapping) or not isinstance(counts, Mapping):
            raise BadValue(name, f"{raw!r:.60}", _RULE, "use what a witness says")
        read: dict[int, int] = {}
        for key, count in counts.items():
            if not str(key).isdigit() or not 0 <= int(key) < BUCKETS_MAX or type(count) is not int or count < 0:
                raise BadValue(name, f"{key}: {count!r:.40}", _RULE, "use what a witness says")
            read[int(key)] = count
        longest, total = raw.get("longest_ns"), sum(read.values())
        if type(longest) is not int or longest < 0 or raw.get("total") != total:
            raise BadValue(name, f"total {raw.get('total')!r:.40}, longest {longest!r:.40}", _RULE, "use what it says")
        return cls(read, total, DurationNs(longest))
