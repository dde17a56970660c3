"""What an operator wants of a group's timing, in two durations and what the sites need.

    takeover=10s silence=2s activation=3s stop=1s kill=200ms drift=1% lock-delay=0s reset=150ms watchdog addresses

`takeover`: from a site's death until the other one is active, at most. `silence`: so long may all witnesses say nothing
without a healthy site being stopped. Everything else has the product's default.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto import limits
from proto.errors import BadValue
from proto.units import PPM

_UNITS_MS = {"ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_RULE = "a wish is made of NAME=DURATION (ms, s or m), drift=PERCENT%, watchdog, addresses"
DURATION_MS_MAX = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Durations in milliseconds. None: no such wish, or the product's default."""

    takeover_ms: int | None = None
    silence_ms: int | None = None
    activation_ms: int = 0
    """The longest that the other site's steps take; a part of the takeover."""
    stop_ms: int | None = None
    """From the end of renewals, a graceful stop and the kill behind it need this long before the deadline."""
    kill_ms: int | None = None
    reset_ms: int | None = None
    """A reset line strikes this long before the deadline."""
    watchdog: bool = False
    addresses: bool = False
    drift_max_ppm: int = limits.DRIFT_MAX_PPM_DEFAULT
    lock_delay_ms: int = 0

    def words(self) -> str:
        """As `parse_wish` reads it."""
        parts = [f"{name}={getattr(self, field)}ms" for name, field in _DURATIONS.items() if getattr(self, field)]
        parts.append(f"drift={self.drift_max_ppm / 10_000:g}%")
        return " ".join(parts + [name for name in _FLAGS if getattr(self, name)])


_DURATIONS = {
    "takeover": "takeover_ms",
    "silence": "silence_ms",
    "activation": "activation_ms",
    "stop": "stop_ms",
    "kill": "kill_ms",
    "reset": "reset_ms",
    "lock-delay": "lock_delay_ms",
}
_FLAGS = ("watchdog", "addresses")


def parse_wish(text: str) -> Wish:
    """Raises BadValue for the first word that is no wish, or one that is said twice."""
    found: dict[str, int] = {}
    for word in text.split():
        name, _, value = word.partition("=")
        field, read = word, 1
        if word in _FLAGS:
            read = True
        elif name == "drift":
            field, read = "drift_max_ppm", _percent(value)
        elif name in _DURATIONS:
            field, read = _DURATIONS[name], _duration(name, value)
        else:
            raise BadValue("wish", word, _RULE, f"names: {', '.join(_DURATIONS)}, drift, watchdog, addresses")
        if field in found:
            raise BadValue("wish", word, f"{name} is said twice", "say it once")
        found[field] = read
    return Wish(**found)  # type: ignore[arg-type]  # each field has its own reader above


def _duration(name: str, value: str) -> int:
    unit = next((unit for unit in ("ms", "s", "m") if value.endswith(unit)), None)
    number = value.removesuffix(unit) if unit else ""
    if unit is None or not number.replace(".", "", 1).isdigit():
        raise BadValue(f"wish.{name}", value, _RULE, f"for example {name}=2s or {name}=500ms")
    read_ms = round(float(number) * _UNITS_MS[unit])
    if read_ms > DURATION_MS_MAX:
        raise BadValue(f"wish.{name}", value, f"at most {DURATION_MS_MAX // 60_000} minutes", "wish for less")
    return read_ms


def _percent(value: str) -> int:
    number = value.removesuffix("%")
    if not value.endswith("%") or not number.replace(".", "", 1).isdigit():
        raise BadValue("wish.drift", value, _RULE, "for example drift=1%")
    ppm = round(float(number) / 100 * PPM)
    low, high = limits.DRIFT_MAX_PPM_MIN, limits.DRIFT_MAX_PPM_MAX
    if not low <= ppm <= high:
        rule = f"must lie between {low / 10_000:g}% and {high / 10_000:g}%"
        raise BadValue("wish.drift", value, rule, "choose one in that range")
    return ppm
