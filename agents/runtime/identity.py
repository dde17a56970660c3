"""The certificate of an agent must be its own: cluster, role, site and every group, before anything starts."""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from agents.settings import MemberProcessSettings, SiteSettings
from proto.edge.identity import PeerRefused, Role, member_certificate_name, require_cluster, require_role
from proto.edge.tls import OwnCertificate, TlsFiles, accepting, client_context, own_certificate
from proto.errors import BadValue
from proto.units import GroupId, WitnessId


def tls_files(settings: SiteSettings | MemberProcessSettings) -> TlsFiles:
    return TlsFiles(settings.tls.ca, settings.tls.cert, settings.tls.key, settings.tls.crl)


def require_own(settings: SiteSettings) -> OwnCertificate:
    """Raises BadValue that says which certificate to issue."""
    remedy = f"issue one for site {settings.site} and its groups with 'witness pki issue agent'"
    return _own(settings, Role.AGENT, settings.site, [group.group for group in settings.groups], remedy)


def require_own_member(settings: MemberProcessSettings) -> OwnCertificate:
    """Raises BadValue that says which certificate to issue."""
    name = member_certificate_name(settings.member, settings.site)
    remedy = f"issue one for {name} and its groups with 'witness pki issue member {name}'"
    return _own(settings, Role.MEMBER, name, [one.held.group for one in settings.groups], remedy)


def _own(
    settings: SiteSettings | MemberProcessSettings, role: Role, name: str, groups: Iterable[GroupId], remedy: str
) -> OwnCertificate:
    own = own_certificate(tls_files(settings))
    try:
        require_cluster(own.identity, settings.cluster)
        require_role(own.identity, role, name=name)
        missing = [group for group in groups if not own.identity.may_serve(group)]
        if missing:
            raise PeerRefused(f"{own.identity} may not serve {', '.join(missing[:8])}")
    except PeerRefused as error:
        raise BadValue("tls.cert", str(settings.tls.cert), str(error), remedy) from error
    return own


def lead_context(settings: MemberProcessSettings, own: OwnCertificate) -> ssl.SSLContext:
    """The certificate must be that of this very site's agent, so host names do not count."""
    accept = accepting(own.identity, Role.AGENT, name=settings.site)
    return client_context(tls_files(settings), accept, check_hostname=False)


def witness_contexts(settings: SiteSettings, own: OwnCertificate) -> dict[WitnessId, ssl.SSLContext]:
    """One for each witness: the certificate must name the very witness that is called, so host names do not count."""
    return {
        witness: client_context(
            tls_files(settings), accepting(own.identity, Role.WITNESS, name=witness), check_hostname=False
        )
        for witness, _ in settings.witnesses
    }
