"""A network path that a test can cut: a TCP proxy that goes silent as a firewall that drops, and goes on later."""

from __future__ import annotations

import asyncio
import contextlib


class Gate:
    """From a port of its own to `target`, on loopback."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flow = asyncio.Event()
        self._flow.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """What is under way stops where it is; who connects is heard by nobody."""
        self._flow.clear()

    def mend(self) -> None:
        self._flow.set()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            await self._flow.wait()
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [asyncio.create_task(self._way(*one)) for one in ((reader, there), (back, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            return
        finally:
            for one in (writer, there):
                if one is not None:
                    one.close()

    async def _way(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(64 * 1024):
                await self._flow.wait()
                sink.write(chunk)
                await sink.drain()
            await self._flow.wait()
