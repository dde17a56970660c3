"""How frames get to a witness and back: the seam between streams and the network.

Bodies: agents.client.websocket (aiohttp) and agents.client.memory; agents.site_link.relayed is the way through another
site. A frame is one message of proto.codec; the bodies cap its size but never look inside.
tests/contract/test_agent_transport.py runs the same suite on both.
"""

from __future__ import annotations

from typing import Protocol

from proto.errors import RemoteFault
from proto.units import SiteId, WitnessId


class ConnectionLost(RemoteFault):
    """No connection, or not any more; the text says why in words for the status."""


class Connection(Protocol):
    async def send(self, frame: bytes) -> None:
        """Returns when the frame is on its way; raises ConnectionLost. One sender at a time."""

    async def receive(self) -> bytes:
        """The next frame, in the order sent; raises ConnectionLost at the end. One receiver at a time."""

    async def close(self) -> None:
        """Bounded, never raises, may be called twice."""


class Transport(Protocol):
    async def connect(self, witness: WitnessId) -> Connection:
        """Raises ConnectionLost. The caller bounds the time."""

    async def close(self) -> None: ...


class RelayTransport(Protocol):
    """The way through another site's agent."""

    async def connect(self, witness: WitnessId) -> tuple[Connection, SiteId]:
        """And which site carries it. Raises ConnectionLost; the next attempt may try another site."""
