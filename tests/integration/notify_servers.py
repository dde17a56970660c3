"""Receivers on loopback that are told how to behave: HTTP and SMTP, small and real."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_string, policy
from typing import Any

from aiohttp import web


@dataclass
class HttpReceiver:
    """`status` 0: it never answers."""

    url: str = ""
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.status == 0:
            await asyncio.Event().wait()
        if 200 <= self.status < 300:
            self.requests.append(({name.lower(): value for name, value in request.headers.items()}, body))
            self.paths.append(f"{request.method} {request.path_qs}")
        return web.Response(status=self.status, text="a word that nobody repeats")

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests if body]


@contextlib.asynccontextmanager
async def http_receiver(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[HttpReceiver]:
    made = HttpReceiver()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    made.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


@dataclass
class MailReceiver:
    """Takes mail without asking who it is from. `refuse`: 451 to every recipient; `silent`: no greeting."""

    port: int = 0
    refuse: bool = False
    silent: bool = False
    mails: list[Any] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await reader.read()
            return
        writer.write(b"220 catcher\r\n")
        while line := await reader.readline():
            verb = line[:4].upper().strip()
            if verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                await writer.drain()
                return
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append(message_from_string(data[:-5].decode(), policy=policy.default))
                writer.write(b"250 taken\r\n")
            elif verb == b"RCPT" and self.refuse:
                writer.write(b"451 not now\r\n")
            else:
                writer.write(b"250 fine\r\n")
            await writer.drain()


@contextlib.asynccontextmanager
async def mail_receiver(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[MailReceiver]:
    made = MailReceiver()
    server = await asyncio.start_server(made.serve, host, port)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
