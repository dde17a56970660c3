"""Which measurements are judged against their own history, and what is said of them in plain words.

Every witness learns, from what it applies and measures, so that a new leader knows what is usual; the one that leads
has a change noted (NoteUnusual). Judged, once a period: the replication lag of each site that is not active, how late
each active site's renewals come, how long this witness's entries take to be committed. SERIES_MAX series, those beyond
are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proto.commands import NoteUnusual
from proto.histogram import Histogram
from proto.messages import LAG_UNKNOWN_MS
from proto.units import NS_PER_MS, GroupId, SiteId
from witness.core.measures import Measures
from witness.core.notify.usual import Level, Usual
from witness.core.state import GroupState

PERIOD_S: Final = 30
SERIES_MAX: Final = 2_000
_MOST: Final = 0.9
"""Of a period's renewals and commits the value that nine of ten stay below."""


class What(Enum):
    LAG = "lag"
    LATE = "late"
    COMMIT = "commit"


FLOOR_MS: Final = {What.LAG: 2_000, What.LATE: 300, What.COMMIT: 100}
"""Nobody is woken for less, however steady it was before."""
WORDS: Final = {
    What.LAG: "the replication lag",
    What.LATE: "how late its renewals come",
    What.COMMIT: "how long a commit takes",
}


@dataclass(frozen=True, slots=True)
class Sample:
    what: What
    group: GroupId | None
    site: SiteId | None
    value_ms: int

    @property
    def series(self) -> str:
        return "/".join(str(part) for part in (self.what.value, self.group, self.site) if part)


def lag_samples(name: GroupId, group: GroupState) -> Iterator[Sample]:
    for site, record in group.sites.items():
        if not _active(group, site) and record.report is not None and record.lag_ms != LAG_UNKNOWN_MS:
            yield Sample(What.LAG, name, site, record.lag_ms)


class Watch:
    def __init__(self) -> None:
        self._series: dict[str, Usual] = {}
        self._counted: dict[str, Histogram] = {}
        """What the histograms of this process had counted a period ago."""

    def measured(self, measures: Measures) -> list[Sample]:
        """Of the renewals and commits since the last call."""
        found = [Sample(What.LATE, None, site, value) for site, value in self._late(measures)]
        commits = self._since("commit", measures.commits)
        return found if commits is None else [*found, Sample(What.COMMIT, None, None, commits)]

    def _late(self, measures: Measures) -> Iterator[tuple[SiteId, int]]:
        for site, one in measures.sites.items():
            value = self._since(f"late/{site}", one.late)
            if value is not None:
                yield site, value

    def _since(self, name: str, seen: Histogram) -> int | None:
        """In ms; None when nothing was counted since."""
        before = self._counted.get(name) or Histogram()
        self._counted[name] = Histogram(dict(seen.counts), seen.total, seen.longest_ns)
        counts = {bucket: count - before.counts.get(bucket, 0) for bucket, count in seen.counts.items()}
        total = seen.total - before.total
        value_ns = Histogram(counts, total, seen.longest_ns).quantile_ns(_MOST) if total > 0 else None
        return None if value_ns is None else value_ns // NS_PER_MS

    def judge(self, sample: Sample, noted: frozenset[str] | set[str]) -> NoteUnusual | None:
        """Takes the sample in. The command that is due when the verdict is not the one that is `noted`."""
        series = sample.series
        usual = self._series.get(series)
        if usual is None:
            if len(self._series) >= SERIES_MAX:
                return None
            usual = self._series[series] = Usual(FLOOR_MS[sample.what], unusual=series in noted)
        level = usual.add(sample.value_ms)
        if level is None or usual.unusual is (series in noted):
            return None
        text = _words(sample, level, over=not usual.unusual)
        return NoteUnusual(series, sample.group, sample.site, not usual.unusual, text)


def left_behind(noted: Iterable[str], groups: Mapping[GroupId, GroupState]) -> list[NoteUnusual]:
    """Lag that is measured no more: its group or site is gone, or the site is active now."""
    found: list[NoteUnusual] = []
    for series in sorted(noted):
        what, _, rest = series.partition("/")
        name, _, place = rest.partition("/")
        group, site = groups.get(GroupId(name)), SiteId(place)
        if what != What.LAG.value or (group is not None and site in group.sites and not _active(group, site)):
            continue
        text = f"{WORDS[What.LAG]} is not measured any more: the site is active, or gone"
        found.append(NoteUnusual(series, GroupId(name), site, True, text))
    return found


def _active(group: GroupState, site: SiteId) -> bool:
    return group.lease is not None and group.lease.site == site


def _words(sample: Sample, level: Level, *, over: bool) -> str:
    now = f"{WORDS[sample.what]} is {_seconds(sample.value_ms)}"
    usual = f"usually {_seconds(level.median)}, mostly below {_seconds(level.mostly_below)}"
    return f"{now}: as usual again ({usual})" if over else f"{now}, for {3 * PERIOD_S} s at least ({usual})"


def _seconds(value_ms: int) -> str:
    return f"{value_ms} ms" if value_ms < 1_000 else f"{value_ms / 1_000:.1f} s"
