"""The faults of the peers' table on the product and on etcd's lock, in one run with one referee.

Kill: the active site loses its power. Partition: it reaches nobody, silently. Stop: every process of it is stopped
for two leases and goes on. Both: it and the leading witness are killed at once. Fault and measure are the same code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chaosrig import chaos_etcd
from chaosrig.chaos_campaign import Campaign
from chaosrig.chaos_etcd import EtcdWorld
from chaosrig.chaos_ground import Ground
from chaosrig.chaos_judge import Outcome
from chaosrig.chaos_kinds import KINDS
from chaosrig.chaos_plan import Fault, Step
from chaosrig.chaos_show import three
from chaosrig.chaos_world import World
from fencerig.activity import spread

from proto.timing import renew_interval_ms

Json = dict[str, Any]
AWAY_TTLS = 3
SPARE_MS = 30
"""A fault that is meant for the end of a period must not come behind the next renewal."""
ROWS: dict[str, tuple[tuple[str, str], ...]] = {
    "kill": (("power", "power-off active {away}ms"),),
    "partition": (("N1-all", "cut active witnesses {away}ms"),),
    "stop": (("P5", "freeze active {stop}ms"),),
    "both": (("P1", "kill leader {away}ms"), ("power", "power-off active {away}ms")),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    ttls_ms: list[int]
    rows: list[str]
    trials: int
    """Of each row and ttl."""
    seed: int


def compare(wanted: Wanted, programs: Path, say: Callable[[str], None]) -> Json:
    """By ttl and subject. What cannot be compared here is named."""
    result: Json = {"trials": wanted.trials, "ttls": {}, "failed": [], "missing": chaos_etcd.missing()}
    for ttl_ms in wanted.ttls_ms:
        subjects: dict[str, Callable[[], Ground]] = {"thirdsite": partial(World, ttl_ms, programs)}
        if not result["missing"]:
            subjects["etcd"] = partial(EtcdWorld, ttl_ms)
        rows: Json = {}
        for subject, make in subjects.items():
            peer = subject != "thirdsite"
            campaign = Campaign(ttl_ms, make, KINDS, partial(_said, say, subject), peer=peer)
            campaign.perform(list(_plan(ttl_ms, wanted)))
            result["failed"] += [] if campaign.peer else campaign.failed
            rows[subject] = {name: _row(campaign.outcomes, name) for name in wanted.rows}
            if campaign.signalled:
                return {**result, "interrupted": campaign.signalled}
        result["ttls"][str(ttl_ms)] = rows
    return result


def _said(say: Callable[[str], None], who: str, text: str) -> None:
    say(f"{who}: {text}")


def _plan(ttl_ms: int, wanted: Wanted) -> Iterator[Step]:
    draw = random.Random(f"compare-{wanted.seed}")
    spans = {"away": AWAY_TTLS * ttl_ms + 2_000, "stop": 2 * ttl_ms}
    number = 0
    for faults in [ROWS[name] for name in wanted.rows]:
        for age_ms in ages(draw, wanted.trials, renew_interval_ms(ttl_ms) - SPARE_MS):
            number += 1
            made = tuple(Fault(kind, line.format(**spans), 0) for kind, line in faults)
            yield Step(number, made, 0, age_ms)


def ages(draw: random.Random, trials: int, period_ms: int) -> list[int]:
    """One in each equal part of the period of renewals, in any order, and the same for every subject: what a lease has
    left is most of a takeover, so that otherwise the median of few trials is the luck of the draw."""
    parts = [period_ms * part // trials + draw.randrange(max(1, period_ms // trials)) for part in range(trials)]
    draw.shuffle(parts)
    return parts


def _row(outcomes: list[Outcome], name: str) -> Json:
    kinds = tuple(kind for kind, _ in ROWS[name])
    mine = [one for one in outcomes if tuple(fault.kind for fault in one.step.faults) == kinds]
    took = [one.takeover_ms for one in mine if one.takeover_ms is not None]
    every = [one.lease.renewal_ms for one in mine if one.lease is not None and one.lease.renewal_ms is not None]
    beyond = [one.beyond_lease_ms for one in mine if one.beyond_lease_ms is not None]
    return {
        "trials": len(mine),
        "renewal_ms": spread(every),
        "takeover_ms": spread(took),
        "beyond_lease_ms": spread(beyond),
        "dual_active_ms": spread([one.dual_alive_ms for one in mine]),
        "dual_executed_ms": spread([one.dual_signs_ms for one in mine]),
    }


COLUMNS = {
    "takeover": "takeover_ms",
    "beyond lease": "beyond_lease_ms",
    "two at once": "dual_active_ms",
    "executed": "dual_executed_ms",
}


def compare_table(result: Json) -> Iterator[str]:
    yield f"| ttl | fault | trials | {' | '.join(COLUMNS)} | etcd: {' | '.join(COLUMNS)} |"
    yield "|---" * (3 + 2 * len(COLUMNS)) + "|"
    for ttl, subjects in result["ttls"].items():
        for name in subjects["thirdsite"]:
            ours, theirs = subjects["thirdsite"][name], subjects.get("etcd", {}).get(name)
            cells = [three(ours[one]) for one in COLUMNS.values()]
            cells += ["not installed" if theirs is None else three(theirs[one]) for one in COLUMNS.values()]
            yield f"| {ttl} | {name} | {ours['trials']} | {' | '.join(cells)} |"
    yield ""
    yield "least / median / greatest in ms; takeover: from the fault to the other site's first sign; beyond lease: its"
    yield "part behind what the lease had left when the fault was made, ours with its allowance for drift; both leases"
    yield f"are struck at the same ages; renewed every, ms: {'; '.join(_renewals(result))}"
    if result["missing"]:
        yield f"etcd: {result['missing']}"


def _renewals(result: Json) -> Iterator[str]:
    for ttl, subjects in result["ttls"].items():
        said = [f"{subject} {three(row['renewal_ms'])}" for subject, rows in subjects.items() for row in rows.values()]
        yield f"ttl {ttl}: {', '.join(dict.fromkeys(said))}"
