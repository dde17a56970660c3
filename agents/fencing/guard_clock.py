"""The guard's own reading of the clocks, a small twin of proto.clock.

Rule (DESIGN section 3): the deadline counts on BOOTTIME and, as elapsed time since arming, on MONOTONIC_RAW;
clocks that moved apart by more than slack plus twice the drift end the authority.
proto.clock is not imported because it costs a guard megabytes (typing, dataclasses, re); a test proves that both
give the same verdicts.
"""

from __future__ import annotations

import time

CLOCK_SLACK_NS = 200_000_000
DRIFT_MAX_PPM = 10_000
_PPM = 1_000_000


class Clocks:
    """One reading of the three clocks, in nanoseconds."""

    __slots__ = ("boot_ns", "raw_ns", "wall_ns")

    def __init__(self, boot_ns: int, raw_ns: int, wall_ns: int) -> None:
        self.boot_ns = boot_ns
        self.raw_ns = raw_ns
        self.wall_ns = wall_ns


def read_clocks() -> Clocks:
    return Clocks(boottime_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), time.time_ns())


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def disagreement(since: Clocks, now: Clocks) -> str | None:
    """Says in words which clocks disagree about the time since `since`, or None."""
    boot = now.boot_ns - since.boot_ns
    raw = now.raw_ns - since.raw_ns
    allowed = CLOCK_SLACK_NS + 2 * max(boot, raw) * DRIFT_MAX_PPM // _PPM
    for name, other in (("MONOTONIC_RAW", raw), ("the wall clock", now.wall_ns - since.wall_ns)):
        apart = abs(other - boot)
        if apart > allowed:
            return (
                f"{name} moved {other // 1_000_000} ms while BOOTTIME moved {boot // 1_000_000} ms "
                f"({allowed // 1_000_000} ms apart are allowed)"
            )
    return None
