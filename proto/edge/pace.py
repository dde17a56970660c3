"""A token bucket: how long the reader of a connection waits before it takes the next frame.

Rule: who sends too fast is read more slowly, which its own TCP feels; nothing is dropped and nothing piles up here.
"""

from __future__ import annotations

from proto.units import NS_PER_S, InstantNs


class Pace:
    """Of one connection."""

    def __init__(self, frames_per_s: int, burst: int, now: InstantNs) -> None:
        self._rate = frames_per_s
        self._burst = float(burst)
        self._allowance = self._burst
        self._at = now

    def taken(self, now: InstantNs) -> float:
        """Seconds to wait after a frame was taken; 0 while the sender keeps to its rate."""
        gained = (now - self._at) * self._rate / NS_PER_S
        self._at = now
        self._allowance = min(self._allowance + gained, self._burst) - 1
        return max(0.0, -self._allowance / self._rate)
