"""A throw-away PKI for peer connections: one CA, one certificate a witness, the name in a URI SAN."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proto.errors import RemoteFault
from proto.units import ClusterId, WitnessId
from witness.raft.peer_transport import PeerTls

_DAY = dt.timedelta(days=1)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, uri: str | None
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=uri is None, path_length=None), critical=True)
    )
    if uri is not None:
        names = [x509.UniformResourceIdentifier(uri), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


def make_tls(cluster: ClusterId, witnesses: Iterable[WitnessId]) -> dict[WitnessId, PeerTls]:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_pem = _certificate("ca", ca_key, "ca", ca_key, None).public_bytes(serialization.Encoding.PEM).decode()
    prefix = f"thirdsite://{cluster}/witness/"

    def identify(connection: ssl.SSLObject) -> str:
        der = connection.getpeercert(binary_form=True)
        if der is None:
            raise RemoteFault("no certificate")
        names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
        if len(uris) != 1 or not uris[0].startswith(prefix):
            raise RemoteFault("not a witness of this cluster")
        return uris[0].removeprefix(prefix)

    made = {}
    for witness in witnesses:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(witness, key, "ca", ca_key, prefix + witness)
        made[witness] = PeerTls(
            server=_context(ssl.PROTOCOL_TLS_SERVER, ca_pem, certificate, key),
            client=_context(ssl.PROTOCOL_TLS_CLIENT, ca_pem, certificate, key),
            identify=identify,
        )
    return made


def _context(
    protocol: int, ca_pem: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca_pem)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "both.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    return context
