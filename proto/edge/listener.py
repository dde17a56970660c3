"""A TLS listener that counts before it shakes hands: for endpoints that anybody on the network can reach.

Rule (FAULTS S6): a connection costs nothing but a socket until its handshake is over, and both have a bound: so many
handshakes at once, each for so long; so many connections in all. For a handshake beyond that the one that has taken
longest is closed, because an honest one takes milliseconds: whoever floods this port with sockets that say nothing
closes their own. When all connections have shown a certificate the new one is closed. Both are counted. An event loop's
own server has no such bound: it makes a TLS object for every connection that it is offered.

Rejected: a limit behind the handshake (whoever has no certificate never gets there), a limit by address (sites share
addresses behind a NAT, and an attacker has many), closing the newest (some sockets that say nothing, opened again and
again, would keep everybody out).
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
"""At once. One takes a few milliseconds of a core."""
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
        """Closed before their handshake was over because a bound was reached."""
        self._name = name
        self._context = context
        self._protocol = protocol
        self._open_now = open_now
        self._bounds = bounds
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}
        """The oldest first."""

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
            if not self._make_room():
                self._count_turned_away()
                connection.close()
                continue
            task = asyncio.create_task(self._shake_hands(connection), name=f"{self._name} handshake")
            self._handshakes[task] = connection
            task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)

    def _make_room(self) -> bool:
        """False: everybody who is here has shown a certificate."""
        under_way = len(self._handshakes)
        if under_way < self._bounds.handshakes_max and under_way + self._open_now() < self._bounds.open_max:
            return True
        if not under_way:
            return False
        task, oldest = next(iter(self._handshakes.items()))
        del self._handshakes[task]
        self._count_turned_away()
        with contextlib.suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)  # its handshake ends at that, and closes it
        return True

    def _count_turned_away(self) -> None:
        if self.turned_away % LOG_EVERY == 0:
            bounds = f"{self._bounds.handshakes_max} handshakes, {self._bounds.open_max} connections"
            log.warning("turned_away", listener=self._name, before=self.turned_away, bounds=bounds)
        self.turned_away += 1

    async def _shake_hands(self, connection: socket.socket) -> None:
        """Who is refused, or does not end in time, is closed by the loop; the context tells why (`on_refused`)."""
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):  # a failure of TLS is one, and so is the loop's time-out
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._bounds.handshake_s,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )


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
