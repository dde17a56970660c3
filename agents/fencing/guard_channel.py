"""The agent's end of a guard's socket: numbered requests, bounded answers, and everything else to a callback.

Rule: never blocks the agent's loop, keeps at most OUTBOX_BYTES_MAX unsent, and gives every request an end: its
answer, a time-out, or the end of the channel.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from agents.fencing.base import GuardGone, GuardRefused, GuardSilent
from agents.fencing.line_codec import BadLine, LineReader, Message, Outbox, decode

REPLY_S = 2.0
READ_BYTES = 65_536


class GuardChannel:
    """Owned by one GuardHandle."""

    def __init__(self, sock: socket.socket, on_message: Callable[[Message], None]) -> None:
        sock.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = sock
        self._outbox = Outbox(sock.fileno())
        self._reader = LineReader()
        self._on_message = on_message
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._number = 0
        self._loop.add_reader(sock.fileno(), self.read)

    async def request(self, message: Message, timeout_s: float = REPLY_S) -> Message:
        self._number += 1
        number = self._number
        if self._sock is None or not self._outbox.send({**message, "req": number}):
            raise GuardGone(f"{message['type']}: the guard is gone or does not read")
        if self._outbox.waiting:
            self._loop.add_writer(self._outbox.fd, self._flush)
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            reply = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise GuardSilent(f"{message['type']}: no answer from the guard in {timeout_s} s") from None
        finally:
            self._waiting.pop(number, None)
        if reply["type"] == "error":
            raise GuardRefused(str(reply.get("code")), str(reply.get("text")))
        return reply

    def _flush(self) -> None:
        fd = self._outbox.fd
        self._outbox.flush()
        if fd >= 0 and not self._outbox.waiting:
            self._loop.remove_writer(fd)

    def read(self) -> None:
        """Takes what is there; also called once more after the guard's death, for its last words."""
        while self._sock is not None:
            try:
                data = self._sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            try:
                messages = [decode(line) for line in self._reader.feed(data)]
            except BadLine:
                self.close()
                return
            for message in messages:
                self._dispatch(message)

    def _dispatch(self, message: Message) -> None:
        number = message.get("req")
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is None:
            self._on_message(message)
        elif not answer.done():
            answer.set_result(message)

    def close(self) -> None:
        if self._sock is None:
            return
        fd = self._sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._outbox.close()
        self._sock.close()
        self._sock = None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(GuardGone("the guard ended before it answered"))
