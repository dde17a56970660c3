"""Opens the local endpoint on its TCP address and on a Unix socket that only this user can reach."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from aiohttp import web

from agents.settings import Endpoint
from proto.errors import LocalFault, NotNow

BACKLOG = 128
KEEPALIVE_S = 15.0
SHUTDOWN_S = 1.0
SOCKET_UMASK = 0o177


class LocalServer:
    """Owned by the supervisor; the store's lock has shown already that no other agent uses the directory."""

    def __init__(self, app: web.Application, http: Endpoint | None, socket_path: Path) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=KEEPALIVE_S)
        self._http = http
        self._socket_path = socket_path
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        """Raises NotNow or LocalFault when it cannot listen."""
        await self._runner.setup()
        handler, loop = self._runner.server, asyncio.get_running_loop()
        if handler is None:
            raise LocalFault("the local endpoint was set up twice")
        listener = _unix_listener(self._socket_path)
        self._servers.append(await loop.create_unix_server(handler, sock=listener, backlog=BACKLOG))
        if self._http is None:
            return
        try:
            server = await loop.create_server(handler, self._http.host, self._http.port, backlog=BACKLOG)
        except OSError as error:
            rule = f"cannot listen there: {error.strerror or error}"
            remedy = "choose an address of this machine and a free port"
            raise NotNow("local.http", str(self._http), rule, remedy) from error
        self._servers.append(server)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        await self._runner.cleanup()
        self._socket_path.unlink(missing_ok=True)


def _unix_listener(path: Path) -> socket.socket:
    """A path that is left from a process that is gone is taken over: its owner would hold our lock."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(SOCKET_UMASK)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise LocalFault(f"{path}: cannot listen: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener
