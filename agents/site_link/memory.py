"""The in-memory body of the site link: several sites in one process, for tests of what lies above."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from agents.site_link.port import SiteAsk, SiteLinkEvents, SiteSays, SiteUnreachable
from proto.units import SiteId, WitnessId

Witnesses = Callable[[WitnessId, socket.socket], None]
"""Takes the witness's end of a tunnel; raises SiteUnreachable when there is no such witness."""


class MemoryNetwork:
    """`parted` holds pairs of sites that do not reach each other."""

    def __init__(self, witnesses: Witnesses) -> None:
        self.links: dict[SiteId, MemorySiteLink] = {}
        self.parted: set[frozenset[SiteId]] = set()
        self.witnesses = witnesses

    def reach(self, one: SiteId, other: SiteId) -> MemorySiteLink | None:
        link = self.links.get(other)
        cut = frozenset({one, other}) in self.parted
        return None if cut or link is None or not link.listening else link

    def look(self) -> None:
        """After `parted` changed, or a site came or went."""
        for link in self.links.values():
            link.look()


class MemorySiteLink:
    """Implements agents.site_link.port.SiteLink. Messages arrive in a later turn of the loop, as from a network."""

    def __init__(self, site: SiteId, peers: tuple[SiteId, ...], events: SiteLinkEvents, network: MemoryNetwork) -> None:
        self.site = site
        self.listening = False
        self.events = events
        self.peers = peers
        self._network = network
        self.connected: set[SiteId] = set()
        self._running = False
        network.links[site] = self

    async def start(self) -> None:
        self.listening = True

    async def run(self) -> None:
        self._running = True
        self._network.look()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._running = False
            self._network.look()

    async def close(self) -> None:
        self.listening = False
        self._network.look()

    def look(self) -> None:
        for peer in self.peers:
            there = self._network.reach(self.site, peer)
            connected = self._running and there is not None and self.site in there.peers
            if connected and peer not in self.connected:
                self.connected.add(peer)
                self.events.site_opened(peer)
            elif not connected and peer in self.connected:
                self.connected.discard(peer)
                self.events.site_closed(peer)

    def ask(self, site: SiteId, request: SiteAsk) -> bool:
        if site not in self.connected:
            return False
        there = self._network.links[site]
        asyncio.get_running_loop().call_soon(there.events.site_asked, self.site, request)
        return True

    def answer(self, site: SiteId, answer: SiteSays) -> bool:
        there = self._network.links.get(site)
        if there is None or self.site not in there.connected:
            return False
        asyncio.get_running_loop().call_soon(there.events.site_answered, self.site, answer)
        return True

    async def tunnel(self, site: SiteId, witness: WitnessId) -> socket.socket:
        there = self._network.reach(self.site, site) if site in self.peers else None
        if there is None:
            raise SiteUnreachable(f"{site} is not reached")
        if not there.events.carries():
            raise SiteUnreachable(f"{site} does not carry it (not-heard)")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        try:
            self._network.witnesses(witness, theirs)
        except SiteUnreachable:
            ours.close()
            theirs.close()
            raise
        return ours

    def status(self) -> list[dict[str, Any]]:
        return [{"site": peer, "connected": peer in self.connected} for peer in self.peers]
