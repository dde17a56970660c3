"""Do this host's clocks still agree? Looked at on every input of an agent's and of a member's core.

Rule (DESIGN section 3; proto/clock.py has the allowance): they are compared with a base reading that follows some ten
seconds behind, so that the fixed slack does not add up over months and a drift within its bound is never taken for a
disagreement. Who finds one begins anew from the present reading: nothing that was counted before it is used again.
"""

from __future__ import annotations

from proto.clock import ClockReading, clock_disagreement
from proto.units import NS_PER_S

BASE_NS = 10 * NS_PER_S


class ClockWatch:
    """Owned by one core."""

    def __init__(self, started: ClockReading) -> None:
        self._base = started
        self.last = started
        """The newest reading."""

    def look(self, now: ClockReading, drift_max_ppm: int) -> str:
        """'' or in words which clocks disagree since the base."""
        trouble = clock_disagreement(self._base, now, drift_max_ppm)
        if trouble is None and now.boottime_ns - self._base.boottime_ns > BASE_NS:
            self._base = self.last
        self.last = now
        return "" if trouble is None else f"the clocks disagree: {trouble}"

    def begin_anew(self, now: ClockReading) -> None:
        """What was counted until now is void, for whichever reason."""
        self._base = now
