"""The only room that may name the machine's clocks (STYLE rule 3).

Leases are counted on CLOCK_BOOTTIME because it goes on in suspend. MONOTONIC_RAW (no slewing) and the wall clock
are read beside it: authority is gone when either of the first two says so, and when the three disagree by more
than `clock_allowance` nobody may rely on any of them (DESIGN section 3; docs/adr/0003-lease-clock.md).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from proto.invariants import require
from proto.units import NS_PER_MS, PPM, InstantNs, WallMs

CLOCK_SLACK_NS = 200 * NS_PER_MS
"""Steps below this are daily business of NTP; a frozen guest that lost more is noticed."""


class ClockReading(NamedTuple):
    boottime_ns: InstantNs
    monotonic_raw_ns: int
    wall_ns: int

    @property
    def wall_ms(self) -> WallMs:
        return WallMs(self.wall_ns // NS_PER_MS)


class Clock(Protocol):
    def read(self) -> ClockReading: ...

    def now(self) -> InstantNs:
        """The lease clock alone."""


class SystemClock:
    """The machine's clocks. A BOOTTIME that goes backwards is a broken machine: InvariantViolation."""

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> InstantNs:
        value = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        require(value >= self._last, f"CLOCK_BOOTTIME went back from {self._last} to {value}")
        self._last = value
        return InstantNs(value)

    def read(self) -> ClockReading:
        return ClockReading(self.now(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.time_ns())


@dataclass(slots=True)
class ManualClock:
    """The in-memory body: moves only when told to."""

    boottime_ns: int = 1_000 * NS_PER_MS
    monotonic_raw_ns: int = 1_000 * NS_PER_MS
    wall_ns: int = 1_700_000_000_000 * NS_PER_MS

    def now(self) -> InstantNs:
        return InstantNs(self.boottime_ns)

    def read(self) -> ClockReading:
        return ClockReading(InstantNs(self.boottime_ns), self.monotonic_raw_ns, self.wall_ns)

    def advance(self, duration_ns: int) -> None:
        require(duration_ns >= 0, f"a clock cannot be moved by {duration_ns} ns")
        self.boottime_ns += duration_ns
        self.monotonic_raw_ns += duration_ns
        self.wall_ns += duration_ns


def clock_allowance(elapsed_ns: int, drift_max_ppm: int) -> int:
    """How far two sound clocks may be apart after `elapsed_ns`: both drift, in opposite directions."""
    return CLOCK_SLACK_NS + 2 * elapsed_ns * drift_max_ppm // PPM


def clock_disagreement(since: ClockReading, now: ClockReading, drift_max_ppm: int) -> str | None:
    """Says in words which clocks disagree about the time since `since`, or None when all agree."""
    boot = now.boottime_ns - since.boottime_ns
    raw = now.monotonic_raw_ns - since.monotonic_raw_ns
    wall = now.wall_ns - since.wall_ns
    allowed = clock_allowance(max(boot, raw), drift_max_ppm)
    for name, other in (("MONOTONIC_RAW", raw), ("the wall clock", wall)):
        apart = other - boot
        if abs(apart) > allowed:
            return (
                f"{name} moved {other / 1e9:.3f} s while BOOTTIME moved {boot / 1e9:.3f} s: "
                f"{abs(apart) / 1e9:.3f} s apart, {allowed / 1e9:.3f} s allowed"
            )
    return None
