"""The asking end of a relay: a connected socket whose bytes another site's agent carries to a witness.

Rule: the stream's own TLS runs on that socket, so the carrying site can neither read nor change what is said. Between
the socket and the connection to the other site's agent lies a pair of sockets and a shovel. Rejected: TLS started
inside of TLS on one transport (start_tls on an SSL transport: what asyncio, uvloop and aiohttp support of it differs,
and what was read ahead of the switch is lost), a forwarder on a loopback port (any process of the host could use it).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from agents.site_link.dial import CONNECT_S, Peer, answer_of, dial
from agents.site_link.greeting import Ourselves
from agents.site_link.port import SiteUnreachable
from agents.site_link.shovel import Shovel
from agents.site_link.wire import BUFFER_BYTES, Wire, words
from proto.errors import FrameRefused
from proto.site_messages import RelayOpen, RelayOpened, RelayRefused
from proto.units import WitnessId

TUNNELS_MAX = 16
"""At once; a stream to each of at most five witnesses, and as many that are about to end."""


class Tunnels:
    """Owned by the link."""

    def __init__(self, ours: Ourselves) -> None:
        self._ours = ours
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, peer: Peer, witness: WitnessId) -> socket.socket:
        """Raises SiteUnreachable. The caller closes the socket, which ends the tunnel."""
        if len(self._open) >= TUNNELS_MAX:
            raise SiteUnreachable(f"{TUNNELS_MAX} tunnels are open")
        there = await self._asked(peer, witness)
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            reader, writer = await asyncio.open_unix_connection(sock=theirs, limit=BUFFER_BYTES)
        except BaseException:
            ours.close()
            theirs.close()
            there.close()
            raise
        task = asyncio.create_task(Shovel(Wire(reader, writer), there).run(), name=f"tunnel to {witness}")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return ours

    async def _asked(self, peer: Peer, witness: WitnessId) -> Wire:
        wire = (await dial(peer, self._ours, RelayOpen(witness))).wire
        try:
            async with asyncio.timeout(CONNECT_S):
                answer = await answer_of(wire)
            if isinstance(answer, RelayRefused):
                raise SiteUnreachable(f"{peer.site} does not carry it ({answer.refusal.value}): {answer.text}")
            if answer != RelayOpened(witness):
                raise SiteUnreachable(f"{type(answer).__name__} instead of RelayOpened for {witness}")
        except (FrameRefused, OSError, EOFError, RuntimeError) as error:
            wire.abort()
            raise SiteUnreachable(words(error)) from error
        except BaseException:
            wire.abort()
            raise
        return wire

    async def close(self) -> None:
        for task in self._open:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._open, return_exceptions=True)
