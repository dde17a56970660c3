"""The certificate of an agent must be its own: cluster, role, site and every group, before anything starts."""

from __future__ import annotations

import ssl

from agents.settings import SiteSettings
from proto.edge.identity import PeerRefused, Role, require_cluster, require_role
from proto.edge.tls import OwnCertificate, TlsFiles, accepting, client_context, own_certificate
from proto.errors import BadValue
from proto.units import WitnessId


def tls_files(settings: SiteSettings) -> TlsFiles:
    return TlsFiles(settings.tls.ca, settings.tls.cert, settings.tls.key, settings.tls.crl)


def require_own(settings: SiteSettings) -> OwnCertificate:
    """Raises BadValue that says which certificate to issue."""
    own = own_certificate(tls_files(settings))
    groups = [group.group for group in settings.groups]
    try:
        require_cluster(own.identity, settings.cluster)
        require_role(own.identity, Role.AGENT, name=settings.site)
        missing = [group for group in groups if not own.identity.may_serve(group)]
        if missing:
            raise PeerRefused(f"{own.identity} may not serve {', '.join(missing[:8])}")
    except PeerRefused as error:
        remedy = f"issue one for site {settings.site} and its groups with 'witness pki issue agent'"
        raise BadValue("tls.cert", str(settings.tls.cert), str(error), remedy) from error
    return own


def witness_contexts(settings: SiteSettings, own: OwnCertificate) -> dict[WitnessId, ssl.SSLContext]:
    """One for each witness: the certificate must name the very witness that is called, so host names do not count."""
    return {
        witness: client_context(
            tls_files(settings), accepting(own.identity, Role.WITNESS, name=witness), check_hostname=False
        )
        for witness, _ in settings.witnesses
    }
