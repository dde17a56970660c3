"""Bytes from one connection to another and back, until either ends: both ends of a relay's tunnel.

Rule: nothing is looked at, and nothing is kept beyond the two buffers: a side that does not take its bytes stops the
other from being read. A tunnel through which nothing goes for IDLE_S has ended; agents ping every second.
"""

from __future__ import annotations

import asyncio
import contextlib

from agents.site_link.wire import ENDS, Wire

CHUNK_BYTES = 64 * 1024
IDLE_S = 10.0
LOOK_S = 1.0


class Shovel:
    """Owned by one tunnel; closes both connections at its end."""

    def __init__(self, one: Wire, other: Wire) -> None:
        self._ends = (one, other)
        self.bytes_carried = 0
        self._moved = False

    async def run(self) -> None:
        """Returns when either end is closed or nothing moves any more. Cancel it to end it sooner."""
        one, other = self._ends
        work = [
            asyncio.create_task(self._way(one, other), name="tunnel out"),
            asyncio.create_task(self._way(other, one), name="tunnel in"),
            asyncio.create_task(self._watch(), name="tunnel watch"),
        ]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            one.close()  # before anything is waited for: this may be cancelled a second time
            other.close()
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)

    async def _way(self, source: Wire, sink: Wire) -> None:
        with contextlib.suppress(*ENDS):
            while chunk := await source.reader.read(CHUNK_BYTES):
                self._moved = True
                self.bytes_carried += len(chunk)
                sink.writer.write(chunk)
                await sink.writer.drain()

    async def _watch(self) -> None:
        silent_s = 0.0
        while silent_s < IDLE_S:
            self._moved = False
            await asyncio.sleep(LOOK_S)
            silent_s = 0.0 if self._moved else silent_s + LOOK_S
