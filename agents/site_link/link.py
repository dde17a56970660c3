"""The real body of the site link: listens for the peers, dials each of them, carries and asks for tunnels.

Nothing of it is needed while the witnesses are reached: what fails here is told, tried again, and ends nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.settings import Endpoint
from agents.site_link.carrier import Carrier
from agents.site_link.dial import Peer
from agents.site_link.endpoint import SiteEndpoint
from agents.site_link.greeting import Ourselves
from agents.site_link.peer_link import PeerLink
from agents.site_link.port import SiteAsk, SiteLinkEvents, SiteSays, SiteUnreachable
from agents.site_link.tunnels import Tunnels
from proto.clock import Clock
from proto.edge.listener import Bounds, TlsListener
from proto.errors import NotNow
from proto.limits import WITNESSES_MAX
from proto.units import SiteId, WitnessId

CONNECTIONS_PER_PEER_MAX = 2 * (1 + WITNESSES_MAX)
"""One for requests and a tunnel to each witness, and as many that a new one is about to replace."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the link is given beside its peers."""

    ours: Ourselves
    listen: Endpoint
    context: ssl.SSLContext
    """For those who dial us."""
    witnesses: Mapping[WitnessId, Endpoint]
    clock: Clock
    jitter: Callable[[], float]


class TlsSiteLink:
    """Implements agents.site_link.port.SiteLink. Owned by the supervisor."""

    def __init__(self, peers: tuple[Peer, ...], events: SiteLinkEvents, around: Surroundings) -> None:
        self._around = around
        self._peers = {peer.site: peer for peer in peers}
        self._links = {peer.site: PeerLink(peer, around.ours, events, around.clock, around.jitter) for peer in peers}
        self._carrier = Carrier(around.witnesses, events.carries)
        self._endpoint = SiteEndpoint(around.ours, events, self._carrier, around.clock)
        self._tunnels = Tunnels(around.ours)
        bounds = Bounds(open_max=CONNECTIONS_PER_PEER_MAX * len(peers))
        self._listener = TlsListener(
            "site link", around.context, self._endpoint.protocol, lambda: self._endpoint.open_now, bounds
        )

    @property
    def port(self) -> int:
        """Where it really listens, once it does."""
        return self._listener.ports[0]

    async def start(self) -> None:
        listen = self._around.listen
        try:
            await self._listener.start(listen.host, listen.port)
        except OSError as error:
            rule = f"cannot listen there: {error.strerror or error}"
            remedy = "choose an address of this machine and a free port"
            raise NotNow("site_link.listen", str(listen), rule, remedy) from error

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carrier.watch(), name="relays")
            for site, link in self._links.items():
                tasks.create_task(link.keep_open(), name=f"site link to {site}")

    async def close(self) -> None:
        await self._listener.close()
        await self._endpoint.close()
        await self._tunnels.close()

    def ask(self, site: SiteId, request: SiteAsk) -> bool:
        link = self._links.get(site)
        return link is not None and link.ask(request)

    def answer(self, site: SiteId, answer: SiteSays) -> bool:
        return self._endpoint.answer(site, answer)

    async def tunnel(self, site: SiteId, witness: WitnessId) -> socket.socket:
        peer = self._peers.get(site)
        if peer is None:
            raise SiteUnreachable(f"no site {site} stands in site_link.peers")
        return await self._tunnels.open(peer, witness)

    def status(self) -> list[dict[str, Any]]:
        carried = self._carrier.status()
        return [
            {
                **link.words(),
                "asks_here": site in self._endpoint.links,
                "carried": [one["witness"] for one in carried if one["site"] == site],
            }
            for site, link in self._links.items()
        ]

    def counts(self) -> dict[str, int]:
        return {
            "relays_opened": self._carrier.opened,
            "relays_refused": self._carrier.refused,
            "turned_away": self._listener.turned_away,
        }
