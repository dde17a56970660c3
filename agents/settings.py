"""What a running agent is told, as plain values: the checked configuration without its file format.

`site-agent run` reads YAML with pydantic, hands these values to a fresh interpreter and is gone, so that the process
that stays carries neither (some 15 MB). Only paths travel, never a secret; steps' environments travel in a memory
file that nobody else can open.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from agents.components.spec import ComponentSpec
from agents.components.watching import component_probe_settings
from agents.core.member_looks import member_probe_settings
from agents.core.settings import (
    AgentSettings,
    GroupSettings,
    LicenseSettings,
    ProbeKind,
    ProbeRole,
    ProbeSettings,
)
from agents.license.spec import SiteLicense
from proto.edge.log_settings import LogSettings
from proto.timing import SiteBudgets
from proto.units import ClusterId, GroupId, MemberName, SiteId, WitnessId

STATUS_SOCKET = "status.sock"
EXEC_SOCKET = "agent.sock"
"""The name that `site-agent exec` looks for (agents/fencing/exec_options.py)."""


NO_MEMBER = MemberName("")
"""Of a step that runs on the lead's own host."""


class Endpoint(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TlsPaths:
    ca: Path
    cert: Path
    key: Path
    crl: Path | None = None


@dataclass(frozen=True, slots=True)
class StepSpec:
    name: str
    argv: tuple[str, ...]
    timeout_ms: int = 30_000
    retries: int = 0
    retry_delay_ms: int = 500
    env: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    undo: tuple[str, ...] = ()
    """Takes back what the step did, also half of it; runs with the step's timeout, retries and environment."""
    needs_ms: int = 0
    """With less left before the graceful stop it is not begun."""
    member: MemberName = NO_MEMBER
    """The member that runs it, by its own command for a step of this name."""


@dataclass(frozen=True, slots=True)
class PlanSpec:
    timeout_ms: int
    steps: tuple[StepSpec, ...]


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One of target and command is there, as `kind` says."""

    name: str
    kind: ProbeKind
    target: Endpoint | None
    command: tuple[str, ...]
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One of target, url and command is there, as `kind` says."""

    name: str
    role: ProbeRole
    kind: ProbeKind
    target: Endpoint | None
    url: str
    command: tuple[str, ...]
    statuses: tuple[int, ...]
    verify_tls: bool
    interval_ms: int
    timeout_ms: int
    rise: int
    fall: int


class AddressSpec(NamedTuple):
    address: str
    prefix: int
    interface: str


class PortSpec(NamedTuple):
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """What the kernel takes away at the deadline by itself."""

    addresses: tuple[AddressSpec, ...] = ()
    ports: tuple[PortSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class LadderSpec:
    """What ends the platform beside signals and the kernel's timer; `required` names the rungs that must be had."""

    cgroup: bool = True
    outside: tuple[str, ...] = ()
    watchdog: str = ""
    reset_trigger: str = ""
    reset_before_ms: int = 0
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupSpec:
    group: GroupId
    enforce: bool
    budgets: SiteBudgets | None
    activation: PlanSpec
    deactivation: PlanSpec
    checks: tuple[CheckSpec, ...]
    probes: tuple[ProbeSpec, ...]
    components: tuple[ComponentSpec, ...] = ()
    resources: ResourceSpec = ResourceSpec()
    on_epoch: tuple[StepSpec, ...] = ()
    ladder: LadderSpec = LadderSpec()
    licenses: tuple[SiteLicense, ...] = ()
    """Their steps are in the plans (agents/license/plan_steps.py)."""


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """A further host of this site, as its lead knows it."""

    name: MemberName
    groups: tuple[GroupId, ...]
    required: bool
    """The site is not ready without it, and not healthy while it does not hold."""


@dataclass(frozen=True, slots=True)
class PeerSiteSpec:
    """Another site's agent, and where it is dialled."""

    site: SiteId
    address: Endpoint


@dataclass(frozen=True, slots=True)
class SiteLinkSpec:
    """Where other sites' agents reach this one, and who they are."""

    listen: Endpoint
    peers: tuple[PeerSiteSpec, ...]


@dataclass(frozen=True, slots=True)
class SiteSettings:
    cluster: ClusterId
    site: SiteId
    tls: TlsPaths
    state_dir: Path
    runtime_dir: Path
    witnesses: tuple[tuple[WitnessId, Endpoint], ...]
    http: Endpoint | None
    groups: tuple[GroupSpec, ...]
    members: tuple[MemberSpec, ...] = ()
    members_listen: Endpoint | None = None
    site_link: SiteLinkSpec | None = None
    """None: nothing is relayed, and no hold is asked for or given."""
    log: LogSettings = field(default_factory=LogSettings)
    version: str = "0"
    """Of the distribution; looked up by the checker, because that needs libraries."""

    def members_of(self, group: GroupId, *, required: bool = False) -> tuple[MemberName, ...]:
        return tuple(one.name for one in self.members if group in one.groups and (one.required or not required))

    @property
    def exec_socket(self) -> Path:
        return self.runtime_dir / EXEC_SOCKET

    @property
    def status_socket(self) -> Path:
        return self.runtime_dir / STATUS_SOCKET


@dataclass(frozen=True, slots=True)
class MemberGroupSpec:
    """A group on a member: its steps run when the lead asks for them by name."""

    held: GroupSpec
    """Budgets, proof of down, components, resources and ladder; its plans have no steps."""
    steps: tuple[StepSpec, ...]


@dataclass(frozen=True, slots=True)
class MemberProcessSettings:
    """What a running member is told."""

    cluster: ClusterId
    site: SiteId
    member: MemberName
    lead: Endpoint
    tls: TlsPaths
    state_dir: Path
    runtime_dir: Path
    http: Endpoint | None
    groups: tuple[MemberGroupSpec, ...]
    log: LogSettings = field(default_factory=LogSettings)
    version: str = "0"

    @property
    def exec_socket(self) -> Path:
        return self.runtime_dir / EXEC_SOCKET

    @property
    def status_socket(self) -> Path:
        return self.runtime_dir / STATUS_SOCKET


def core_settings(site: SiteSettings, *, store_id: bytes) -> AgentSettings:
    """What the core needs of it."""
    return AgentSettings(
        site=site.site,
        cluster=site.cluster,
        agent_version=site.version,
        store_id=store_id,
        witnesses=tuple(witness for witness, _ in site.witnesses),
        peers=() if site.site_link is None else tuple(peer.site for peer in site.site_link.peers),
        groups=tuple(
            GroupSettings(
                group=group.group,
                enforce=group.enforce,
                budgets=group.budgets,
                activation_timeout_ms=group.activation.timeout_ms,
                deactivation_timeout_ms=group.deactivation.timeout_ms,
                probes=(
                    *(ProbeSettings(one.name, one.role, one.rise, one.fall) for one in group.probes),
                    *component_probe_settings(group.components),
                    *member_probe_settings(
                        one.name for one in site.members if one.required and group.group in one.groups
                    ),
                ),
                addresses=bool(group.resources.addresses),
                watchdog=bool(group.ladder.watchdog),
                reset_before_ms=group.ladder.reset_before_ms if group.ladder.reset_trigger else None,
                licenses=tuple(
                    LicenseSettings(one.name, one.required, one.lock_delay_ms, one.keeps and one.source is not None)
                    for one in group.licenses
                ),
            )
            for group in site.groups
        ),
    )


def to_json(settings: SiteSettings | MemberProcessSettings) -> str:
    return json.dumps(dataclasses.asdict(settings), default=plain)


def from_json(text: str) -> SiteSettings:
    """Reads what `to_json` of the same version wrote; anything else is a bug and raises."""
    settings: SiteSettings = built(SiteSettings, json.loads(text))
    return settings


def member_from_json(text: str) -> MemberProcessSettings:
    settings: MemberProcessSettings = built(MemberProcessSettings, json.loads(text))
    return settings


def plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else str(value)


def built(hint: Any, raw: Any) -> Any:
    """`raw` as the annotated type says; the counterpart of dataclasses.asdict."""
    hint = getattr(hint, "__supertype__", hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if raw is None else built(next(arg for arg in args if arg is not type(None)), raw)
    if origin is tuple:
        inner = [args[0]] * len(raw) if args[-1] is Ellipsis else args
        return tuple(built(one, item) for one, item in zip(inner, raw, strict=True))
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{name: built(hints[name], value) for name, value in raw.items()})  # type: ignore[operator]  # a class
    if isinstance(hint, type) and issubclass(hint, Endpoint | AddressSpec | PortSpec):
        return hint(*raw)
    if isinstance(hint, type) and issubclass(hint, Path | Enum):
        return hint(raw)
    return raw
