"""How long to wait before a stream is opened again: at once the first time, then doubling, never much.

A holder of a lease needs its witnesses back within a renewal or two, so the cap is a second; a witness that sent
the agent away for a reason that a retry does not change is asked less often. Jitter keeps the agents of a site
from calling a returning witness all in one moment.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.05
MAX_S = 1.0
REFUSED_S = 5.0


class Backoff:
    def __init__(self, jitter: Callable[[], float]) -> None:
        """`jitter` gives numbers in [0, 1)."""
        self._jitter = jitter
        self._failures = 0

    def succeeded(self) -> None:
        self._failures = 0

    def next_s(self, *, refused: bool = False) -> float:
        """Between half and all of the doubled time."""
        whole = REFUSED_S if refused else min(MAX_S, FIRST_S * 2 ** min(self._failures, 10))
        self._failures += 1
        return whole * (0.5 + self._jitter() / 2)
