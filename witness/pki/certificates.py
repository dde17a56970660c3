"""How certificates of a cluster are made: one CA, leaves that state one identity, nothing else.

P-256 with SHA-256 everywhere: browsers of operators do not take Ed25519 certificates. The CA may sign leaves only
(path length 0) and states the cluster's id; a leaf may not sign. Operators' certificates open connections and
accept none. Nothing is read or written here; `now` comes in, keys come from the library's generator.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proto.edge.identity import SCHEME, Identity, Role, check_cluster_id
from proto.errors import BadValue
from proto.units import ClusterId

CA_DAYS_DEFAULT = 3_650
LEAF_DAYS_DEFAULT = 365
DAYS_MAX = 36_500
HOSTS_MAX = 32
CLOCK_ALLOWANCE = timedelta(hours=1)
"""A new certificate is valid this long already: the clock of the machine it goes to may be behind."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The CA with its key, able to sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cluster_id(self) -> ClusterId:
        return cluster_of(self.certificate)


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def check_days(days: int, field: str = "days") -> timedelta:
    if not 1 <= days <= DAYS_MAX:
        raise BadValue(field, days, f"1 to {DAYS_MAX}", f"use {LEAF_DAYS_DEFAULT} unless you know better")
    return timedelta(days=days)


def make_ca(cluster_id: ClusterId, cluster_name: str, now: datetime, days: int = CA_DAYS_DEFAULT) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"thirdsite {cluster_name} CA")
    usage = _usage(signs_certificates=True)
    certificate = (
        _builder(name, name, key.public_key(), now, now + check_days(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{SCHEME}{cluster_id}")]), False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def make_leaf(
    authority: Authority, identity: Identity, hosts: Sequence[str], now: datetime, days: int = LEAF_DAYS_DEFAULT
) -> Pair:
    """A certificate for `identity` on the DNS names and addresses `hosts`; raises BadValue."""
    ends = now + check_days(days)
    ca_ends = authority.certificate.not_valid_after_utc
    if ends > ca_ends:
        raise BadValue("days", days, f"the CA itself ends on {ca_ends:%Y-%m-%d}", "ask for fewer days or renew the CA")
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in identity.uris()]
    names.extend(_host(host) for host in _checked_hosts(identity, hosts))
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name(str(identity)), authority.certificate.subject, key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(identity.role)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def cluster_of(ca: x509.Certificate) -> ClusterId:
    """The cluster id that a CA states; BadValue when it is no CA of ours."""
    uris = uris_of(ca)
    if len(uris) != 1 or not uris[0].startswith(SCHEME):
        raise BadValue("ca", uris, "a CA of thirdsite names its cluster", "make one with 'witness pki init'")
    return check_cluster_id(uris[0].removeprefix(SCHEME), "ca")


def uris_of(certificate: x509.Certificate) -> list[str]:
    return _names_of(certificate).get_values_for_type(x509.UniformResourceIdentifier)


def hosts_of(certificate: x509.Certificate) -> list[str]:
    names = _names_of(certificate)
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _names_of(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_ALLOWANCE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _purposes(role: Role) -> list[x509.ObjectIdentifier]:
    if role is Role.OPERATOR:
        return [ExtendedKeyUsageOID.CLIENT_AUTH]
    return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


def _checked_hosts(identity: Identity, hosts: Sequence[str]) -> Sequence[str]:
    if identity.role is Role.OPERATOR and hosts:
        raise BadValue("host", list(hosts), "an operator accepts no connections", "leave --host and --ip out")
    if identity.role is Role.WITNESS and not hosts:
        rule = "a witness needs the names or addresses at which it is called"
        raise BadValue("host", "", rule, "add --host NAME or --ip ADDRESS, as in the agents' configuration")
    if len(hosts) > HOSTS_MAX:
        raise BadValue("host", len(hosts), f"at most {HOSTS_MAX} names", "leave some out")
    return hosts


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        labels = text.split(".")
        fine = len(text) <= 253 and all(
            label.isascii() and 1 <= len(label) <= 63 and label.replace("-", "a").isalnum() for label in labels
        )
        if not fine:
            raise BadValue("host", text, "a host name or an address", "write it as agents will call it") from None
        return x509.DNSName(text)
