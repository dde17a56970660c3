"""Blows at a site of two hosts, and what was seen of it: when each part ended, when the other site began."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from memberrig.member_world import PARTS, World, now_ns, wait_for

MS = 1_000_000
SETTLE_S = 0.5
"""Of a renewal or two, before the blow."""


@dataclass(frozen=True)
class Row:
    says: str
    strike: Callable[[World], None]
    heal: Callable[[World], None]


@dataclass(frozen=True)
class Trial:
    """Milliseconds after the blow, by the signs that each part gave of itself."""

    lead_last_ms: float
    member_last_ms: float
    other_first_ms: float
    overlap_ms: float

    @property
    def gap_ms(self) -> float:
        return self.other_first_ms - max(self.lead_last_ms, self.member_last_ms)


def _nothing(_world: World) -> None:
    return


ROWS: dict[str, Row] = {
    "parted": Row(
        "lead and member cannot reach each other; both reach everybody else",
        lambda world: world.hosts.cut("lead", "member"),
        lambda world: world.hosts.mend("lead", "member"),
    ),
    "parted-handover": Row(
        "parted, and an operator hands over at once: the lead waits with its release",
        lambda world: world.part_and_hand_over(),
        lambda world: world.hosts.mend("lead", "member"),
    ),
    "lead-killed": Row("SIGKILL of the lead's process", lambda world: world.kill("lead"), _nothing),
    "lead-host": Row("lead and its guard killed", lambda world: world.kill_host("lead"), _nothing),
    "lead-stopped": Row(
        "SIGSTOP of the lead's process",
        lambda world: world.signal("lead", signal.SIGSTOP),
        lambda world: world.signal("lead", signal.SIGCONT),
    ),
    "member-killed": Row("SIGKILL of the member's process", lambda world: world.kill("member"), _nothing),
    "member-host": Row("member and its guard killed", lambda world: world.kill_host("member"), _nothing),
    "member-stopped": Row(
        "SIGSTOP of the member's process",
        lambda world: world.signal("member", signal.SIGSTOP),
        lambda world: world.signal("member", signal.SIGCONT),
    ),
}


def try_once(world: World, row: Row, wait_s: float) -> Trial:
    """`wait_s` moves the blow within a renewal period."""
    world.both_hosts_active()
    time.sleep(SETTLE_S + wait_s)  # the blow comes anywhere within a renewal period
    struck = now_ns()
    row.strike(world)
    try:
        wait_for(lambda: world.last_sign("other") > struck, "the other site is active")
        signs = {host: [at for at in world.signs(host) if at > struck - 1_000 * MS] for host in PARTS}
    finally:
        row.heal(world)
    first = min(at for at in signs["other"] if at > struck)
    ends = {host: max([at for at in signs[host] if at <= first] or [struck]) for host in ("lead", "member")}
    late = [at for host in ends for at in signs[host] if at >= first]
    return Trial(
        (ends["lead"] - struck) / MS,
        (ends["member"] - struck) / MS,
        (first - struck) / MS,
        (max(late) - first) / MS if late else 0.0,
    )


def table(results: dict[str, list[Trial]], ttl_ms: int) -> list[str]:
    head = (
        f"{'row':<15} {'trials':>6} {'lead ends':>16} {'member ends':>16} {'other begins':>16} {'gap':>12} {'both':>6}"
    )
    lines = [f"milliseconds after the blow, least to most; ttl {ttl_ms} ms", head]
    for name, trials in results.items():
        columns = (
            [trial.lead_last_ms for trial in trials],
            [trial.member_last_ms for trial in trials],
            [trial.other_first_ms for trial in trials],
        )
        spans = " ".join(f"{f'{min(one):.0f} - {max(one):.0f}':>16}" for one in columns)
        gaps = [trial.gap_ms for trial in trials]
        both = max(trial.overlap_ms for trial in trials)
        lines.append(f"{name:<15} {len(trials):>6} {spans} {f'{min(gaps):.0f} - {max(gaps):.0f}':>12} {both:>6.0f}")
    return lines
