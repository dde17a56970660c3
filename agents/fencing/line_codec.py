"""Lines of JSON on a pipe or socket, bounded in both directions; used by guard, init, exec guard and agent.

Rule: a line has at most LINE_BYTES_MAX bytes, an object at the top, and nothing else; a longer or malformed one
raises BadLine and the connection's owner answers or drops it. Writing never blocks: what the kernel does not take
is kept up to OUTBOX_BYTES_MAX, and what does not fit is dropped and counted, because a peer that does not read
must not stop a guard.
Rejected: msgpack (not in the standard library), a binary format (people debug a stuck guard with strace).
"""

from __future__ import annotations

import json
import os

LINE_BYTES_MAX = 64 * 1024
OUTBOX_BYTES_MAX = 4 * LINE_BYTES_MAX

Message = dict[str, object]


class BadLine(ValueError):
    """A line that is too long, not JSON, or not an object."""


def encode(message: Message) -> bytes:
    line = json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise BadLine(f"a message of {len(line)} bytes exceeds {LINE_BYTES_MAX}")
    return line


def decode(line: bytes) -> Message:
    if len(line) > LINE_BYTES_MAX:
        raise BadLine(f"a line of {len(line)} bytes exceeds {LINE_BYTES_MAX}")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {str(error)[:80]}") from None
    if not isinstance(value, dict):
        raise BadLine("not a JSON object")
    return value


class LineReader:
    """Cuts a byte stream into lines; a line that never ends is refused before it fills the memory."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > LINE_BYTES_MAX:
            self._buffer = b""
            raise BadLine(f"a line exceeds {LINE_BYTES_MAX} bytes")
        return lines


class Outbox:
    """The sending side of a non-blocking descriptor."""

    __slots__ = ("_pending", "dropped", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dropped = 0
        self._pending = bytearray()

    def send(self, message: Message) -> bool:
        """False when the message was dropped: the peer does not read, or is gone."""
        line = encode(message)
        if self.fd < 0 or len(self._pending) + len(line) > OUTBOX_BYTES_MAX:
            self.dropped += 1
            return False
        self._pending += line
        self.flush()
        return True

    @property
    def waiting(self) -> bool:
        return len(self._pending) > 0

    def flush(self) -> None:
        while self._pending and self.fd >= 0:
            try:
                sent = os.write(self.fd, self._pending)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._pending[:sent]

    def close(self) -> None:
        """Forgets the descriptor; its owner closes it."""
        self.fd = -1
        self._pending.clear()
