"""How the agents of two sites reach each other: the seam between the agent's loop and the network between sites.

Bodies: agents.site_link.link (mutual TLS) and agents.site_link.memory. Requests go over the connection that the asker
dialled, answers come back on it; a tunnel has a connection of its own. Nothing here decides: what may be promised or
carried is asked of the events. tests/contract/test_site_link.py runs the same suite on both bodies.
"""

from __future__ import annotations

import socket
from typing import Any, Protocol

from proto.errors import RemoteFault
from proto.site_messages import HoldAnswer, HoldEnd, HoldEndAnswer, HoldRequest
from proto.units import SiteId, WitnessId

SiteAsk = HoldRequest | HoldEnd
SiteSays = HoldAnswer | HoldEndAnswer


class SiteUnreachable(RemoteFault):
    """No connection to that site's agent, not any more, or not for this; the text says why in words for the status."""


class SiteLinkEvents(Protocol):
    """Where the link reports; called on the loop, in order for each connection, and never from within `ask`."""

    def site_opened(self, site: SiteId) -> None:
        """What is asked of that site from now on goes out."""

    def site_closed(self, site: SiteId) -> None: ...

    def site_asked(self, site: SiteId, request: SiteAsk) -> None:
        """The certificate says that it is that site's agent, and that it may speak for the group."""

    def site_answered(self, site: SiteId, answer: SiteSays) -> None:
        """The certificate says that it is that site's agent, and that it may speak for the group."""

    def site_measured(self, site: SiteId, took_ns: int) -> None:
        """A ping of ours was answered there after so long."""

    def carries(self) -> bool:
        """Does this site hear the witnesses itself, so that it carries others' streams?"""


class SiteLink(Protocol):
    async def start(self) -> None:
        """Listens; raises BadValue or LocalFault when it cannot."""

    async def run(self) -> None:
        """Keeps a connection to each peer, until cancelled."""

    async def close(self) -> None:
        """After `run` was cancelled: ends what others dialled, tunnels too."""

    def ask(self, site: SiteId, request: SiteAsk) -> bool:
        """False when it is not connected, or its certificate does not speak for the group: drop it."""

    def answer(self, site: SiteId, answer: SiteSays) -> bool:
        """False when the connection that it dialled is gone: drop it."""

    async def tunnel(self, site: SiteId, witness: WitnessId) -> socket.socket:
        """A connected byte stream to that witness, carried by that site; the caller closes it. SiteUnreachable."""

    def status(self) -> list[dict[str, Any]]:
        """One entry a peer, in the order of the configuration."""
