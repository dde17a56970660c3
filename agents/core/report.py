"""(2)(3) A group's HealthReport, as bytes that change only when something changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.core.settings import AgentSettings
from proto import limits
from proto.codec import REPORTS
from proto.health import HealthReport, SiteState
from proto.lease import LeaseConstants
from proto.timing import SiteBudgets, check_site
from proto.units import Epoch

if TYPE_CHECKING:
    from agents.core.group import GroupAgent

_BLOCKERS_BYTES_MAX = limits.REPORT_BYTES_MAX - 700
"""What remains of a report for words, after its fixed fields."""


def timing_blockers(constants: LeaseConstants, budgets: SiteBudgets) -> tuple[str, ...]:
    """Why this site's budgets do not fit the group's lease, with both numbers and the remedy."""
    return tuple(
        f"{found.field} {found.value}: {found.rule}; {found.remedy}" for found in check_site(constants, budgets)
    )


def report_bytes(group: GroupAgent, agent: AgentSettings, stored: tuple[Epoch, Epoch]) -> bytes:
    active = group.state is SiteState.ACTIVE
    timing = group.timing_blockers()
    trouble = (group.trouble,) if group.trouble else ()
    return REPORTS.encode(
        HealthReport(
            state=group.state,
            enforce=group.settings.enforce,
            ready=group.health.ready and not timing,
            healthy=group.health.healthy,
            data_checks=group.health.data_checks,
            epoch_bound=stored[0],
            finished_epoch=stored[1],
            group_version=group.group_version,
            store_id=agent.store_id,
            agent_version=agent.agent_version,
            containment=group.containment,
            blockers=_fitting(trouble + timing + group.health.blockers_while(active=active)),
        )
    )


def _fitting(words: tuple[str, ...]) -> tuple[str, ...]:
    """As many as fit a report; each cut to a line."""
    kept: list[str] = []
    left = _BLOCKERS_BYTES_MAX
    for word in words[: limits.BLOCKERS_MAX]:
        line = word[:200]
        left -= len(line.encode()) + 4
        if left < 0:
            break
        kept.append(line)
    return tuple(kept)
