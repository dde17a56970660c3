"""A TLS listener that counts before it shakes hands: for endpoints that anybody on the network can reach.

Rule (FAULTS S6): a connection costs nothing but a socket until its handshake is over, and both have a bound: so many
handshakes at once, each for so long; so many connections in all. What is beyond is closed at once, and counted. An
event loop's own server has no such bound: it makes a TLS object for every connection that it is offered.

Rejected: a limit behind the handshake (whoever has no certificate never gets there), a limit by address (sites share
addresses behind a NAT, and an attacker has many).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from proto.edge.logs import get_logger

HANDSHAKE_S = 3.0
"""Twice a round trip over half the world, with a retransmission."""
HANDSHAKES_MAX = 32
"""At once. One takes a few milliseconds of a core; a flood waits in the kernel's backlog instead of in our memory."""
SHUTDOWN_S = 0.5
"""What a peer may take to answer the end of its TLS session."""
BACKLOG = 128
RETRY_S = 0.5
"""After an error that concerns the process (no file descriptors left), not one connection."""
LOG_EVERY = 1_000
"""Connections that were closed unseen are told the first time and then this seldom."""
_CONCERNS_US = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = get_logger("tls.listener")


@dataclass(frozen=True, slots=True)
class Bounds:
    open_max: int
    """Connections in all, handshakes included."""
    handshakes_max: int = HANDSHAKES_MAX
    handshake_s: float = HANDSHAKE_S


class TlsListener:
    """Owned by an endpoint. Made and used on one event loop."""

    def __init__(
        self,
        name: str,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.BaseProtocol],
        open_now: Callable[[], int],
        bounds: Bounds,
    ) -> None:
        """`open_now`: connections past their handshake that are still open; `protocol` makes one for each."""
        self.turned_away = 0
        """Closed before the handshake because a bound was reached."""
        self._name = name
        self._context = context
        self._protocol = protocol
        self._open_now = open_now
        self._bounds = bounds
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(one.getsockname()[1] for one in self._sockets)

    async def start(self, host: str, port: int) -> None:
        """Raises OSError when it cannot listen there."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, proto, _, address in dict.fromkeys(found):
                self._sockets.append(_listening(family, kind, proto, address))
        except OSError:
            await self.close()
            raise
        self._accepting = [
            asyncio.create_task(self._accept(one), name=f"{self._name} accepts") for one in self._sockets
        ]

    async def close(self) -> None:
        """Handshakes under way end; connections that are open are their owner's."""
        tasks = (*self._accepting, *self._handshakes)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in self._sockets:
            one.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _CONCERNS_US:
                    log.warning("cannot_accept", listener=self._name, why=error.strerror)
                    await asyncio.sleep(RETRY_S)
                continue
            if self._full():
                self._turn_away(connection)
                continue
            task = asyncio.create_task(self._shake_hands(connection), name=f"{self._name} handshake")
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    def _full(self) -> bool:
        under_way = len(self._handshakes)
        return under_way >= self._bounds.handshakes_max or under_way + self._open_now() >= self._bounds.open_max

    def _turn_away(self, connection: socket.socket) -> None:
        if self.turned_away % LOG_EVERY == 0:
            bounds = f"{self._bounds.handshakes_max} handshakes, {self._bounds.open_max} connections"
            log.warning("turned_away", listener=self._name, before=self.turned_away, bounds=bounds)
        self.turned_away += 1
        connection.close()

    async def _shake_hands(self, connection: socket.socket) -> None:
        """Who is refused, or does not end in time, is closed by the loop; the context tells why (`on_refused`)."""
        connection.setblocking(False)
        try:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._bounds.handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except (OSError, TimeoutError):  # ssl.SSLError is an OSError; ConnectionAbortedError is the loop's time-out
            connection.close()


def _listening(family: int, kind: int, proto: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, kind, proto)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made
