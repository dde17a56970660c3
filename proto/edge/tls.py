"""TLS for every connection: version 1.3, both ends with a certificate of the cluster's one private CA.

A handshake succeeds only when the other end's certificate is valid *and* states an identity that this end
accepts: the identity is judged inside the handshake, so no byte of an application goes to or comes from a peer
that is not entitled. Resumption is off: a ticket would outlive a revoked certificate.

Only the standard library is used here: agents and guards stay small without `cryptography`. To learn its own
identity a process shakes hands with itself in memory, which also proves that key, certificate, CA and validity
fit together before it listens anywhere.

Rejected: judging the identity after the handshake (each caller would have to remember), and trusting host names
alone (any certificate of the CA could pose as a witness on a host that it controls).
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proto.edge.identity import Identity, PeerRefused, Role, parse_identity, require_cluster, require_role
from proto.errors import BadValue, NotNow

_NOT_YET_VALID = 9
"""X509_V_ERR_CERT_NOT_YET_VALID of OpenSSL."""
Accept = Callable[[Identity], object]
"""Raises PeerRefused when the peer may not connect; `accepting` builds the usual ones."""
OnRefused = Callable[[str], None]
"""Told why a handshake failed; event loops keep that to themselves. Must not raise, and is called at any rate."""

SECONDS_PER_DAY = 86_400
EXPIRY_WARNING_DAYS = 30
_HANDSHAKE_ROUNDS_MAX = 8


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: the cluster's CA, this process's certificate and key, the CA's revocations if any."""

    ca: Path
    cert: Path
    key: Path
    crl: Path | None = None


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What this process will show to others."""

    identity: Identity
    not_after_s: int
    """Seconds since 1970 UTC."""

    def days_left(self, now_s: float) -> float:
        return (self.not_after_s - now_s) / SECONDS_PER_DAY


def _ignore(_why: str) -> None:
    """Nobody asked."""


def accepting(own: Identity, *roles: Role, name: str | None = None) -> Accept:
    """Accepts peers of the own cluster that have one of the roles (and that name)."""

    def accept(peer: Identity) -> object:
        require_cluster(peer, own.cluster_id)
        return require_role(peer, *roles, name=name)

    return accept


def server_context(files: TlsFiles, accept: Accept, on_refused: OnRefused = _ignore) -> ssl.SSLContext:
    context = _context(ssl.PROTOCOL_TLS_SERVER, files, accept, on_refused)
    context.num_tickets = 0
    return context


def client_context(files: TlsFiles, accept: Accept, *, check_hostname: bool = True) -> ssl.SSLContext:
    """`check_hostname=False` only where `accept` demands the very name that is being called."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, files, accept)
    context.check_hostname = check_hostname
    return context


def reload_files(context: ssl.SSLContext, files: TlsFiles) -> None:
    """New connections use what the files hold now; raises BadValue and keeps the old when they do not load.

    A CA is only ever added to a context; one that was taken out of the file stays trusted until a restart.
    """
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files)
    _load(context, files)


def identity_of(ssl_object: Any) -> Identity:
    """The peer of an established connection (`transport.get_extra_info("ssl_object")`); PeerRefused without one."""
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    if not certificate:
        raise PeerRefused("the connection shows no certificate")
    return _identity_in(certificate)


def own_certificate(files: TlsFiles) -> OwnCertificate:
    """Checks the files against each other and the calendar, and tells who they make this process."""
    server = _context(ssl.PROTOCOL_TLS_SERVER, files, lambda _: None)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # only the server's half, which judges our certificate, counts here
    _load(client, files)
    try:
        certificate = _shake_hands(server, client)
    except (ssl.SSLError, PeerRefused) as error:
        says = getattr(error, "verify_message", "") or str(error.args[-1])
        rule = f"does not hold against {files.ca}: {says}"
        if getattr(error, "verify_code", 0) == _NOT_YET_VALID:
            raise NotNow("tls.cert", str(files.cert), rule, "set this machine's clock") from error
        remedy = "issue it again with 'witness pki issue --force' and copy all three files"
        raise BadValue("tls.cert", str(files.cert), rule, remedy) from error
    return OwnCertificate(_identity_in(certificate), int(ssl.cert_time_to_seconds(certificate["notAfter"])))


def _context(protocol: int, files: TlsFiles, accept: Accept, on_refused: OnRefused = _ignore) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    if files.crl is not None:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    _load(context, files)
    context.sslobject_class = _judging(ssl.SSLObject, accept, on_refused)
    context.sslsocket_class = _judging(ssl.SSLSocket, accept, on_refused)
    return context


def _judging(base: type[Any], accept: Accept, on_refused: OnRefused) -> type[Any]:
    """The TLS end of the standard library whose handshake ends with our verdict on the peer's identity."""

    class Judging(base):  # type: ignore[misc]  # the base is one of two classes of ssl
        def do_handshake(self, *args: Any) -> None:
            try:
                super().do_handshake(*args)
                accept(identity_of(self))
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                on_refused(getattr(error, "verify_message", "") or error.reason or str(error))
                raise
            except PeerRefused as refused:
                on_refused(str(refused))
                # An SSLError is what event loops expect of a failed handshake: they close and go on.
                raise ssl.SSLCertVerificationError(1, str(refused)) from refused

    return Judging


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    _check_key_mode(files.key)
    try:
        context.load_verify_locations(cafile=files.ca)
        if files.crl is not None:
            context.load_verify_locations(cafile=files.crl)
    except (OSError, ssl.SSLError) as error:
        raise BadValue("tls.ca", str(files.ca), f"cannot be read as PEM: {error}", "copy ca.pem again") from error
    try:
        context.load_cert_chain(files.cert, files.key)
    except (OSError, ssl.SSLError) as error:
        rule = f"certificate and key {files.key} do not load: {error}"
        raise BadValue("tls.cert", str(files.cert), rule, "copy cert.pem and key.pem of one issue") from error


def _check_key_mode(key: Path) -> None:
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError as error:
        raise BadValue("tls.key", str(key), f"cannot be read: {error.strerror}", "copy key.pem there") from error
    if mode & stat.S_IRWXO:
        raise BadValue("tls.key", str(key), f"mode {mode:04o} lets everyone use it", f"chmod 600 {key}")


def _identity_in(certificate: dict[str, Any]) -> Identity:
    names = certificate.get("subjectAltName", ())
    return parse_identity(value for kind, value in names if kind == "URI")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Both ends in memory; the certificate that the client showed."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_HANDSHAKE_ROUNDS_MAX):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
            if end.server_side:
                return dict(end.getpeercert() or {})
    raise PeerRefused("the handshake with itself did not end")
