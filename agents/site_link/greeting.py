"""Who the two ends of a site link are to each other: judged by certificate first, then by what they say of themselves.

Rules. The certificate is an agent's, of a site that stands in `site_link.peers`, and speaks for every group that it
names; Hello and every request must agree with it. Whoever is refused is told why, in words that name the remedy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from proto.edge.identity import Identity, PeerRefused, Role, require_cluster, require_role
from proto.edge.tls import Accept
from proto.errors import RemoteFault
from proto.site_messages import SITE_PROTOCOL, SiteGoodbye, SiteGoodbyeCode, SiteHello, SiteWelcome
from proto.units import ClusterId, GroupId, SiteId


@dataclass(frozen=True, slots=True)
class Ourselves:
    """What this agent says of itself."""

    site: SiteId
    cluster: ClusterId
    version: str
    groups: tuple[GroupId, ...]

    def hello(self) -> SiteHello:
        return SiteHello(SITE_PROTOCOL, self.site, self.cluster, self.version, self.groups)

    def welcome(self, hello: SiteHello) -> SiteWelcome:
        both = tuple(group for group in hello.groups if group in self.groups)
        return SiteWelcome(self.site, self.cluster, self.version, both)


class SentAway(RemoteFault):
    """The other end is not served; it is told so by `goodbye`."""

    def __init__(self, code: SiteGoodbyeCode, text: str) -> None:
        super().__init__(text)
        self.goodbye = SiteGoodbye(code, text[:400])


def accept_peers(cluster: ClusterId, peers: Collection[SiteId]) -> Accept:
    """For handshakes: an agent of this cluster, of one of these sites."""

    def accept(peer: Identity) -> object:
        require_cluster(peer, cluster)
        require_role(peer, Role.AGENT)
        if peer.name not in peers:
            raise PeerRefused(f"{peer} is refused: no such site stands in site_link.peers")
        return peer

    return accept


def greet(hello: SiteHello, identity: Identity, ours: Ourselves) -> SiteWelcome:
    """Raises SentAway."""
    if hello.protocol != SITE_PROTOCOL:
        text = f"it speaks protocol {hello.protocol}, {ours.site} {SITE_PROTOCOL}: install one version on all sites"
        raise SentAway(SiteGoodbyeCode.VERSION, text)
    if hello.cluster != ours.cluster:
        text = f"this is cluster {ours.cluster}, the asker says {hello.cluster:.40}: check `cluster`"
        raise SentAway(SiteGoodbyeCode.WRONG_CLUSTER, text)
    require_speaker(identity, hello.site, hello.groups)
    return ours.welcome(hello)


def require_speaker(identity: Identity, site: SiteId, groups: Collection[GroupId]) -> None:
    """Raises SentAway unless the certificate is that site's, and speaks for all of these groups."""
    if identity.name != site:
        text = f"the certificate is of site {identity.name}, the message of {site}"
        raise SentAway(SiteGoodbyeCode.WRONG_IDENTITY, text)
    missing = [group for group in groups if not identity.may_serve(group)]
    if missing:
        text = f"the certificate of {identity.name} does not name {', '.join(missing[:8])}: issue it with these groups"
        raise SentAway(SiteGoodbyeCode.WRONG_IDENTITY, text)
