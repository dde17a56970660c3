"""Netlink as bytes: attributes, messages, and a socket that asks the kernel and takes its answer.

Rule: every request is acknowledged, an error becomes OSError with the request's name, and no answer is waited for
beyond ANSWER_S. The kernel works while `send` runs, so an answer is there when it returns; what happened late
happened within the call.
Standard library only, and little of it: the process that uses it stands beside a guard on every host.
Rejected: pyroute2 (well kept, but megabytes in a resident process, and its nftables part knows no element time-outs),
the programs `ip` and `nft` (a fork and an exec for each renewal, and words to parse).
"""

from __future__ import annotations

import _socket as sockets  # the C part alone: `socket` brings selectors and enums
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

REQUEST = 0x001
ACK = 0x004
REPLACE = 0x100
CREATE = 0x400
APPEND = 0x800
DUMP = 0x300

NESTED = 0x8000
ATTRIBUTE_MASK = 0x3FFF
ERROR = 2
DONE = 3
INTERRUPTED = 0x10
"""Flag of an answer to a dump: what is listed changed meanwhile, so something may be missing."""

ANSWER_S = 2
"""A kernel that does not answer in this time is not waited for."""
RECEIVE_BYTES = 65_536
DUMP_TRIES = 16

HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")


def attribute(number: int, payload: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(length, number) + payload + bytes(-length % 4)


def nested(number: int, *attributes: bytes) -> bytes:
    return attribute(number | NESTED, b"".join(attributes))


def text(number: int, value: str) -> bytes:
    return attribute(number, value.encode() + b"\0")


def be32(number: int, value: int) -> bytes:
    return attribute(number, struct.pack(">I", value & 0xFFFF_FFFF))


def be64(number: int, value: int) -> bytes:
    return attribute(number, struct.pack(">Q", value))


def attributes(data: bytes) -> dict[int, bytes]:
    """Of one level; of a repeated one the last."""
    return dict(attribute_list(data))


def attribute_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, number = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            return
        yield number & ATTRIBUTE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4


class Request:
    """One message without its header's sequence number; `name` is for errors."""

    __slots__ = ("flags", "kind", "name", "payload")

    def __init__(self, name: str, kind: int, flags: int, payload: bytes) -> None:
        self.name = name
        self.kind = kind
        self.flags = flags | REQUEST
        self.payload = payload

    def to_bytes(self, sequence: int, *, ack: bool) -> bytes:
        flags = self.flags | (ACK if ack else 0)
        return HEADER.pack(HEADER.size + len(self.payload), self.kind, flags, sequence, 0) + self.payload


class Netlink:
    """One socket; opened for a piece of work and closed after it."""

    def __init__(self, family: int) -> None:
        self._sock = sockets.socket(sockets.AF_NETLINK, sockets.SOCK_RAW | sockets.SOCK_CLOEXEC, family)
        self._sock.settimeout(ANSWER_S)
        self._sock.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._sock.close()

    def ask(self, request: Request) -> None:
        """Returns when it is done; raises OSError with the kernel's reason."""
        self.batch((request,))

    def batch(self, requests: tuple[Request, ...], before: Request | None = None, after: Request | None = None) -> None:
        """Several in one datagram, between two that are not acknowledged; the first error is raised."""
        parts: list[bytes] = []
        names: dict[int, str] = {}
        for request in (before, *requests, after):
            if request is None:
                continue
            self._sequence += 1
            acked = request is not before and request is not after
            parts.append(request.to_bytes(self._sequence, ack=acked))
            if acked:
                names[self._sequence] = request.name
        self._sock.send(b"".join(parts))
        self._collect(names)

    def _collect(self, names: dict[int, str]) -> None:
        failed: OSError | None = None
        while names:
            for kind, _flags, sequence, payload in self._messages():
                if kind != ERROR:
                    continue
                (result,) = _NUMBER.unpack_from(payload)
                name = names.pop(sequence, None)
                if result and failed is None:
                    failed = _refusal(name or "the batch", -result)
                if result and name is None:
                    names.clear()  # an error of the batch itself: nothing else is answered
        if failed is not None:
            raise failed

    def dump(self, request: Request) -> list[bytes]:
        """The payloads of all answers to a dump; one that was incomplete is asked for again. Raises OSError."""
        request.flags |= DUMP
        for _ in range(DUMP_TRIES):
            found = self._dump_once(request)
            if found is not None:
                return found
        raise OSError(errno.EINTR, f"{request.name}: it changed during each of {DUMP_TRIES} looks")

    def _dump_once(self, request: Request) -> list[bytes] | None:
        """None: something may be missing. The end of a list may tell of an error, too."""
        self._sequence += 1
        self._sock.send(request.to_bytes(self._sequence, ack=False))
        found: list[bytes] = []
        complete = True
        while True:
            for kind, flags, sequence, payload in self._messages():
                if sequence != self._sequence:
                    continue
                complete = complete and not flags & INTERRUPTED
                result = _NUMBER.unpack_from(payload)[0] if kind == ERROR or (payload[:4] and kind == DONE) else 0
                if result:
                    raise _refusal(request.name, -result)
                if kind == DONE:
                    return found if complete else None
                found.append(payload)

    def _messages(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, sequence number and payload."""
        data = self._sock.recv(RECEIVE_BYTES)
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, flags, sequence, _port = HEADER.unpack_from(data, at)
            if length < HEADER.size:
                return
            yield kind, flags, sequence, data[at + HEADER.size : at + length]
            at += length + -length % 4


def _refusal(name: str, number: int) -> OSError:
    return OSError(number, f"{name}: {os.strerror(number)}")
