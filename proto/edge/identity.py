"""Who a certificate says its holder is: exactly one role, and for an agent the groups that it may speak for.

The identity stands in the certificate's subject alternative names as URIs, never in its common name:

    thirdsite://<cluster>/witness/<id>
    thirdsite://<cluster>/agent/<site>       and  thirdsite://<cluster>/group/<group>  or  .../group/*
    thirdsite://<cluster>/member/<host>.<site>   and  the same for its groups
    thirdsite://<cluster>/operator/<name>?role=viewer|operator|admin

The parse is exact and fails closed: what is not fully understood is refused, and so are two identities in one
certificate, or a certificate of another cluster. Rejected: reading roles from the subject (free text that any
tool fills differently), and ignoring unknown URIs (a newer, stricter meaning would be dropped silently).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

from proto.errors import BadValue, RemoteFault
from proto.units import ClusterId, GroupId, check_name

SCHEME = "thirdsite://"
GROUPS_PER_CERTIFICATE_MAX = 256
"""Beyond this a handshake grows past what TLS stacks take by default; use '*'."""
MEMBER_CHARS_MAX = 63
ALL_GROUPS = "*"

_CLUSTER = re.compile(r"[0-9a-f]{32}")
_URI = re.compile(
    r"thirdsite://([0-9a-f]{32})/(witness|agent|member|operator|group)/([a-z0-9._*-]{1,63})(?:\?role=([a-z]{1,16}))?"
)
_OPERATOR = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


class Role(Enum):
    WITNESS = "witness"
    AGENT = "agent"
    MEMBER = "member"
    """A further host of a site; it speaks to its lead agent only."""
    OPERATOR = "operator"


SERVES_GROUPS = frozenset({Role.AGENT, Role.MEMBER})


class OperatorRole(IntEnum):
    """Ordered: each may do what the ones before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


class PeerRefused(RemoteFault):
    """The other end's certificate does not entitle it to what it asks; the text names what it showed."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the other end is, proved by its certificate."""

    cluster_id: ClusterId
    role: Role
    name: str
    groups: frozenset[GroupId] = frozenset()
    all_groups: bool = False
    operator_role: OperatorRole | None = None

    def may_serve(self, group: GroupId) -> bool:
        return self.role in SERVES_GROUPS and (self.all_groups or group in self.groups)

    def uris(self) -> tuple[str, ...]:
        """The certificate's URIs that `parse_identity` turns into this identity."""
        base = f"{SCHEME}{self.cluster_id}"
        suffix = f"?role={self.operator_role.name.lower()}" if self.operator_role is not None else ""
        groups = (ALL_GROUPS,) if self.all_groups else tuple(sorted(self.groups))
        return (f"{base}/{self.role.value}/{self.name}{suffix}", *(f"{base}/group/{group}" for group in groups))

    def __str__(self) -> str:
        role = f" ({self.operator_role.name.lower()})" if self.operator_role is not None else ""
        return f"{self.role.value} {self.name}{role}"


def check_cluster_id(value: str, field: str = "cluster_id") -> ClusterId:
    if not isinstance(value, str) or _CLUSTER.fullmatch(value) is None:
        raise BadValue(field, value, "32 lower-case hex digits", "take it from 'witness pki show ca.pem'")
    return ClusterId(value)


def check_operator_name(value: str, field: str = "operator") -> str:
    if _OPERATOR.fullmatch(value) is None:
        raise BadValue(field, value, "1 to 63 of a-z, 0-9, '.', '_' and '-'", "choose a short lower-case name")
    return value


def parse_operator_role(value: str, field: str = "role") -> OperatorRole:
    roles = {role.name.lower(): role for role in OperatorRole}
    if value not in roles:
        raise BadValue(field, value, f"one of {', '.join(roles)}", "choose the least that is needed")
    return roles[value]


def agent_identity(cluster_id: ClusterId, site: str, groups: Iterable[str]) -> Identity:
    """`groups` are names, or '*' alone; raises BadValue."""
    return _serving(cluster_id, Role.AGENT, check_name(site, "site"), groups)


