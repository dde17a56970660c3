"""The directory of a cluster's CA: what is in it, who may read it, and that nothing in it is lost by accident.

    DIR/ca.pem DIR/ca.key          the CA; the key can issue any identity, keep it off the machines
    DIR/witness-w1/                ca.pem cert.pem key.pem, to be copied together to that machine
    DIR/agent-dc-a/                likewise
    DIR/issued.jsonl               one line for each certificate that was ever issued

Nothing is overwritten without `force`. Each file is replaced whole; a set torn by a crash is told apart at start
by the handshake that every process makes with itself (proto/edge/tls.py).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proto.edge.atomic_file import read_capped, write_atomic
from proto.edge.identity import (
    SERVES_GROUPS,
    Identity,
    OperatorRole,
    Role,
    agent_identity,
    member_identity,
    operator_identity,
    parse_operator_role,
    witness_identity,
)
from proto.edge.tls import TlsFiles
from proto.errors import BadValue
from proto.units import ClusterId, check_name
from witness.pki.certificates import (
    CA_DAYS_DEFAULT,
    LEAF_DAYS_DEFAULT,
    Authority,
    Pair,
    cluster_of,
    make_ca,
    make_leaf,
)

PEM_BYTES_MAX = 256 * 1024
RECORD_BYTES_MAX = 64 * 1024 * 1024
CLUSTER_NAME_DEFAULT = "cluster"
_PUBLIC_MODE = 0o644
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True, slots=True)
class CaPaths:
    directory: Path
    cert: Path
    key: Path
    cluster_id: ClusterId


@dataclass(frozen=True, slots=True)
class IssuedPaths:
    """Where the three files of one identity went."""

    directory: Path
    ca: Path
    cert: Path
    key: Path
    identity: Identity
    not_after: datetime

    def tls_files(self) -> TlsFiles:
        return TlsFiles(ca=self.ca, cert=self.cert, key=self.key)


def create_ca(
    directory: Path,
    *,
    cluster_name: str = CLUSTER_NAME_DEFAULT,
    days: int = CA_DAYS_DEFAULT,
    force: bool = False,
    now: datetime | None = None,
) -> CaPaths:
    """A new cluster id and its CA. `force` gives up an existing CA: everything it issued stops being accepted."""
    check_name(cluster_name, "cluster_name")
    paths = _ca_paths(directory)
    _refuse_existing(paths, force=force)
    cluster_id = ClusterId(secrets.token_hex(16))
    pair = make_ca(cluster_id, cluster_name, _now(now), days)
    _make_directory(directory)
    _write_pair(pair, cert=paths[0], key=paths[1])
    return CaPaths(directory, *paths, cluster_id)


def load_ca(directory: Path) -> Authority:
    cert, key = _ca_paths(directory)
    remedy = f"make one with 'witness pki init --dir {directory}' or name the directory that has it"
    certificate = read_certificate(cert, remedy)
    private = _read_key(key, remedy)
    if certificate.public_key() != private.public_key():
        raise BadValue("dir", str(directory), "ca.pem and ca.key do not belong together", "restore both from one copy")
    cluster_of(certificate)
    return Authority(certificate, private)


def issue(
    ca_dir: Path,
    kind: Role | str,
    name: str,
    *,
    hosts: Sequence[str] = (),
    groups: Sequence[str] = (),
    role: OperatorRole | str | None = None,
    days: int = LEAF_DAYS_DEFAULT,
    force: bool = False,
    out: Path | None = None,
    now: datetime | None = None,
) -> IssuedPaths:
    """Issues one identity into DIR/<kind>-<name>/ (or `out`): its certificate, its key and a copy of the CA.

    `hosts` are DNS names and addresses under which it accepts connections; `groups` are for agents, `role` for
    operators. Raises BadValue, and has then written nothing.
    """
    authority = load_ca(ca_dir)
    identity = _identity(authority.cluster_id, _kind(kind), name, groups, role)
    directory = ca_dir / f"{identity.role.value}-{identity.name}" if out is None else out
    ca, cert, key = (directory / file for file in ("ca.pem", "cert.pem", "key.pem"))
    _refuse_existing((cert, key), force=force)
    pair = make_leaf(authority, identity, hosts, _now(now), days)
    _record(ca_dir, identity, pair.certificate)
    _make_directory(directory)
    write_atomic(ca, authority.certificate.public_bytes(serialization.Encoding.PEM), mode=_PUBLIC_MODE)
    _write_pair(pair, cert=cert, key=key)
    return IssuedPaths(directory, ca, cert, key, identity, pair.certificate.not_valid_after_utc)


def read_certificate(path: Path, remedy: str = "name a certificate in PEM form") -> x509.Certificate:
    content = _read(path, remedy)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise BadValue("file", str(path), "is not a certificate in PEM form", remedy) from error


def _read_key(path: Path, remedy: str) -> ec.EllipticCurvePrivateKey:
    content = _read(path, remedy)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise BadValue("file", str(path), "is not a private key in PEM form", remedy) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadValue("file", str(path), "is not a P-256 key", remedy)
    return key


def _read(path: Path, remedy: str) -> bytes:
    try:
        return read_capped(path, PEM_BYTES_MAX)
    except OSError as error:
        raise BadValue("file", str(path), f"cannot be read: {error.strerror}", remedy) from error


def _ca_paths(directory: Path) -> tuple[Path, Path]:
    return directory / "ca.pem", directory / "ca.key"


def _now(now: datetime | None) -> datetime:
    return datetime.now(UTC) if now is None else now


def _kind(kind: Role | str) -> Role:
    try:
        return Role(kind)
    except ValueError:
        allowed = ", ".join(role.value for role in Role)
        raise BadValue("kind", kind, f"one of {allowed}", "say what the certificate is for") from None


def _identity(
    cluster_id: ClusterId, kind: Role, name: str, groups: Sequence[str], role: OperatorRole | str | None
) -> Identity:
    if groups and kind not in SERVES_GROUPS:
        raise BadValue("groups", list(groups), "only agents and members serve groups", "leave --groups out")
    if role is not None and kind is not Role.OPERATOR:
        raise BadValue("role", str(role), "only operators have a role", "leave --role out")
    if kind is Role.WITNESS:
        return witness_identity(cluster_id, name)
    if kind is Role.AGENT:
        return agent_identity(cluster_id, name, groups)
    if kind is Role.MEMBER:
        return member_identity(cluster_id, name, groups)
    chosen = role if isinstance(role, OperatorRole) else parse_operator_role(role or "")
    return operator_identity(cluster_id, name, chosen)


def _refuse_existing(paths: Sequence[Path], *, force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise BadValue("dir", str(path), "exists already", "choose another directory, or replace it with --force")


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise BadValue("dir", str(directory), f"cannot be made: {error.strerror}", "choose another place") from error


def _write_pair(pair: Pair, *, cert: Path, key: Path) -> None:
    write_atomic(key, pair.key_pem())
    write_atomic(cert, pair.certificate_pem(), mode=_PUBLIC_MODE)


def _record(ca_dir: Path, identity: Identity, certificate: x509.Certificate) -> None:
    """Before the certificate exists anywhere: what was issued can always be found again, and revoked."""
    path = ca_dir / "issued.jsonl"
    known = read_capped(path, RECORD_BYTES_MAX) if path.exists() else b""
    line = {
        "serial": f"{certificate.serial_number:x}",
        "identity": list(identity.uris()),
        "issued": certificate.not_valid_before_utc.isoformat(),
        "expires": certificate.not_valid_after_utc.isoformat(),
    }
    write_atomic(path, known + json.dumps(line, sort_keys=True).encode() + b"\n")
