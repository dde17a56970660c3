"""An exec guard's connection to its agent: connects, comes back after a loss, never blocks, never decides.

Rule: a lost agent is no reason to stop what runs under a lease; the lease runs out by itself when nobody renews it.
"""

from __future__ import annotations

import socket
import time

from agents.fencing import local_protocol
from agents.fencing.authority import Refused
from agents.fencing.line_codec import BadLine, LineReader, Message, Outbox

RETRY_S = 0.3
READ_BYTES = 65_536


class AgentLink:
    """Owned by the exec guard's one thread. `lost_since` tells for how long there has been no agent."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sock: socket.socket | None = None
        self.lost_since: float | None = time.monotonic()
        self._outbox = Outbox(-1)
        self._reader = LineReader()
        self._next_try = 0.0

    def try_connect(self) -> int:
        """At most one attempt per RETRY_S; the descriptor of a new connection, or -1."""
        now = time.monotonic()
        if self.sock is not None or now < self._next_try:
            return -1
        self._next_try = now + RETRY_S
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            return -1
        self.sock = sock
        self.lost_since = None
        self._outbox = Outbox(sock.fileno())
        self._reader = LineReader()
        return sock.fileno()

    def send(self, message: Message) -> None:
        self._outbox.send(message)

    def flush(self) -> bool:
        """True while something is still unsent."""
        self._outbox.flush()
        return self._outbox.waiting

    def read(self) -> list[Message]:
        """Checked messages. A broken connection or a peer that breaks the protocol closes it."""
        if self.sock is None:
            return []
        messages: list[Message] = []
        try:
            data = self.sock.recv(READ_BYTES)
            messages += [local_protocol.from_agent(line) for line in self._reader.feed(data)]
        except BlockingIOError:
            return []
        except (OSError, BadLine, Refused):
            data = b""
        if not data:
            self.close()
        return messages

    def close(self) -> None:
        if self.sock is not None:
            self._outbox.close()
            self.sock.close()
            self.sock = None
            self.lost_since = time.monotonic()
