"""What logs and Prometheus see of an agent. Counted where it happens; looked up from the status when scraped.

Labels are bounded: groups and witnesses by the configuration, everything else by an enum.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from agents.core.effects import Effect, ExtendDeadline, Fence, Send, StartPlan, Tell
from proto.clock import Clock
from proto.edge.logs import get_logger
from proto.health import SiteState

WORDS_KEPT = 50
"""Last lines that the core told, for `site-agent status`."""
_GAUGES = (
    ("active", "1 while the site is active with authority.", "active"),
    ("epoch", "The epoch that is held, 0 when none.", "epoch"),
    ("remaining_seconds", "What is left of the authority.", "remaining_ms"),
    ("ready", "1 while the readiness probes pass.", "ready"),
    ("healthy", "1 while the service probes pass.", "healthy"),
)


class Telemetry:
    """Owned by the supervisor; `told` is part of the driver's shell."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.words: deque[dict[str, object]] = deque(maxlen=WORDS_KEPT)
        self._clock = clock
        self._log = get_logger("agents.core")
        self._sent = self._counter("thirdsite_agent_messages", "Sent to witnesses.", ("witness", "kind", "via"))
        self._plans = self._counter("thirdsite_agent_plans", "Plans started.", ("group", "kind"))
        self._fences = self._counter("thirdsite_agent_fences", "Fences begun.", ("group",))
        self._renewals = self._counter("thirdsite_agent_renewals", "Deadlines that were extended.", ("group",))
        self.certificate = Gauge(
            "thirdsite_agent_certificate_not_after_seconds",
            "When this process's own certificate ends, in seconds since 1970.",
            registry=self.registry,
        )
        self._alarms = self._counter("thirdsite_agent_alarms", "Lines that somebody should look at.", ())

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def told(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._sent.labels(effect.witness, type(effect.message).__name__.lower(), effect.via or "").inc()
        elif isinstance(effect, StartPlan):
            self._plans.labels(effect.group, effect.kind.value).inc()
        elif isinstance(effect, Fence):
            self._fences.labels(effect.group).inc()
        elif isinstance(effect, ExtendDeadline):
            self._renewals.labels(effect.group).inc()
        elif isinstance(effect, Tell):
            self._tell(effect)

    def _tell(self, effect: Tell) -> None:
        self.words.append(
            {
                "wall_ms": self._clock.read().wall_ms,
                "group": effect.group,
                "text": effect.text,
                "alarm": effect.alarm,
            }
        )
        if effect.alarm:
            self._alarms.inc()
            self._log.error("alarm", group=effect.group, text=effect.text)
        else:
            self._log.info("told", group=effect.group, text=effect.text)

    def watch(self, status: Callable[[], dict[str, Any]]) -> None:
        """Once; from then on each scrape looks."""
        self.registry.register(_Collector(status))

    def metrics(self) -> tuple[bytes, str]:
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Collector:
    def __init__(self, status: Callable[[], dict[str, Any]]) -> None:
        self._status = status

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        view = self._status()
        for name, text, field in _GAUGES:
            gauge = GaugeMetricFamily(f"thirdsite_agent_group_{name}", text, labels=("group",))
            for group in view["groups"]:
                value = float(group[field])
                gauge.add_metric([group["group"]], value / 1_000 if field == "remaining_ms" else value)
            yield gauge
        state = GaugeMetricFamily("thirdsite_agent_group_state", "1 for the state it is in.", labels=("group", "state"))
        for group in view["groups"]:
            for one in SiteState:
                state.add_metric([group["group"], one.value], float(group["state"] == one.value))
        yield state
        opened = GaugeMetricFamily("thirdsite_agent_stream_open", "1 while the stream is open.", labels=("witness",))
        for stream in view["streams"]:
            opened.add_metric([stream["witness"]], float(stream["connected"]))
        yield opened
        yield from _ways(view)
        yield from _holds([group for group in view["groups"] if "holds" in group])
        yield GaugeMetricFamily("thirdsite_agent_resident_bytes", "Resident memory.", value=resident_bytes())


def _ways(view: dict[str, Any]) -> Iterator[Metric]:
    """How the witnesses are reached, and the other sites' agents."""
    via = GaugeMetricFamily(
        "thirdsite_agent_answers_relayed", "1 for the site that carries this one's renewals.", labels=("site",)
    )
    carrier = view.get("relay", {}).get("answered_via")
    if carrier is not None:
        via.add_metric([carrier], 1.0)
    yield via
    link = view.get("site_link")
    if link is None:
        return
    connected = GaugeMetricFamily("thirdsite_agent_site_link_open", "1 while the peer is connected.", labels=("site",))
    carried = GaugeMetricFamily("thirdsite_agent_relays_carried", "Streams carried for the peer.", labels=("site",))
    for peer in link["peers"]:
        connected.add_metric([peer["site"]], float(peer["connected"]))
        carried.add_metric([peer["site"]], float(len(peer["carried"])))
    yield connected
    yield carried


def _holds(groups: list[dict[str, Any]]) -> Iterator[Metric]:
    """Who lives on holds, and who promised."""
    on = GaugeMetricFamily("thirdsite_agent_group_on_holds", "1 while it lives on holds.", labels=("group",))
    waits = GaugeMetricFamily(
        "thirdsite_agent_group_promise_seconds", "For how long the site begins nothing.", labels=("group",)
    )
    for group in groups:
        on.add_metric([group["group"]], float(group["holds"]["on"]))
        waits.add_metric([group["group"]], group["holds"]["claims_in_ms"] / 1_000)
    yield on
    yield waits


def resident_bytes() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
