"""A put to etcd over gRPC, as small as it can be: HTTP/2 without TLS, one connection, one put in flight.

Written in the style of the load for thirdsite (asyncio on uvloop, one connection a client), so that the two are
asked by equals. It speaks just the frames that etcd answers a put with, and treats everything else as an error.
Rejected: the JSON gateway (a proxy inside etcd that would be measured too), grpcio (a dependency of megabytes).
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Self, cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_VALUE = b"v" * 64
"""About what one group's heartbeat weighs."""
_CREDIT_BYTES = 16_384
ANSWER_S = 10.0


def _literal(name_index: int, value: bytes) -> bytes:
    """A header of the static table, its value written out (RFC 7541, 6.2.2)."""
    head = bytes([name_index]) if name_index < 15 else bytes([0x0F, name_index - 15])
    return head + bytes([len(value)]) + value


_HEADER_BLOCK = b"".join(
    (
        b"\x83\x86",
        _literal(4, b"/etcdserverpb.KV/Put"),
        _literal(1, b"127.0.0.1"),
        _literal(31, b"application/grpc"),
        b"\x00\x02te\x08trailers",
    )
)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class EtcdClient(asyncio.Protocol):
    def __init__(self, key: str) -> None:
        put = b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12" + bytes([len(_VALUE)]) + _VALUE
        self._message = b"\x00" + struct.pack(">I", len(put)) + put
        self._buffer = bytearray()
        self._stream = -1
        self._unread = 0
        self._got_data = False
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def connect(cls, host: str, port: int, key: str) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(lambda: cls(key), host, port)
        return client

    async def put(self) -> None:
        """Returns when etcd has answered; raises OSError when it refuses or is gone."""
        transport = self._transport
        if transport is None:
            raise OSError("etcd closed the connection")
        self._got_data = False
        self._waiter = asyncio.get_running_loop().create_future()
        self._ask(transport)
        async with asyncio.timeout(ANSWER_S):
            await self._waiter

    def _ask(self, transport: asyncio.WriteTransport) -> None:
        self._stream += 2
        headers = _frame(_HEADERS, _END_HEADERS, self._stream, _HEADER_BLOCK)
        transport.write(headers + _frame(_DATA, _END_STREAM, self._stream, self._message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- asyncio.Protocol -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's has no asyncio class
        self._transport.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._fail("etcd closed the connection")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big")
            payload = bytes(self._buffer[9 : 9 + length])
            del self._buffer[: 9 + length]
            self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, _stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._got_data = self._got_data or len(payload) > 5
            self._credit(len(payload))
        elif kind == _SETTINGS and not flags & _ACK:
            self._write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._write(_frame(_PING, _ACK, 0, payload))
        elif kind in (_RST, _GOAWAY):
            self._fail(f"etcd refused: frame {kind}, {payload!r:.80}")
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self._end()

    def _end(self) -> None:
        if not self._got_data:
            self._fail("etcd answered the put with an error")
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _credit(self, length: int) -> None:
        self._unread += length
        if self._unread >= _CREDIT_BYTES:
            self._write(_frame(_WINDOW, 0, 0, struct.pack(">I", self._unread)))
            self._unread = 0

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _fail(self, text: str) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(OSError(text))


class EtcdWriter(EtcdClient):
    """Fires puts without waiting, each on an HTTP/2 stream of its own; notes when each was answered with success."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.answered_ns: list[int] = []
        self.lost: str | None = None
        self._with_data: set[int] = set()

    def fire(self) -> None:
        if self._transport is not None:
            self._ask(self._transport)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _RST:
            self._with_data.discard(stream)  # one put was refused; the others go on
            return
        if kind == _DATA and len(payload) > 5:
            self._with_data.add(stream)
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM and stream in self._with_data:
            self._with_data.discard(stream)
            self.answered_ns.append(time.monotonic_ns())
        super()._take(kind, flags & ~_END_STREAM if kind in (_DATA, _HEADERS) else flags, stream, payload)

    def _fail(self, text: str) -> None:
        self.lost = text
