"""Every timer that follows from a lease, and the inequalities that they must keep, each with its numbers.

Rule: nothing here is chosen; the product derives the same values where they are used (proto.timing, proto.lease), and
refuses what breaks an inequality. They stand together here so that a person can check the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from proto import limits
from proto.lease import LeaseConstants, takeover_wait_max, witness_wait
from proto.takeover import Delays, takeover_max_ns
from proto.timing import (
    ADDRESS_RESERVE_MS,
    ANSWER_WAIT_MS_MIN,
    KILL_PROOF_MS,
    WATCHDOG_WINDOW_MS,
    address_lifetime_ms,
    answer_wait_ns,
    default_budgets,
    last_wait_ns,
    renew_interval_ms,
)
from proto.units import NS_PER_MS, PPM
from witness.timing.wish import Wish

FLOOR_MS = limits.GUARD_FLOOR_LEAD_NS // NS_PER_MS
WITNESSES = 3


@dataclass(frozen=True, slots=True)
class Timers:
    """In milliseconds; budgets and windows count back from the deadline of an authority."""

    ttl_ms: int
    drift_max_ppm: int
    lock_delay_ms: int
    renew_ms: int
    answer_wait_ms: int
    stop_budget_ms: int
    kill_budget_ms: int
    floor_ms: int
    watchdog_ms: int | None
    """From here on before the deadline the watchdog may reset the host."""
    reset_ms: int | None
    witness_wait_ms: int
    """D, on a witness's clock."""
    election_max_ms: int

    @property
    def constants(self) -> LeaseConstants:
        return LeaseConstants(self.ttl_ms, self.drift_max_ppm, self.lock_delay_ms)


@dataclass(frozen=True, slots=True)
class Inequality:
    """left <= right, both in milliseconds."""

    name: str
    left: str
    left_ms: float
    right: str
    right_ms: float
    rule: str
    remedy: str

    @property
    def holds(self) -> bool:
        return self.left_ms <= self.right_ms

    def words(self) -> str:
        sign = "<=" if self.holds else "is more than"
        return f"{self.name}: {self.left} = {self.left_ms:g} ms {sign} {self.right} = {self.right_ms:g} ms"


