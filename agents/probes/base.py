"""(1) What a probe is: one bounded look at one thing, without retries inside.

Rule: `look()` never raises for what it finds and returns within its timeout; whether one bad look means anything
is decided by agents/core/health.py, how often to look by schedule.py. A look that hangs is a failed look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ProbeResult:
    passed: bool
    detail: str = ""
    """Why it failed, without figures that change from look to look."""
    value_ms: int | None = None
    """What a lag probe measured."""


class Probe(Protocol):
    async def look(self) -> ProbeResult: ...

    async def close(self) -> None:
        """Gives back what the probe holds between looks; `look()` is not called again."""