def member_identity(cluster_id: ClusterId, name: str, groups: Iterable[str]) -> Identity:
    """`name` is HOST.SITE, so that a member of one site is nobody at another; raises BadValue."""
    host, dot, site = name.partition(".")
    if not dot or len(name) > MEMBER_CHARS_MAX:
        rule = f"a member is named HOST.SITE, at most {MEMBER_CHARS_MAX} characters"
        raise BadValue("member", name, rule, "write for example 'db1.dc-a'")
    check_name(host, "member")
    check_name(site, "site")
    return _serving(cluster_id, Role.MEMBER, name, groups)


def member_certificate_name(member: str, site: str) -> str:
    """As it stands in the certificate of a site's member."""
    return f"{member}.{site}"


def _serving(cluster_id: ClusterId, role: Role, name: str, groups: Iterable[str]) -> Identity:
    names = tuple(groups)
    every = ALL_GROUPS in names
    if not names or (every and len(set(names)) > 1):
        raise BadValue("groups", list(names), "the groups by name, or '*' alone", "name what this site may serve")
    if len(names) > GROUPS_PER_CERTIFICATE_MAX:
        raise BadValue("groups", len(names), f"at most {GROUPS_PER_CERTIFICATE_MAX} groups", "use '*'")
    named = frozenset() if every else frozenset(GroupId(check_name(name, "groups")) for name in names)
    return Identity(cluster_id, role, name, named, every)


def witness_identity(cluster_id: ClusterId, witness: str) -> Identity:
    return Identity(cluster_id, Role.WITNESS, check_name(witness, "witness"))


def operator_identity(cluster_id: ClusterId, name: str, role: OperatorRole) -> Identity:
    return Identity(cluster_id, Role.OPERATOR, check_operator_name(name), operator_role=role)


def parse_identity(uris: Iterable[str]) -> Identity:
    """The one identity that the URIs of a certificate state; raises PeerRefused with what is wrong."""
    holders: list[tuple[str, str, str, str | None]] = []
    groups: list[tuple[str, str]] = []
    for uri in uris:
        match = _URI.fullmatch(uri)
        if match is None:
            raise PeerRefused(f"certificate: {uri[:120]!r} is no identity of thirdsite")
        cluster, kind, name, role = match.groups()
        if kind != Role.OPERATOR.value and role is not None:
            raise PeerRefused(f"certificate: {uri!r} carries a role, which only operators have")
        if kind == "group":
            groups.append((cluster, name))
        else:
            holders.append((cluster, kind, name, role))
    if len(holders) != 1:
        raise PeerRefused(f"certificate: {len(holders)} identities, exactly one is needed")
    cluster, kind, name, role = holders[0]
    if any(other != cluster for other, _ in groups):
        raise PeerRefused("certificate: it mixes two clusters")
    try:
        return _build(ClusterId(cluster), Role(kind), name, [group for _, group in groups], role)
    except BadValue as error:
        raise PeerRefused(f"certificate: {error}") from error


def _build(cluster: ClusterId, kind: Role, name: str, groups: list[str], role: str | None) -> Identity:
    if kind is Role.AGENT:
        return agent_identity(cluster, name, groups)
    if kind is Role.MEMBER:
        return member_identity(cluster, name, groups)
    if groups:
        raise BadValue("groups", groups, "only agents and members serve groups", "issue it again without groups")
    if kind is Role.WITNESS:
        return witness_identity(cluster, name)
    return operator_identity(cluster, name, parse_operator_role(role or ""))


def require_cluster(identity: Identity, cluster_id: ClusterId) -> None:
    if identity.cluster_id != cluster_id:
        says = f"{identity} belongs to cluster {identity.cluster_id}, this is cluster {cluster_id}"
        raise PeerRefused(says)


def require_role(identity: Identity, *roles: Role, name: str | None = None) -> Identity:
    """The identity itself when it has one of the roles (and that name); else PeerRefused."""
    if identity.role not in roles:
        wanted = " or ".join(role.value for role in roles)
        raise PeerRefused(f"{identity} is refused: the role {wanted} is needed")
    if name is not None and identity.name != name:
        raise PeerRefused(f"{identity} is refused: its certificate does not speak for {name!r}")
    return identity


def require_operator(identity: Identity, at_least: OperatorRole) -> Identity:
    require_role(identity, Role.OPERATOR)
    if identity.operator_role is None or identity.operator_role < at_least:
        raise PeerRefused(f"{identity} is refused: this needs the role {at_least.name.lower()}")
    return identity
