"""(2) What one site can say about itself for one group, as the agent folded it from its probes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from proto.holds import HoldMark
from proto.license import LicenseReport
from proto.permit import PermitMark
from proto.units import Epoch


class SiteState(Enum):
    """The site's life cycle (agents/core/site.py holds its transitions)."""

    UNKNOWN = "unknown"
    STANDBY = "standby"
    ACTIVATING = "activating"
    ACTIVE = "active"
    DEACTIVATING = "deactivating"
    FENCING = "fencing"
    FENCED = "fenced"


DORMANT_STATES = frozenset({SiteState.STANDBY, SiteState.FENCED})
"""States in which everything that runs in the active role is verified down."""


class DataChecks(Enum):
    NONE = "none"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One site's word about one group. It changes rarely; the codec's bytes are compared before decoding."""

    state: SiteState
    enforce: bool
    """False: the agent probes and reports but never starts, stops or fences; such a site is never granted."""
    ready: bool
    """The readiness probes pass and the site's timing fits: it may be activated."""
    healthy: bool
    """The service probes pass; judged only while the site is active."""
    data_checks: DataChecks
    epoch_bound: Epoch
    """Durable: the highest epoch that this site ever acted upon."""
    finished_epoch: Epoch
    """Durable: every epoch up to this one has ended here for good, verified down."""
    group_version: int
    """Version of the group's configuration that this agent knows, 0 when none."""
    store_id: bytes
    """128 random bits drawn when the agent's store was made: another id under one site's name is noticed."""
    agent_version: str
    containment: str
    """How processes are held: 'pid-namespace', or in words what is weaker."""
    blockers: tuple[str, ...] = ()
    """Why not ready or not healthy, in words, each at most a line."""
    promising: bool = False
    """A promise to another site's holder is outstanding, or one may be from before a cold start: it claims nothing."""
    promised: HoldMark | None = None
    """The last promise that it gave, outstanding or over; durable."""
    holding: HoldMark | None = None
    """It is active by the holds of all other sites: the last round that every one of them answered positively."""
    permit: PermitMark | None = None
    """It is active under this break-glass permit, which no witness granted."""
    licenses: tuple[LicenseReport, ...] = ()
    """Every license that this agent is configured for."""

    @property
    def verified_down(self) -> bool:
        return self.state in DORMANT_STATES
