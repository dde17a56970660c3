"""What a certificate says, for people: whose it is, where it holds, how long it still lasts.

A certificate that states no identity is shown all the same, with what is wrong: this is the tool one reaches for
when a handshake was refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from proto.edge.identity import ALL_GROUPS, Identity, PeerRefused, parse_identity
from proto.edge.tls import EXPIRY_WARNING_DAYS
from proto.errors import BadValue
from witness.pki.certificates import cluster_of, hosts_of, uris_of
from witness.pki.store import read_certificate


def describe_file(path: Path, now: datetime | None = None) -> Iterator[tuple[str, str]]:
    certificate = read_certificate(path)
    yield from _whose(certificate)
    hosts = hosts_of(certificate)
    if hosts:
        yield "called by", ", ".join(hosts)
    yield "valid until", _lasts(certificate, datetime.now(UTC) if now is None else now)
    yield "issued by", certificate.issuer.rfc4514_string()
    yield "serial", f"{certificate.serial_number:x}"
    yield "sha256", certificate.fingerprint(hashes.SHA256()).hex()


def _whose(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    if _is_ca(certificate):
        try:
            yield "authority", certificate.subject.rfc4514_string()
            yield "cluster id", cluster_of(certificate)
        except BadValue as error:
            yield "refused", str(error)
        return
    try:
        identity = parse_identity(uris_of(certificate))
    except PeerRefused as error:
        yield "refused", str(error)
        return
    yield "identity", str(identity)
    yield from _groups(identity)
    yield "cluster id", identity.cluster_id


def _groups(identity: Identity) -> Iterator[tuple[str, str]]:
    if identity.all_groups:
        yield "groups", f"{ALL_GROUPS} (every group of the cluster)"
    elif identity.groups:
        yield "groups", ", ".join(sorted(identity.groups))


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _lasts(certificate: x509.Certificate, now: datetime) -> str:
    ends = certificate.not_valid_after_utc
    days = (ends - now).days
    if now > ends:
        state = "EXPIRED"
    elif now < certificate.not_valid_before_utc:
        state = "NOT YET VALID: check the clock"
    else:
        state = f"{days} days left" + (", renew it" if days < EXPIRY_WARNING_DAYS else "")
    return f"{ends:%Y-%m-%d %H:%M} UTC ({state})"
