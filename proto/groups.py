"""A group's configuration as it is replicated, and the modes that a group can be in."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from proto import limits
from proto.errors import BadValue
from proto.lease import LeaseConstants
from proto.license import LicenseSpec, check_licenses
from proto.permit import AFTER_MS_DEFAULT, PermitTerms, check_terms
from proto.timing import check_constants
from proto.units import GroupId, SiteId, check_name


class Mode(Enum):
    """Who may move a group. Leases are enforced in every mode but `observe`, which grants none."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    OBSERVE = "observe"
    PAUSED = "paused"


class Failback(Enum):
    MANUAL = "manual"
    AUTOMATIC = "automatic"


class WitnessLoss(Enum):
    """What the active site does when no witness answers it and no other site relays (DESIGN section 6)."""

    FENCE = "fence"
    HOLD = "hold"
    """It goes on while every other site holds, that is, promises not to begin."""


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """One protected platform. `sites` are in order of preference; the first is the preferred site."""

    group: GroupId
    sites: tuple[SiteId, ...]
    constants: LeaseConstants
    mode: Mode = Mode.AUTOMATIC
    """The mode at creation; later changes go through `witnessctl mode`."""
    unhealthy_for_ms: int = 30_000
    """A handover away from an unfit active site happens after this long."""
    max_replication_lag_ms: int | None = None
    failback: Failback = Failback.MANUAL
    failback_after_ms: int = 600_000
    """Automatic failback waits until the preferred site was fit for this long."""
    cooldown_ms: int = 60_000
    moves_max: int = 3
    """At most this many automatic moves away from a running site ..."""
    moves_window_ms: int = 3_600_000
    """... within this window."""
    handover_timeout_ms: int = limits.HANDOVER_TIMEOUT_MS_DEFAULT
    """A handed-over site that has not released by then gets no more renewals and is fenced by its lease."""
    activation_backoff_ms: int = 60_000
    """After a failed activation a site is not tried again for this long."""
    labels: tuple[tuple[str, str], ...] = field(default=())
    witness_loss: WitnessLoss = WitnessLoss.FENCE
    """FENCE is what the first feature level knew; a group's file says HOLD unless it says otherwise."""
    break_glass_key: str = ""
    """Of Ed25519, the public half in hex: who holds the other half may sign permits (proto.permit); '': nobody may."""
    break_glass_after_ms: int = AFTER_MS_DEFAULT
    """A permit is taken only after the witnesses answered nothing for this long."""
    licenses: tuple[LicenseSpec, ...] = ()
    """What may be activated in one place only, and whether its key is kept in escrow."""

    @property
    def permits(self) -> PermitTerms:
        return PermitTerms(self.break_glass_key, self.break_glass_after_ms)


BOUNDS: tuple[tuple[str, int, int], ...] = (
    ("unhealthy_for_ms", 0, 86_400_000),
    ("failback_after_ms", 0, 604_800_000),
    ("cooldown_ms", 0, 86_400_000),
    ("moves_max", 1, 1_000),
    ("moves_window_ms", 1_000, 604_800_000),
    ("handover_timeout_ms", 1_000, limits.HANDOVER_TIMEOUT_MS_MAX),
    ("activation_backoff_ms", 0, 86_400_000),
)
LAG_MS_MAX = 86_400_000


def check_group(config: GroupConfig) -> None:
    """Raises BadValue for the first rule that the configuration breaks; the machine refuses the same."""
    check_name(config.group, "group")
    if not 2 <= len(config.sites) <= limits.SITES_PER_GROUP_MAX:
        raise BadValue(
            f"groups.{config.group}.sites",
            list(config.sites),
            f"a group has 2 to {limits.SITES_PER_GROUP_MAX} sites",
            "name each datacenter once, the preferred one first",
        )
    for site in config.sites:
        check_name(site, f"groups.{config.group}.sites")
    if len(set(config.sites)) != len(config.sites):
        raise BadValue(f"groups.{config.group}.sites", list(config.sites), "sites must differ", "remove the repetition")
    for violation in check_constants(config.constants):
        raise BadValue(f"groups.{config.group}.{violation.field}", violation.value, violation.rule, violation.remedy)
    for name, low, high in BOUNDS:
        value = getattr(config, name)
        if not low <= value <= high:
            raise BadValue(f"groups.{config.group}.{name}", value, f"must lie between {low} and {high}", "change it")
    check_terms(config.permits, f"groups.{config.group}.break_glass_")
    check_licenses(config.licenses, f"groups.{config.group}.licenses")
    lag = config.max_replication_lag_ms
    if lag is not None and not 0 <= lag <= LAG_MS_MAX:
        raise BadValue(
            f"groups.{config.group}.max_replication_lag_ms", lag, f"must lie between 0 and {LAG_MS_MAX}", "change it"
        )
