"""How soon what did not succeed is tried again: sooner at first, and never given up."""

from __future__ import annotations

FENCE_AGAIN_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""A fence that is not proven; the last one for ever."""
SPARE_AGAIN_S = (1.0, 5.0, 30.0)
"""A dormant group's guard that could not be started or died; the last one for ever."""
LACKING_AGAIN_S = (5.0, 10.0, 30.0, 60.0)
"""A dormant group's guard that lacks what is required of its host: it looks when it starts, so another one does."""


def again_s(pauses_s: tuple[float, ...], attempt: int) -> float:
    return pauses_s[min(attempt, len(pauses_s) - 1)]
