"""The certificate of a witness must be its own: cluster, role and name, before anything listens."""

from __future__ import annotations

from proto.edge.identity import PeerRefused, Role, require_cluster, require_role
from proto.edge.tls import OwnCertificate
from proto.errors import BadValue
from witness.settings import WitnessSettings


def require_own(own: OwnCertificate, settings: WitnessSettings) -> None:
    try:
        require_cluster(own.identity, settings.cluster)
        require_role(own.identity, Role.WITNESS, name=settings.witness)
    except PeerRefused as error:
        remedy = f"issue it with: witness pki issue witness {settings.witness}"
        raise BadValue("tls.cert", str(settings.tls.cert), str(error), remedy) from error
