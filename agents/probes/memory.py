"""The in-memory body of a probe: says what it was told to say, and can hang."""

from __future__ import annotations

import asyncio

from agents.probes.base import ProbeResult


class MemoryProbe:
    def __init__(self, result: ProbeResult | None = None) -> None:
        self.result = result or ProbeResult(passed=True)
        self.looks = 0
        self.closed = False
        self.answering = asyncio.Event()
        self.answering.set()
        """Cleared: looks hang, also against cancellation, until it is set."""

    async def look(self) -> ProbeResult:
        self.looks += 1
        while not self.answering.is_set():
            try:
                await self.answering.wait()
            except asyncio.CancelledError:
                if self.closed:
                    raise
        return self.result

    async def close(self) -> None:
        self.closed = True
