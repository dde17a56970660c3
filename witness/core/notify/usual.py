"""A series of measurements judged against its own history: what is unusual here, without anybody setting a threshold.

Rule: one value a period. It is *high* when it lies above the median of the last HISTORY values by more than the band:
six times their spread (the median of the distances to the median, scaled to a standard deviation), half the median, or
the floor of its kind, whichever is largest. IN_A_ROW high values make it unusual; as many below half the band make it
usual again; what lies between changes nothing. Nothing is said before LEARN_MIN values. Unusual values go into the
history too, so a new level is the usual one after half of it, an hour: that is said as well.

Median and spread because one outlier, or ten, do not move them; a mean is moved by what it should find. Bounded:
HISTORY numbers a series. Rejected: thresholds (nobody knows a sensible one beforehand), seasons and forecasts (a
nightly backup that doubles the lag is told each night; quiet hours are for that).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Final

HISTORY: Final = 240
"""Values: two hours at one in 30 s."""
LEARN_MIN: Final = 20
IN_A_ROW: Final = 3
SPREADS: Final = 6
_SCALE: Final = 1.4826
"""From the median of distances to the standard deviation of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Level:
    """What is usual, in the unit of the values."""

    median: int
    mostly_below: int
    """Four of five values lie below."""
    band: float

    def high(self, value: int) -> bool:
        return value > self.median + self.band

    def low(self, value: int) -> bool:
        return value <= self.median + self.band / 2


@dataclass(slots=True)
class Usual:
    floor: int
    """What lies less than this above the median is never unusual."""
    unusual: bool = False
    _values: array[int] = field(default_factory=lambda: array("q"))
    _next: int = 0
    _row: int = 0
    """Values in a row that speak against the present verdict."""

    def add(self, value: int) -> Level | None:
        """Takes one value in. The level that it was judged by; None while that is being learnt."""
        level = self._level()
        if level is not None:
            against = level.low(value) if self.unusual else level.high(value)
            self._row = self._row + 1 if against else 0
            if self._row >= IN_A_ROW:
                self.unusual, self._row = not self.unusual, 0
        if len(self._values) < HISTORY:
            self._values.append(value)
        else:
            self._values[self._next] = value
            self._next = (self._next + 1) % HISTORY
        return level

    def _level(self) -> Level | None:
        if len(self._values) < LEARN_MIN:
            return None
        ordered = sorted(self._values)
        median = ordered[len(ordered) // 2]
        distances = sorted(abs(value - median) for value in ordered)
        spread = distances[len(distances) // 2] * _SCALE
        band = max(SPREADS * spread, median / 2, self.floor)
        return Level(median, ordered[len(ordered) * 4 // 5], band)
