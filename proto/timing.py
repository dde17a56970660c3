"""Which timings are safe together. Each rule yields a violation with both numbers, for configuration errors.

The group's part (ttl, drift, lock delay) is checked by the witnesses when a group is configured; the site's part
(stop and kill budgets against the ttl) by each agent, which reports itself not eligible when it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto import limits
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, DurationNs, InstantNs

ANSWER_WAIT_MS_MIN = 100
"""After this long an unanswered renewal is sent again through another witness."""
URGENT_SPACING_NS = DurationNs(10 * NS_PER_MS)
"""Changes that come together leave in one heartbeat, or in one ask of a member."""
ANSWER_WAIT_ROUND_TRIPS = 4
"""... or after so many round trips, whichever is longer; twice as long each time once all witnesses were tried ..."""
ANSWER_WAIT_DOUBLINGS_MAX = 4
ANSWER_WAIT_MS_MAX = 1_000
"""... up to this, or the renewal interval."""

ADDRESS_RESERVE_MS = 1_750
"""What an address's lifetime in the kernel must leave of a lease: a late look of the kernel and a late message."""
ADDRESS_LIFETIME_STEP_MS = 1_000


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


def answer_wait_ns(round_trip_ns: int, rounds: int) -> int:
    """How long an agent waits for an answer; `rounds`: how often it found nobody among all its witnesses."""
    wait_ns = max(ANSWER_WAIT_MS_MIN * NS_PER_MS, ANSWER_WAIT_ROUND_TRIPS * round_trip_ns)
    return min(wait_ns << min(rounds, ANSWER_WAIT_DOUBLINGS_MAX), ANSWER_WAIT_MS_MAX * NS_PER_MS)


def last_wait_ns(silence_ns: int, round_trip_ns: int, interval_ns: int, witnesses: int) -> int:
    """The wait that runs when a silence of all witnesses ends: the next attempt comes after it at the latest."""
    attempts, gone_ns = 0, 0
    while True:
        attempts += 1
        wait_ns = min(answer_wait_ns(round_trip_ns, max(0, attempts - witnesses)), interval_ns)
        gone_ns += wait_ns
        if gone_ns >= silence_ns:
            return wait_ns


def local_deadlines(deadline: InstantNs, budgets: SiteBudgets) -> LocalDeadlines:
    return LocalDeadlines(
        stop_at=InstantNs(deadline - budgets.stop_budget_ms * NS_PER_MS),
        kill_at=InstantNs(deadline - budgets.kill_budget_ms * NS_PER_MS),
        deadline=deadline,
    )


def check_constants(constants: LeaseConstants) -> Iterator[TimingViolation]:
    for field, value, low, high in (
        ("ttl_ms", constants.ttl_ms, limits.TTL_MS_MIN, limits.TTL_MS_MAX),
        ("drift_max_ppm", constants.drift_max_ppm, limits.DRIFT_MAX_PPM_MIN, limits.DRIFT_MAX_PPM_MAX),
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
            "kill_budget",
            f"{kill} ms",
            f"the kill must begin before the kernel's floor: at least 2 x {floor_ms} ms",
            f"set kill_budget to {2 * floor_ms}ms or more",
        )
    if stop <= kill:
        yield TimingViolation(
            "stop_budget",
            f"{stop} ms",
            f"the graceful stop must begin before the kill: stop_budget > kill_budget = {kill} ms",
            f"set stop_budget above {kill}ms",
        )
    renew = renew_interval_ms(ttl)
    used = renew + ANSWER_WAIT_MS_MIN + stop
    if used > ttl:
        yield TimingViolation(
            "stop_budget",
            f"{stop} ms",
            f"a renewal period ({renew} ms), one retry ({ANSWER_WAIT_MS_MIN} ms) and the stop ({stop} ms) make "
            f"{used} ms and must fit into ttl = {ttl} ms",
            f"set stop_budget to at most {max(0, ttl - renew - ANSWER_WAIT_MS_MIN)}ms or raise the group's ttl",
        )


WATCHDOG_WINDOW_MS = 1_300
"""Before the deadline: when a watchdog that counts whole seconds may reset the host (agents/fencing/watchdog.py)."""
KILL_PROOF_MS = 200
"""For a kill to be proven before a harder rung takes over."""


def check_ladder(budgets: SiteBudgets, *, watchdog: bool, reset_before_ms: int | None) -> Iterator[TimingViolation]:
    """The kill is over before the watchdog or the reset may come, and the reset before the kernel's floor."""
    kill = budgets.kill_budget_ms
    floor_ms = limits.GUARD_FLOOR_LEAD_NS // NS_PER_MS
    if watchdog and kill < WATCHDOG_WINDOW_MS + KILL_PROOF_MS:
        yield TimingViolation(
            "kill_budget",
            f"{kill} ms",
            f"a watchdog counts whole seconds and may reset the host {WATCHDOG_WINDOW_MS} ms before the deadline; the "
            f"kill must be proven before that: kill_budget >= {WATCHDOG_WINDOW_MS + KILL_PROOF_MS} ms",
            f"set kill_budget to {WATCHDOG_WINDOW_MS + KILL_PROOF_MS}ms or more, or remove the watchdog",
        )
    if reset_before_ms is None:
        return
    if reset_before_ms < 2 * floor_ms:
        yield TimingViolation(
            "reset.before",
            f"{reset_before_ms} ms",
            f"the reset must come before the kernel's floor: at least 2 x {floor_ms} ms",
            f"set it to {2 * floor_ms} ms or more",
        )
    if kill < reset_before_ms + KILL_PROOF_MS:
        yield TimingViolation(
            "kill_budget",
            f"{kill} ms",
            f"the kill must be proven before the reset: kill_budget >= reset.before + {KILL_PROOF_MS} ms = "
            f"{reset_before_ms + KILL_PROOF_MS} ms",
            f"set kill_budget to {reset_before_ms + KILL_PROOF_MS}ms or more, or lower reset.before",
        )


def address_lifetime_ms(left_ms: int) -> int:
    """For how long an address may live in the kernel (whole seconds) when a lease has `left_ms` left."""
    return max(0, (left_ms - ADDRESS_RESERVE_MS) // ADDRESS_LIFETIME_STEP_MS * ADDRESS_LIFETIME_STEP_MS)


def check_addresses(constants: LeaseConstants) -> Iterator[TimingViolation]:
    """An address that a renewal prolongs must live until the next one, with a retry each."""
    ttl = constants.ttl_ms
    lives, needed = address_lifetime_ms(ttl - ANSWER_WAIT_MS_MIN), _address_must_live_ms(ttl)
    if lives >= needed:
        return
    enough = next(
        at
        for at in range(ttl, limits.TTL_MS_MAX, 50)
        if address_lifetime_ms(at - ANSWER_WAIT_MS_MIN) >= _address_must_live_ms(at)
    )
    yield TimingViolation(
        "ttl_ms",
        str(ttl),
        f"an address lives in the kernel for whole seconds, here {lives} ms (ttl less {ADDRESS_RESERVE_MS} ms and an "
        f"answer's wait), and must outlive a renewal period and two retries, {needed} ms, or it flaps",
        f"raise ttl_ms of the group to {enough} or more, or remove its addresses",
    )


def _address_must_live_ms(ttl_ms: int) -> int:
    return renew_interval_ms(ttl_ms) + 2 * ANSWER_WAIT_MS_MIN