def derive(wish: Wish, ttl_ms: int, delays: Delays) -> Timers:
    """The timers of a lease of `ttl_ms`, with budgets as the wish needs them or as the product has them."""
    plain = default_budgets(ttl_ms)
    kill_ms = wish.kill_ms
    if kill_ms is None:
        needs = [plain.kill_budget_ms]
        needs += [WATCHDOG_WINDOW_MS + KILL_PROOF_MS] if wish.watchdog else []
        needs += [] if wish.reset_ms is None else [wish.reset_ms + KILL_PROOF_MS]
        kill_ms = max(needs)
    stop_ms = max(plain.stop_budget_ms, kill_ms + kill_ms // 4) if wish.stop_ms is None else wish.stop_ms
    constants = LeaseConstants(ttl_ms, wish.drift_max_ppm, wish.lock_delay_ms)
    return Timers(
        ttl_ms=ttl_ms,
        drift_max_ppm=wish.drift_max_ppm,
        lock_delay_ms=wish.lock_delay_ms,
        renew_ms=renew_interval_ms(ttl_ms),
        answer_wait_ms=_ms_up(answer_wait_ns(delays.round_trip_ns, 0)),
        stop_budget_ms=stop_ms,
        kill_budget_ms=kill_ms,
        floor_ms=FLOOR_MS,
        watchdog_ms=WATCHDOG_WINDOW_MS if wish.watchdog else None,
        reset_ms=wish.reset_ms,
        witness_wait_ms=_ms_up(witness_wait(constants)),
        election_max_ms=_ms_up(delays.election_ns),
    )


def inequalities(wish: Wish, timers: Timers, delays: Delays) -> tuple[Inequality, ...]:
    return (
        *_of_clocks(timers),
        *_of_the_site(timers),
        *_of_the_ladder(timers),
        *(_of_addresses(timers) if wish.addresses else ()),
        *_of_the_network(timers, delays),
        *_of_the_wish(wish, timers, delays),
    )


def _of_clocks(timers: Timers) -> Iterator[Inequality]:
    low, high = limits.TTL_MS_MIN, limits.TTL_MS_MAX
    yield Inequality(
        "shortest lease", "least ttl", low, "ttl", timers.ttl_ms, "scheduling noise would eat a shorter one", "raise it"
    )
    yield Inequality("longest lease", "ttl", timers.ttl_ms, "most", high, "no longer lease is counted", "lower it")
    r, plain = timers.drift_max_ppm, LeaseConstants(timers.ttl_ms, timers.drift_max_ppm, 0)
    yield Inequality(
        "holder first",
        "ttl / (1 - r)",
        _ms(timers.ttl_ms * NS_PER_MS * PPM / (PPM - r)),
        "D / (1 + r)",
        _ms(witness_wait(plain) * PPM / (PPM + r)),
        f"the slowest holder ends before the fastest witness votes (r = {r / 10_000:g} %)",
        "the arithmetic of proto/lease.py holds for any ttl",
    )


def _of_the_site(timers: Timers) -> Iterator[Inequality]:
    kill, stop = timers.kill_budget_ms, timers.stop_budget_ms
    yield Inequality(
        "kernel's floor",
        "2 x floor",
        2 * FLOOR_MS,
        "kill budget",
        kill,
        "the kill begins before the kernel's timer strikes",
        f"set kill_budget to {2 * FLOOR_MS} ms or more",
    )
    yield Inequality(
        "stop before kill",
        "kill budget + 1",
        kill + 1,
        "stop budget",
        stop,
        "the graceful stop begins before the kill",
        f"set stop_budget above {kill} ms",
    )
    used = timers.renew_ms + ANSWER_WAIT_MS_MIN + stop
    yield Inequality(
        "one retry",
        "renewal interval + retry + stop budget",
        used,
        "ttl",
        timers.ttl_ms,
        "a lost renewal is sent again before the stop begins",
        "raise ttl, or lower stop_budget",
    )


def _of_the_ladder(timers: Timers) -> Iterator[Inequality]:
    if timers.watchdog_ms is not None:
        yield Inequality(
            "watchdog",
            "window + proof of the kill",
            timers.watchdog_ms + KILL_PROOF_MS,
            "kill budget",
            timers.kill_budget_ms,
            "the kill is proven before the watchdog may reset the host",
            f"set kill_budget to {timers.watchdog_ms + KILL_PROOF_MS} ms or more",
        )
    if timers.reset_ms is not None:
        yield Inequality(
            "reset after floor",
            "2 x floor",
            2 * FLOOR_MS,
            "reset before",
            timers.reset_ms,
            "the reset comes before the kernel's floor",
            f"set reset.before to {2 * FLOOR_MS} ms or more",
        )
        yield Inequality(
            "reset",
            "reset before + proof of the kill",
            timers.reset_ms + KILL_PROOF_MS,
            "kill budget",
            timers.kill_budget_ms,
            "the kill is proven before the reset",
            f"set kill_budget to {timers.reset_ms + KILL_PROOF_MS} ms or more",
        )


def _of_addresses(timers: Timers) -> Iterator[Inequality]:
    lives = address_lifetime_ms(timers.ttl_ms - ANSWER_WAIT_MS_MIN)
    yield Inequality(
        "address",
        "renewal interval + 2 retries",
        timers.renew_ms + 2 * ANSWER_WAIT_MS_MIN,
        f"whole seconds of ttl less {ADDRESS_RESERVE_MS} ms",
        lives,
        "an address outlives the way to its next renewal, or it flaps",
        "raise ttl, or remove the addresses",
    )


def _of_the_network(timers: Timers, delays: Delays) -> Iterator[Inequality]:
    yield Inequality(
        "answer",
        "round trip + 2 commits",
        _ms(delays.answer_ns),
        "renewal interval",
        timers.renew_ms,
        "a renewal is answered before the next one is due",
        "raise ttl, or find out what is slow",
    )

    yield Inequality(
        "hold",
        "site link's round trip + store",
        _ms(delays.link_ns + delays.store_ns),
        "renewal interval",
        timers.renew_ms,
        "a round of holds is answered before the next one is due",
        "raise ttl, or find out what is slow between the sites",
    )


def silence_needs_ms(silence_ms: int, timers: Timers, delays: Delays) -> float:
    """What a ttl must hold so that so long a silence of all witnesses stops nobody.

    The silence begins as the next renewal is about to be answered. When it ends, the wait that runs is waited out, the
    next attempt is answered, and only then the stop would have begun.
    """
    silence_ns = silence_ms * NS_PER_MS * (PPM + timers.drift_max_ppm) // PPM
    retry_ns = last_wait_ns(silence_ns, delays.round_trip_ns, timers.renew_ms * NS_PER_MS, WITNESSES)
    answers_ms = _ms(silence_ns + retry_ns + 2 * delays.answer_ns)
    return timers.renew_ms + answers_ms + timers.stop_budget_ms


def _of_the_wish(wish: Wish, timers: Timers, delays: Delays) -> Iterator[Inequality]:
    if wish.silence_ms is not None:
        yield Inequality(
            "silence",
            f"renewal interval + {wish.silence_ms} ms of silence + retry + 2 answers + stop budget",
            silence_needs_ms(wish.silence_ms, timers, delays),
            "ttl",
            timers.ttl_ms,
            "a healthy site outlasts that silence without being stopped",
            "raise ttl, lower stop, or tolerate less silence",
        )
    if wish.takeover_ms is not None:
        yield Inequality(
            "takeover",
            "takeover_max",
            _ms(takeover_max_ns(timers.constants, wish.activation_ms, delays)),
            "takeover within",
            wish.takeover_ms,
            "the other site is active in time",
            f"lower ttl (lease, drift and lock delay are {_ms(takeover_wait_max(timers.constants)):g} ms of it), or "
            "wish for a longer takeover",
        )


def _ms(ns: float) -> float:
    return round(ns / NS_PER_MS, 3)


def _ms_up(ns: int) -> int:
    return -(-ns // NS_PER_MS)
