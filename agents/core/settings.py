"""What the agent's core needs to know, checked before it gets here (agents/config.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.timing import SiteBudgets
from proto.units import ClusterId, GroupId, LicenseName, SiteId, WitnessId


class ProbeKind(Enum):
    """How a probe or a down check looks (agents/probes has a body for each)."""

    TCP = "tcp"
    HTTP = "http"
    EXEC = "exec"


class ProbeRole(Enum):
    """What a probe's verdict means for its group."""

    READY = "ready"
    """Must pass for the site to be eligible."""
    SERVICE = "service"
    """Must pass while active, or the site reports itself unfit."""
    DATA = "data"
    """Must pass for a quarantine to be lifted by itself."""
    LAG = "lag"
    """Measures the replication lag in milliseconds."""


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    name: str
    role: ProbeRole
    rise: int
    """So many passes in a row make a failing probe pass."""
    fall: int
    """So many failures in a row make a passing probe fail."""


@dataclass(frozen=True, slots=True)
class LicenseSettings:
    name: LicenseName
    required: bool
    """Without a sealed key that opens the site does not start."""
    lock_delay_ms: int
    """The vendor's server keeps a session that long: the group's lock_delay must not be shorter."""
    watched: bool = False
    """The key in place can be looked at, and is kept in escrow."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    group: GroupId
    enforce: bool
    budgets: SiteBudgets | None
    """None: derived from the group's ttl (proto.timing.default_budgets)."""
    activation_timeout_ms: int
    deactivation_timeout_ms: int
    probes: tuple[ProbeSettings, ...]
    addresses: bool = False
    """The site has addresses with a lifetime in the kernel, which asks for a longer ttl (proto.timing)."""
    watchdog: bool = False
    reset_before_ms: int | None = None
    """Rungs of the ladder that ask for a longer kill budget."""
    licenses: tuple[LicenseSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentSettings:
    site: SiteId
    cluster: ClusterId
    agent_version: str
    store_id: bytes
    witnesses: tuple[WitnessId, ...]
    groups: tuple[GroupSettings, ...]
    peers: tuple[SiteId, ...] = ()
    """Other sites whose agents this one can ask over the site link, in the order in which they are tried."""
