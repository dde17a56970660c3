"""The local door of a running witness: a socket in its data directory, for whoever owns that directory and for root.

Rule: it only hands out, and it hands out only a backup. The socket has mode 0600 in a directory of mode 0700, and the
kernel names the peer's user besides; one client at a time, one short line of a request, a time limit on each step. So
no certificate is needed to save what the same user could copy from the disk, and nothing new listens on the network.

Rejected: a route of the operators' API. A backup holds everything that is replicated, whoever may read one could read
all of it over the network, and the machine that makes nightly backups would need an operator's key beside its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proto.edge.logs import get_logger
from proto.errors import ThirdsiteError
from witness.backup.layout import chunks
from witness.backup.source import Parts

SOCKET_NAME: Final = "control.sock"
REQUEST: Final = b"backup 1\n"
READY: Final = b"ok\n"
BEHIND: Final = b"ok behind\n"
REFUSED: Final = b"no "
LINE_BYTES_MAX: Final = 512
REQUEST_S: Final = 5.0
STALLED_S: Final = 30.0
"""A client that takes nothing for so long is let go."""
_CREDENTIALS: Final = struct.Struct("3i")

log = get_logger(__name__)


def socket_address(directory: Path, name: str = SOCKET_NAME) -> tuple[int, str]:
    """An open directory and an address under it: the path of a socket may have 107 bytes, one of a directory more."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return fd, f"/proc/self/fd/{fd}/{name}"


class Control:
    """Made and used on the witness's event loop. Whoever holds the store's lock owns the socket's name too."""

    def __init__(self, directory: Path, take: Callable[[], Parts]) -> None:
        self._directory = directory
        self._take = take
        self._server: asyncio.Server | None = None
        self._busy = False

    async def start(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._directory / SOCKET_NAME).unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd, address = socket_address(self._directory)
        try:
            listening.bind(address)
            (self._directory / SOCKET_NAME).chmod(0o600)
        except OSError:
            listening.close()
            raise
        finally:
            os.close(fd)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LINE_BYTES_MAX)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                (self._directory / SOCKET_NAME).unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await reader.readline()  # before any refusal: what is unread at the close would void it
            refusal = self._refusal(request, writer)
            if refusal:
                await _say(writer, REFUSED + refusal.encode() + b"\n")
                return
            self._busy = True
            try:
                await self._hand_out(writer)
            finally:
                self._busy = False
        except (OSError, TimeoutError, ValueError) as error:
            log.warning("control_client_lost", error=str(error) or type(error).__name__)
        except ThirdsiteError as error:
            log.warning("backup_ended", error=str(error))
        finally:
            writer.close()

    def _refusal(self, request: bytes, writer: asyncio.StreamWriter) -> str:
        if not _is_ours(writer):
            return "only the witness's own user and root may ask here"
        if request != REQUEST:
            return "this witness answers to 'backup 1': use the `witness` of its version"
        return "another backup is being taken: wait for its end" if self._busy else ""

    async def _hand_out(self, writer: asyncio.StreamWriter) -> None:
        try:
            parts = self._take()
        except ThirdsiteError as error:
            await _say(writer, REFUSED + str(error).encode()[: LINE_BYTES_MAX - 8] + b"\n")
            return
        await _say(writer, BEHIND if parts.behind else READY)
        for piece in chunks(parts.header, parts.image, parts.events):
            await _say(writer, piece)
        log.info("backup_taken", index=parts.header.index, events=parts.header.events)


async def _say(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(STALLED_S):
        await writer.drain()


def _is_ours(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in (0, os.geteuid())
