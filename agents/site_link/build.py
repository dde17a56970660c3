"""The site link of one agent, made from its settings; nothing where the configuration names no other site."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any

from agents.settings import SiteSettings
from agents.site_link.dial import Peer
from agents.site_link.greeting import Ourselves, accept_peers
from agents.site_link.link import Surroundings, TlsSiteLink
from agents.site_link.port import SiteAsk, SiteLinkEvents, SiteSays
from agents.site_link.relayed import RelayedTransport
from proto.clock import Clock
from proto.edge.identity import Role
from proto.edge.logs import get_logger
from proto.edge.tls import OwnCertificate, TlsFiles, accepting, client_context, reload_files, server_context
from proto.units import SiteId, WitnessId

log = get_logger("agents.site_link")


class Sites:
    """Owned by the supervisor."""

    def __init__(
        self, settings: SiteSettings, events: SiteLinkEvents, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self.link: TlsSiteLink | None = None
        self._settings = settings
        self._events, self._clock, self._jitter = events, clock, jitter
        self._contexts: list[ssl.SSLContext] = []

    @property
    def configured(self) -> bool:
        return self._settings.site_link is not None

    def relays(self, contexts: Mapping[WitnessId, ssl.SSLContext] | None) -> RelayedTransport | None:
        """The way to the witnesses through the peers; `contexts` are those of the direct streams."""
        spec = self._settings.site_link
        if spec is None:
            return None
        peers = tuple(peer.site for peer in spec.peers)
        return RelayedTransport(lambda: self.link, peers, dict(self._settings.witnesses), contexts)

    async def start(self, files: TlsFiles, own: Callable[[], OwnCertificate]) -> None:
        """Raises BadValue or LocalFault."""
        spec, settings = self._settings.site_link, self._settings
        if spec is None:
            return
        identity = own().identity
        accept = accept_peers(settings.cluster, {peer.site for peer in spec.peers})
        context = server_context(files, accept, _refused)
        peers = tuple(
            Peer(
                peer.site,
                peer.address,
                client_context(files, accepting(identity, Role.AGENT, name=peer.site), check_hostname=False),
            )
            for peer in spec.peers
        )
        self._contexts = [context, *(peer.context for peer in peers)]
        groups = tuple(group.group for group in settings.groups)
        ours = Ourselves(settings.site, settings.cluster, settings.version, groups)
        around = Surroundings(ours, spec.listen, context, dict(settings.witnesses), self._clock, self._jitter)
        link = TlsSiteLink(peers, self._events, around)
        await link.start()
        self.link = link

    async def run(self) -> None:
        """Until cancelled; after `start`, and only where it is configured."""
        if self.link is not None:
            await self.link.run()

    def reload(self, files: TlsFiles) -> None:
        for context in self._contexts:
            reload_files(context, files)

    async def close(self) -> None:
        if self.link is not None:
            await self.link.close()

    def ask(self, site: SiteId, request: SiteAsk) -> bool:
        return self.link is not None and self.link.ask(site, request)

    def answer(self, site: SiteId, answer: SiteSays) -> bool:
        return self.link is not None and self.link.answer(site, answer)

    def status(self) -> dict[str, Any] | None:
        """None where no site link is configured."""
        if self.link is None:
            return None
        return {
            "listen": str(self._settings.site_link.listen) if self._settings.site_link else "",
            "peers": self.link.status(),
            **self.link.counts(),
        }


def _refused(why: str) -> None:
    log.warning("site_refused", why=why)
