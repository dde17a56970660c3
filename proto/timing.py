"""Which timings are safe together. Each rule yields a violation with both numbers, for configuration errors.

The group's part (ttl, drift, lock delay) is checked by the witnesses when a group is configured; the site's part
(stop and kill budgets against the ttl) by each agent, which reports itself not eligible when it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto import limits
from proto.lease import LeaseConstants, takeover_wait_max
from proto.units import NS_PER_MS, DurationNs, InstantNs

ANSWER_WAIT_MS_MIN = 100
"""After this long an unanswered renewal is sent again through another witness."""


@dataclass(frozen=True, slots=True)
class SiteBudgets:
    """How long before the deadline a site's graceful stop and its kill begin, in milliseconds."""

    stop_budget_ms: int
    kill_budget_ms: int


@dataclass(frozen=True, slots=True)
class LocalDeadlines:
    """One authority, cut into the rungs that a guard needs; all on this host's BOOTTIME."""

    stop_at: InstantNs
    kill_at: InstantNs
    deadline: InstantNs


@dataclass(frozen=True, slots=True)
class TimingViolation:
    field: str
    value: str
    rule: str
    remedy: str


def default_budgets(ttl_ms: int) -> SiteBudgets:
    """A quarter of the lease for a graceful stop, a tenth (at least 100 ms) for the kill."""
    return SiteBudgets(stop_budget_ms=ttl_ms // 4, kill_budget_ms=max(100, ttl_ms // 10))


def renew_interval_ms(ttl_ms: int) -> int:
    return ttl_ms // limits.RENEWALS_PER_TTL


def local_deadlines(deadline: InstantNs, budgets: SiteBudgets) -> LocalDeadlines:
    return LocalDeadlines(
        stop_at=InstantNs(deadline - budgets.stop_budget_ms * NS_PER_MS),
        kill_at=InstantNs(deadline - budgets.kill_budget_ms * NS_PER_MS),
        deadline=deadline,
    )


def check_constants(constants: LeaseConstants) -> Iterator[TimingViolation]:
    for field, value, low, high in (
        ("ttl_ms", constants.ttl_ms, limits.TTL_MS_MIN, limits.TTL_MS_MAX),
        ("drift_max_ppm", constants.drift_max_ppm, 100, limits.DRIFT_MAX_PPM_MAX),
        ("lock_delay_ms", constants.lock_delay_ms, 0, limits.LOCK_DELAY_MS_MAX),
    ):
        if not low <= value <= high:
            yield TimingViolation(
                field, str(value), f"must lie between {low} and {high}", f"choose {field} in that range"
            )


def check_site(constants: LeaseConstants, budgets: SiteBudgets) -> Iterator[TimingViolation]:
    """The site's inequalities: floor < kill < stop, and one retry of a renewal before the stop begins."""
    ttl, stop, kill = constants.ttl_ms, budgets.stop_budget_ms, budgets.kill_budget_ms
    floor_ms = limits.GUARD_FLOOR_LEAD_NS // NS_PER_MS
    if kill < 2 * floor_ms:
        yield TimingViolation(
            "kill_budget_ms",
            str(kill),
            f"the kill must begin before the kernel's floor: at least 2 x {floor_ms} ms",
            f"set kill_budget_ms to {2 * floor_ms} or more",
        )
    if stop <= kill:
        yield TimingViolation(
            "stop_budget_ms",
            str(stop),
            f"the graceful stop must begin before the kill: stop_budget_ms > kill_budget_ms = {kill}",
            f"set stop_budget_ms above {kill}",
        )
    renew = renew_interval_ms(ttl)
    used = renew + ANSWER_WAIT_MS_MIN + stop
    if used > ttl:
        yield TimingViolation(
            "stop_budget_ms",
            str(stop),
            f"a renewal period ({renew} ms), one retry ({ANSWER_WAIT_MS_MIN} ms) and the stop ({stop} ms) make "
            f"{used} ms and must fit into ttl_ms = {ttl}",
            f"set stop_budget_ms to at most {max(0, ttl - renew - ANSWER_WAIT_MS_MIN)} or raise ttl_ms of the group",
        )


def takeover_max_ns(constants: LeaseConstants, activation_ms: int) -> DurationNs:
    """From a site's death to the other site's activation done: lease wait, four Raft rounds of 1 s, activation."""
    rounds = 4 * limits.PING_INTERVAL_NS
    return DurationNs(takeover_wait_max(constants) + limits.TIMER_WAKE_NS + rounds + activation_ms * NS_PER_MS)
