"""What Prometheus sees of a witness. Counted where it happens; looked up from the status when it is scraped.

Labels are bounded: sites and groups by the configuration, everything else by an enum. Time since the last heartbeat
is per site over all its groups, so that ten thousand groups do not become ten thousand series.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from proto.clock_rate import RateBounds
from proto.decisions import Reason
from proto.units import PPM, SiteId

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0, 10.0)


class Looks(Protocol):
    """Where the looked-up values come from; each call is one scrape's view."""

    def summary(self) -> dict[str, Any]: ...
    def sites(self) -> dict[SiteId, SiteLook]: ...
    def consensus(self) -> dict[str, float]:
        """Numbers of the engine: term, commit_index, applied_index and its counters."""

    def streams(self) -> dict[SiteId, float]:
        """Open streams: seconds since the last frame of each site's agent."""


@dataclass(slots=True)
class SiteLook:
    """One site over all its groups."""

    heard_s: float | None = None
    """Since its newest heartbeat was applied here; None before the first."""
    quarantined: int = 0
    """Groups that bar it."""
    clock_unfit: int = 0
    """Groups whose drift bound its clock does not keep."""
    clock: RateBounds | None = None
    """The rate of its clock, as this witness measured it; None until it has."""


class Telemetry:
    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types there
        self.registry = CollectorRegistry()
        self.answers = Histogram(
            "thirdsite_answer_seconds",
            "From a request's arrival to its committed outcome.",
            ("kind",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.outcomes = _counter(self, "thirdsite_outcomes", "Outcomes of requests.", ("kind", "reason"))
        self.heartbeats = _counter(self, "thirdsite_heartbeats", "Heartbeats received.", ("site",))
        self.group_heartbeats = _counter(
            self, "thirdsite_group_heartbeats", "Heartbeats received, one for each group in them.", ("site",)
        )
        self.dropped = _counter(self, "thirdsite_frames_dropped", "Frames not taken.", ("why",))
        self.refused = _counter(self, "thirdsite_streams_refused", "Streams closed with Goodbye.", ("code",))
        self.requests = _counter(self, "thirdsite_http_requests", "Answers to operators.", ("status",))
        self.certificate = Gauge(
            "thirdsite_certificate_not_after_seconds",
            "When this witness's own certificate ends, in seconds since 1970.",
            registry=self.registry,
        )
        self.events = _counter(self, "thirdsite_events", "Ledger events recorded.", ("kind",))

    def answered(self, kind: str, reason: Reason, seconds: float) -> None:
        self.answers.labels(kind).observe(seconds)
        self.outcomes.labels(kind, reason.value).inc()

    def watch(self, looks: Looks) -> None:
        """Adds what is looked up at each scrape; once per process."""
        self.registry.register(_Looked(looks))

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _counter(telemetry: Telemetry, name: str, text: str, labels: Iterable[str]) -> Counter:
    return Counter(name, text, tuple(labels), registry=telemetry.registry)


class _Looked:
    """A prometheus_client collector."""

    def __init__(self, looks: Looks) -> None:
        self._looks = looks

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not look before the witness runs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        seen = self._looks.summary()
        yield _flag("thirdsite_leader", "1 when this witness leads.", seen["leading"])
        yield _flag("thirdsite_quorum", "1 when this witness reaches a majority.", seen["has_quorum"])
        yield _flag("thirdsite_caught_up", "1 when everything known to be committed is applied.", seen["caught_up"])
        phases, modes = seen["groups_by_phase"], seen["groups_by_mode"]
        yield _labelled("thirdsite_groups", "Groups by the phase of their lease.", "phase", phases)
        yield _labelled("thirdsite_groups_in_mode", "Groups by mode.", "mode", modes)
        sites = self._looks.sites()
        heard = {site: look.heard_s for site, look in sites.items() if look.heard_s is not None}
        yield _labelled("thirdsite_heard_seconds", "Since a heartbeat of the site was applied here.", "site", heard)
        barred = {site: look.quarantined for site, look in sites.items()}
        yield _labelled("thirdsite_quarantined_groups", "Groups that bar the site.", "site", barred)
        yield from _clocks(sites)
        streams = self._looks.streams()
        yield GaugeMetricFamily("thirdsite_streams", "Agents' streams open here.", value=len(streams))
        silent = "Since the last frame of a site's stream here."
        yield _labelled("thirdsite_stream_silent_seconds", silent, "site", streams)
        for name, value in self._looks.consensus().items():
            yield GaugeMetricFamily(f"thirdsite_raft_{name}", f"The engine's {name}.", value=value)
        yield from _process()


def _clocks(sites: Mapping[SiteId, SiteLook]) -> Iterator[Metric]:
    unfit = {site: look.clock_unfit for site, look in sites.items()}
    yield _labelled("thirdsite_clock_unfit_groups", "Groups whose drift_max the site's clock breaks.", "site", unfit)
    known = {site: look.clock for site, look in sites.items() if look.clock is not None}
    lower = {site: bounds.at_least_ppm / PPM for site, bounds in known.items()}
    upper = {site: bounds.at_most_ppm / PPM for site, bounds in known.items()}
    says = "The rate of the site's clock beside this witness's, in the last minute or so: {} bound."
    yield _labelled("thirdsite_clock_rate_at_least", says.format("lower"), "site", lower)
    yield _labelled("thirdsite_clock_rate_at_most", says.format("upper"), "site", upper)


def _flag(name: str, text: str, value: object) -> Metric:
    return GaugeMetricFamily(name, text, value=1.0 if value else 0.0)


def _labelled(name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key in sorted(values):
        family.add_metric((key,), values[key])
    return family


def _process() -> Iterator[Metric]:
    yield GaugeMetricFamily("process_resident_memory_bytes", "Resident memory.", value=resident_bytes())
    times = os.times()
    yield CounterMetricFamily("process_cpu_seconds", "User and system time.", value=times.user + times.system)


def resident_bytes(read: Callable[[], str] = lambda: Path("/proc/self/statm").read_text(encoding="ascii")) -> int:
    return int(read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
