"""Frames on a byte stream between two sites: a length of four bytes (big endian), then one message of proto.site_codec.

Rule: a frame above its cap ends the connection before a byte of it is kept; a read and a write have a bound in time.
"""

from __future__ import annotations

import asyncio
import ssl

from proto.errors import FrameRefused
from proto.site_codec import SITE_FRAME_BYTES_MAX

HEAD_BYTES = 4
BUFFER_BYTES = 64 * 1024
"""What is read ahead of the reader, and what may wait for the network, of one connection."""
SEND_S = 2.0
ENDS = (OSError, EOFError, RuntimeError)
"""How a connection ends: resets, failures of TLS and time-outs are OSErrors, IncompleteReadError is an EOFError, and
uvloop raises a RuntimeError for a handle that it has closed meanwhile."""


class Wire:
    """One connection, framed. One reader and one writer at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    async def receive(self) -> bytes:
        """Raises FrameRefused, or one of ENDS. The caller bounds the time."""
        length = int.from_bytes(await self.reader.readexactly(HEAD_BYTES), "big")
        if not 0 < length <= SITE_FRAME_BYTES_MAX:
            raise FrameRefused(f"a frame of {length} bytes, 1 to {SITE_FRAME_BYTES_MAX} are taken")
        return await self.reader.readexactly(length)

    async def send(self, *frames: bytes) -> None:
        """In one go. Raises one of ENDS."""
        self.writer.write(b"".join(len(frame).to_bytes(HEAD_BYTES, "big") + frame for frame in frames))
        async with asyncio.timeout(SEND_S):
            await self.writer.drain()

    def close(self) -> None:
        """At once, never raises, may be called twice; what waits still goes out if the other end takes it."""
        if not self.writer.transport.is_closing():
            self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


def words(error: BaseException) -> str:
    """Why, for the status; TLS libraries and systems say it in different places."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    if isinstance(error, EOFError | ConnectionResetError | BrokenPipeError):
        return "closed by the other end"
    verify = getattr(error, "verify_message", "")
    if verify:
        return f"TLS: {verify}"[:200]
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.args[-1] if error.args else error}"[:200]
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
