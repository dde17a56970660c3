"""Streams to the witnesses through another site's agent: the same WebSocket and TLS, on a socket that a peer carries.

The certificate that counts is the witness's own, end to end; the host name is only what its server is asked for. One
site is asked for each attempt; after a failure the next one is the first to be asked, so that one that is dead or
hears no witness costs one attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from agents.client.transport import Connection, ConnectionLost
from agents.client.websocket import WebSocketConnection, open_websocket
from agents.settings import Endpoint
from agents.site_link.port import SiteLink, SiteUnreachable
from proto.units import SiteId, WitnessId


class _SocketConnector(aiohttp.BaseConnector):
    """One connection, over a socket that is connected already; `_create_connection` is aiohttp's place for that."""

    def __init__(self, end: socket.socket, context: ssl.SSLContext | None, host: str) -> None:
        super().__init__(force_close=True, limit=1)
        self._end: socket.socket | None = end
        self._context = context
        self._host = host

    async def _create_connection(
        self, _req: aiohttp.ClientRequest, _traces: list[Trace], _timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        end, self._end = self._end, None
        if end is None:
            raise OSError("the tunnel was used already")
        loop = asyncio.get_running_loop()
        name = None if self._context is None else self._host
        _, protocol = await loop.create_unix_connection(  # from here on the loop closes the socket, whatever happens
            lambda: ResponseHandler(loop), sock=end, ssl=self._context, server_hostname=name
        )
        return protocol

    def drop(self) -> None:
        """A socket that was never used."""
        if self._end is not None:
            self._end.close()
            self._end = None


class RelayedConnection:
    """A WebSocket and the session that is for it alone."""

    def __init__(self, socket_: WebSocketConnection, session: aiohttp.ClientSession) -> None:
        self._socket = socket_
        self._session = session

    async def send(self, frame: bytes) -> None:
        await self._socket.send(frame)

    async def receive(self) -> bytes:
        return await self._socket.receive()

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLost):
            await self._socket.close()
        await self._session.close()


class RelayedTransport:
    """Implements agents.client.transport.RelayTransport."""

    def __init__(
        self,
        link: Callable[[], SiteLink | None],
        peers: tuple[SiteId, ...],
        witnesses: Mapping[WitnessId, Endpoint],
        contexts: Mapping[WitnessId, ssl.SSLContext] | None,
    ) -> None:
        """`link` gives None before it listens; `contexts` None: streams without TLS, for tests."""
        self._link = link
        self._peers = peers
        self._witnesses = witnesses
        self._contexts = contexts
        self._turn: dict[WitnessId, int] = {}

    async def connect(self, witness: WitnessId) -> tuple[Connection, SiteId]:
        turn = self._turn.get(witness, 0)
        site = self._peers[turn % len(self._peers)]
        self._turn[witness] = turn + 1
        connection = await self._through(site, witness)
        self._turn[witness] = turn  # the next one goes the same way
        return connection, site

    async def _through(self, site: SiteId, witness: WitnessId) -> Connection:
        link = self._link()
        if link is None:
            raise ConnectionLost("the site link is not up yet")
        try:
            end = await link.tunnel(site, witness)
        except SiteUnreachable as error:
            raise ConnectionLost(f"through {site}: {error}") from error
        context = None if self._contexts is None else self._contexts[witness]
        connector = _SocketConnector(end, context, self._witnesses[witness].host)
        session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        try:
            return RelayedConnection(await open_websocket(session, self._witnesses[witness], context), session)
        except BaseException:
            connector.drop()
            await session.close()
            raise
