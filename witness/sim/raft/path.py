"""One direction of the way between two machines, and how what travels on it fares.

Rule: a frame is judged when it leaves: how late, lost, doubled, overtaken. Several faults may lie on one way at once;
each takes back only what is its own. Without faults it is a calm local network that keeps the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proto.units import NS_PER_MS, NS_PER_S

CALM_NS_MIN = NS_PER_MS // 10
CALM_NS_MAX = NS_PER_MS
STALE_KEPT = 48
"""Frames of the past that may be put into a later connection."""


@dataclass(frozen=True, slots=True)
class Weather:
    """A mood of one way, from 0 (never) to 1 (always)."""

    loss: float = 0.0
    double: float = 0.0
    overtake: float = 0.0
    """Frames that go their own way, so that later ones may come first."""
    slow: float = 0.0
    """Frames that take up to `slow_ns` longer, and hold up those behind them."""
    slow_ns: int = 0
    stale: float = 0.0
    """Frames in whose company an old one comes along, of this connection or of one before."""
    bytes_per_s: int = 0
    """0: no limit."""


CALM = Weather()


@dataclass(slots=True)
class Path:
    """From one machine to another."""

    weather: Weather = CALM
    delay_ns_min: int = CALM_NS_MIN
    delay_ns_max: int = CALM_NS_MAX
    cuts: list[str] = field(default_factory=list)
    """Kinds of the faults that hold it cut; nothing passes until all are gone."""
    free_ns: int = 0
    past: list[tuple[int, bytes]] = field(default_factory=list)
    """Connection number and frame: some of all that ever went this way, old ones as likely as new ones."""

    def transmitted_ns(self, size: int, now_ns: int) -> int:
        """When the last byte has left, behind all that left before."""
        if not self.weather.bytes_per_s:
            return now_ns
        self.free_ns = max(self.free_ns, now_ns) + size * NS_PER_S // self.weather.bytes_per_s
        return self.free_ns
