"""A look by opening a TCP connection and closing it at once."""

from __future__ import annotations

import asyncio
import errno

from agents.probes.base import ProbeResult


class TcpProbe:
    def __init__(self, host: str, port: int, timeout_ms: int) -> None:
        self._host, self._port = host, port
        self._timeout_ms = timeout_ms

    async def look(self) -> ProbeResult:
        words = await connect_problem(self._host, self._port, self._timeout_ms)
        return ProbeResult(passed=not words, detail=words)

    async def close(self) -> None:
        """Holds nothing between looks."""


REFUSED = "connection refused"


async def connect_problem(host: str, port: int, timeout_ms: int) -> str:
    """'' when the connection was made; REFUSED only when the other end's kernel said so."""
    try:
        async with asyncio.timeout(timeout_ms / 1_000):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return "no connection within its timeout"
    except OSError as error:
        return REFUSED if _refused(error) else (error.strerror or type(error).__name__)[:80].lower()
    writer.transport.abort()
    return ""


def _refused(error: OSError) -> bool:
    """Asyncio wraps several addresses' failures into one OSError without errno, and says each in its text."""
    if error.errno is not None:
        return error.errno == errno.ECONNREFUSED
    parts = str(error).split("Connect call failed")
    return False if len(parts) < 2 else all("Errno 111" in one for one in parts[:-1])
