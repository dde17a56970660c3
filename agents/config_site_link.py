"""The part of the site agent's configuration that names the other sites: where they reach this one, where they are.

Rule: a peer is told apart by the site in its agent's certificate; the address only says where it is dialled. Without
this part no renewal is relayed and no hold is asked for or given: the loss of the witnesses fences an active site.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from agents.config_fields import unique
from agents.settings import Endpoint, PeerSiteSpec, SiteLinkSpec
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import Address, ConfigAddress, SiteName
from proto.units import SiteId

PEERS_MAX = 16
"""Sites that one agent may share groups with; a group has at most five."""


class PeerSiteConfig(ConfigModel):
    site: SiteName = Field(examples=["dc-b"], description="the site in its agent's certificate")
    address: ConfigAddress = Field(examples=["agent.dc-b.example.net:7430"], description="its site_link.listen")


class SiteLinkConfig(ConfigModel):
    listen: ConfigAddress = Field(
        examples=["10.0.0.1:7430"], description="where the other sites' agents reach this one"
    )
    peers: tuple[PeerSiteConfig, ...] = Field(min_length=1, max_length=PEERS_MAX, description="every other site")

    @model_validator(mode="after")
    def _fits(self) -> SiteLinkConfig:
        unique([peer.site for peer in self.peers], "site", "site_link.peers")
        unique([peer.address for peer in self.peers], "address", "site_link.peers")
        return self

    def spec(self) -> SiteLinkSpec:
        peers = tuple(PeerSiteSpec(peer.site, Endpoint(*peer.address)) for peer in self.peers)
        return SiteLinkSpec(Endpoint(*self.listen), peers)


def check_site_link(link: SiteLinkConfig | None, site: SiteId, own: Mapping[str, Address | None]) -> None:
    """Raises pydantic's error for a site that would call itself, and for an endpoint that is another one's."""
    if link is None:
        return
    if any(peer.site == site for peer in link.peers):
        raise refusal(f"site_link.peers names {site}, which is this very site", "name the other sites only")
    for name, address in own.items():
        if address is not None and address == link.listen:
            raise refusal(f"site_link.listen and {name} are one endpoint", "choose another port for one of them")
