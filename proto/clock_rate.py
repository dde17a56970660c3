"""How fast a clock runs beside another one, as bounds, and what a lease's drift bound says of them.

Rule: a witness that counts D on its clock gives the holder its whole ttl exactly while the holder's clock runs at
(1-r)/(1+r) of the witness's, or faster (proto/lease.py: ttl / holder's rate <= D / witness's rate). The same the other
way round: promises and lock delays are counted by whoever is fast. So a clock is *too slow* when even its upper bound
lies below (1-r)/(1+r), *too fast* when even its lower bound lies above (1+r)/(1-r), *fit* when the bounds lie within,
and nothing is known of it otherwise. Two clocks within r of true time are never too slow nor too fast for each other.

Rates are in millionths of the other clock's rate, lower bounds rounded down and upper ones up.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from proto.units import PPM

RATE_PPM_MAX = 1_000_000 * PPM
"""What is faster is told as this."""


class ClockState(Enum):
    """What bounds of a clock's rate say of it, for one drift bound."""

    FIT = "fit"
    TOO_SLOW = "too-slow"
    TOO_FAST = "too-fast"


class RateBounds(NamedTuple):
    """The clock ran at a rate between the two, in millionths of the measuring one's."""

    at_least_ppm: int
    at_most_ppm: int

    @property
    def sound(self) -> bool:
        """Whether anybody can have measured them."""
        return 0 <= self.at_least_ppm <= self.at_most_ppm <= RATE_PPM_MAX


def clock_state(bounds: RateBounds, drift_max_ppm: int) -> ClockState | None:
    """None while the bounds allow both."""
    slow, fast = PPM - drift_max_ppm, PPM + drift_max_ppm
    if bounds.at_most_ppm * fast < PPM * slow:
        return ClockState.TOO_SLOW
    if bounds.at_least_ppm * slow > PPM * fast:
        return ClockState.TOO_FAST
    within = bounds.at_least_ppm * fast >= PPM * slow and bounds.at_most_ppm * slow <= PPM * fast
    return ClockState.FIT if within else None


def clock_words(state: ClockState, rate_ppm: int, drift_max_ppm: int) -> str:
    """Both numbers: the measured bound, and what the drift bound asks for."""
    slow, fast = PPM - drift_max_ppm, PPM + drift_max_ppm
    share = f"drift_max {drift_max_ppm / 10_000:g} %"
    if state is ClockState.TOO_SLOW:
        return f"its clock runs at {rate_ppm / PPM:.6f} of the witnesses' at most, {share} asks for {slow / fast:.6f}"
    if state is ClockState.TOO_FAST:
        return f"its clock runs at {rate_ppm / PPM:.6f} of the witnesses' at least, {share} allows {fast / slow:.6f}"
    return f"its clock runs as {share} asks"
