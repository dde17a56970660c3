"""(11) A license server may keep the session of what did not end in order: for so long nothing may begin anywhere.

Rule: the lock delay counts on BOOTTIME and on MONOTONIC_RAW, because which clock is right when they part nobody knows.
Where the witnesses hold a lease, their own wait or a late release covers it; this is for what they know nothing of.
"""

from __future__ import annotations

from agents.core.promise import raw_wake
from proto.clock import ClockReading
from proto.lease import LeaseConstants, lock_delay_wait
from proto.units import InstantNs


class LockDelay:
    """One wait at a time."""

    def __init__(self) -> None:
        self._until: tuple[InstantNs, int] | None = None

    def begin(self, constants: LeaseConstants, now: ClockReading) -> int:
        """How long it takes, in nanoseconds; with a lock delay of 0 nothing is waited for."""
        delay_ns = lock_delay_wait(constants)
        self._until = (InstantNs(now.boottime_ns + delay_ns), now.monotonic_raw_ns + delay_ns) if delay_ns else None
        return delay_ns

    @property
    def begun(self) -> bool:
        """And nobody has seen its end yet."""
        return self._until is not None

    def passed(self, now: ClockReading) -> bool:
        if self._until is None:
            return True
        wake_at = raw_wake(*self._until, now)
        self._until = (wake_at, self._until[1]) if now.boottime_ns < wake_at else None
        return self._until is None

    def left_ns(self, now: ClockReading) -> int:
        """By the clock that says more; 0 when nothing is waited for."""
        return 0 if self._until is None else max(0, raw_wake(*self._until, now) - now.boottime_ns)

    def forget(self) -> None:
        self._until = None

    @property
    def wake_at(self) -> InstantNs | None:
        return None if self._until is None else self._until[0]
