"""(2)(3) A group's HealthReport, as bytes that change only when something changed."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from agents.core.health import HealthSummary
from agents.core.settings import AgentSettings, GroupSettings
from proto import limits
from proto.codec import REPORTS
from proto.health import HealthReport, SiteState
from proto.holds import HoldMark
from proto.lease import LeaseConstants
from proto.license import LicenseReport
from proto.permit import PermitMark
from proto.timing import SiteBudgets, check_addresses, check_ladder, check_site, default_budgets
from proto.units import Epoch

_CONTAINMENT_BYTES_MAX = 400
_BLOCKERS_BYTES_MAX = limits.REPORT_BYTES_MAX - 800
"""What remains of a report for words, after its fixed fields."""
_LICENSE_BYTES_MAX = 150
"""Of each license: its name, a version and a problem's code."""
_STOPPING = "this agent is being stopped"
_TERSE_BYTES_MAX = 40
"""Of the containment's words in a terse report, which has no others."""


class HoldsReport(NamedTuple):
    """Nothing of it is said before a witness spoke of holds: an older one could not read it."""

    promising: bool = False
    promised: HoldMark | None = None
    holding: HoldMark | None = None


class Reported(Protocol):
    """What a group says of itself (agents/core/group.py)."""

    state: SiteState
    health: HealthSummary
    containment: str
    trouble: str

    @property
    def group_version(self) -> int: ...
    @property
    def holds(self) -> HoldsReport: ...
    @property
    def told_permit(self) -> PermitMark | None: ...
    def license_reports(self) -> tuple[LicenseReport, ...]: ...
    def host_blockers(self) -> tuple[str, ...]: ...


class Timed(Protocol):
    """What of a host's settings must fit the group's lease; of an agent's group, and of a member's."""

    @property
    def budgets(self) -> SiteBudgets | None: ...
    @property
    def addresses(self) -> bool: ...
    @property
    def watchdog(self) -> bool: ...
    @property
    def reset_before_ms(self) -> int | None: ...


def site_budgets(settings: Timed, constants: LeaseConstants) -> SiteBudgets:
    return settings.budgets or default_budgets(constants.ttl_ms)


def timing_blockers(constants: LeaseConstants | None, settings: Timed) -> tuple[str, ...]:
    """Why this site's budgets or addresses do not fit the group's lease, with both numbers and the remedy.

    Nothing is said before the lease is known.
    """
    if constants is None:
        return ()
    budgets = site_budgets(settings, constants)
    violations = list(check_site(constants, budgets))
    violations += check_ladder(budgets, watchdog=settings.watchdog, reset_before_ms=settings.reset_before_ms)
    if settings.addresses:
        violations += check_addresses(constants)
    return tuple(f"{found.field} {found.value}: {found.rule}; {found.remedy}" for found in violations)


def report_bytes(
    settings: GroupSettings,
    agent: AgentSettings,
    group: Reported,
    *,
    stored: tuple[Epoch, Epoch],
    closing: bool,
    terse: bool,
) -> bytes:
    """`stored` are the bounds that are on disk; timing and trouble are said before what the probes found.

    A closing agent claims nothing, so it is not ready: a grant to it would only run out.
    """
    state, health, timing = group.state, group.health, group.host_blockers()
    trouble, licenses = group.trouble, group.license_reports()
    room = _BLOCKERS_BYTES_MAX - _LICENSE_BYTES_MAX * len(licenses)
    said = ((trouble,) if trouble else ()) + timing + ((_STOPPING,) if closing else ())
    return REPORTS.encode(
        HealthReport(
            state=state,
            enforce=settings.enforce,
            ready=health.ready and not timing and not closing,
            healthy=health.healthy,
            data_checks=health.data_checks,
            epoch_bound=stored[0],
            finished_epoch=stored[1],
            group_version=group.group_version,
            store_id=agent.store_id,
            agent_version=agent.agent_version,
            containment=_cut(group.containment, _TERSE_BYTES_MAX if terse else _CONTAINMENT_BYTES_MAX),
            blockers=() if terse else _fitting(said + health.blockers_while(active=state is SiteState.ACTIVE), room),
            promising=group.holds.promising,
            promised=group.holds.promised,
            holding=group.holds.holding,
            permit=group.told_permit,
            licenses=licenses,
        )
    )


def _cut(words: str, bytes_max: int) -> str:
    """At most so many bytes; what is no valid text (a path of strange bytes) does not stop a heartbeat."""
    return words.encode("utf-8", "replace")[:bytes_max].decode("utf-8", "ignore")


def _fitting(words: tuple[str, ...], left: int) -> tuple[str, ...]:
    """As many as fit into so many bytes; each cut to a line."""
    kept: list[str] = []
    for word in words[: limits.BLOCKERS_MAX]:
        line = _cut(word[:200], 4 * 200)
        left -= len(line.encode()) + 4
        if left < 0:
            break
        kept.append(line)
    return tuple(kept)
