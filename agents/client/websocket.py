"""The aiohttp body of the transport: one WebSocket to each witness, mutual TLS, no proxy, no compression.

aiohttp sets TCP_NODELAY on its connections; a renewal must not wait for Nagle. Names are resolved anew at every
attempt, because a witness that moved is found by its name.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

import aiohttp

from agents.client.transport import Connection, ConnectionLost
from proto.limits import FRAME_BYTES_MAX
from proto.units import WitnessId

PATH = "/v1/agent"
CLOSE_S = 0.5
"""A witness that does not answer a close within this is left alone."""
WORDS_CHARS_MAX = 200


class WebSocketConnection:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send_bytes(frame)
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise ConnectionLost(_words(error)) from error

    async def receive(self) -> bytes:
        try:
            message = await self._socket.receive()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            raise ConnectionLost(_words(error)) from error
        if message.type is aiohttp.WSMsgType.BINARY:
            return bytes(message.data)
        raise ConnectionLost(self._why(message))

    def _why(self, message: aiohttp.WSMessage) -> str:
        if message.type is aiohttp.WSMsgType.ERROR:
            return _words(self._socket.exception() or RuntimeError("protocol error"))
        if message.type is aiohttp.WSMsgType.TEXT:
            return "a text frame, binary ones are expected"
        code = self._socket.close_code
        return (
            "closed by the other end" if code in (None, 1000, 1001, 1006) else f"closed by the other end, code {code}"
        )

    async def close(self) -> None:
        await self._socket.close()


class WebSocketTransport:
    """`addresses` are host:port as text. `contexts` has a TLS context for each witness that accepts that witness's
    certificate only; None: no TLS (tests).
    """

    def __init__(
        self,
        addresses: Mapping[WitnessId, object],
        contexts: Mapping[WitnessId, ssl.SSLContext] | None,
        path: str = PATH,
    ) -> None:
        self._path = path
        self._addresses = addresses
        self._contexts = contexts
        self._session: aiohttp.ClientSession | None = None

    async def connect(self, witness: WitnessId) -> Connection:
        context = None if self._contexts is None else self._contexts[witness]
        return await open_websocket(self._opened(), self._addresses[witness], context, self._path)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


async def open_websocket(
    session: aiohttp.ClientSession, address: object, context: ssl.SSLContext | None, path: str = PATH
) -> WebSocketConnection:
    """`address` is host:port as text; `context` None: no TLS. Raises ConnectionLost."""
    scheme = "ws" if context is None else "wss"
    try:
        socket = await session.ws_connect(
            f"{scheme}://{address}{path}",
            ssl=True if context is None else context,
            max_msg_size=FRAME_BYTES_MAX,
            compress=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
        )
    except aiohttp.WSServerHandshakeError as error:
        raise ConnectionLost(f"no stream here: HTTP status {error.status}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ConnectionLost(_words(error)) from error
    return WebSocketConnection(socket)


def _words(error: BaseException) -> str:
    """Why, without addresses and object names: the status says where."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return f"TLS: {error}"[:WORDS_CHARS_MAX]
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        if isinstance(inner, ssl.SSLError):
            return f"TLS: {inner.args[-1] if inner.args else inner}"[:WORDS_CHARS_MAX]
        # asyncio's own text has the address as a tuple; a name that is not found has a negative number.
        known = os.strerror(inner.errno) if inner.errno and inner.errno > 0 else error.strerror
        return (known or str(inner) or "cannot connect")[:WORDS_CHARS_MAX].lower()
    return (str(error) or type(error).__name__)[:WORDS_CHARS_MAX]
