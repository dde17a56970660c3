"""`python -m witness.sim.takeover`: measured takeovers against `takeover_max`, timing after timing.

Exit codes: 0 none is longer than its bound, nothing was violated, and the worst found is within WITHIN of its bound;
1 otherwise. The last line of stdout is the verdict (one JSON object with --json).
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass

from proto.units import NS_PER_MS
from witness.sim.takeover.setup import Timing, drawn
from witness.sim.takeover.trial import Trial, search

WITHIN = 0.8
"""The worst takeover that is found must reach this share of its bound, or the bound is loose."""


@dataclass(frozen=True, slots=True)
class Row:
    """The worst takeover of one timing."""

    seed: int
    ttl_ms: int
    drift_percent: float
    lock_delay_ms: int
    activation_ms: int
    election_max_ms: int
    trials: int
    calm_ms: float
    """Nobody but the site died."""
    worst_ms: float
    leader_died_ms: float | None
    """After the site; None: it did not, in the worst."""
    bound_ms: float
    share: float
    violations: tuple[str, ...]


def row_of(timing: Timing) -> Row:
    trials = list(search(timing))
    worst: Trial = max(trials, key=lambda trial: trial.share)
    died_ns = worst.blow.leader_after_ns
    return Row(
        seed=timing.seed,
        ttl_ms=timing.constants.ttl_ms,
        drift_percent=timing.constants.drift_max_ppm / 10_000,
        lock_delay_ms=timing.constants.lock_delay_ms,
        activation_ms=timing.activation_ms,
        election_max_ms=timing.raft.election_max_ms,
        trials=len(trials),
        calm_ms=_ms(trials[0].took_ns),
        worst_ms=_ms(worst.took_ns),
        leader_died_ms=None if died_ns is None else _ms(died_ns),
        bound_ms=_ms(worst.bound_ns),
        share=round(worst.share, 4),
        violations=tuple(text for trial in trials for text in trial.violations),
    )


def _ms(ns: int | None) -> float:
    return float("inf") if ns is None else round(ns / NS_PER_MS, 1)


def line_of(row: Row) -> str:
    died = "      -" if row.leader_died_ms is None else f"{row.leader_died_ms:7.0f}"
    return (
        f"{row.seed:4} {row.ttl_ms:6} {row.drift_percent:5g}% {row.lock_delay_ms:5} {row.activation_ms:6} "
        f"{row.election_max_ms:6} {row.calm_ms:8.0f} {row.worst_ms:8.0f} {died} {row.bound_ms:8.0f} {row.share:7.1%}"
    )


HEAD = "seed    ttl  drift  lock activ. elect.     calm    worst  leader    bound   share"


def verdict_of(rows: list[Row]) -> dict[str, object]:
    shares = sorted(row.share for row in rows)
    return {
        "timings": len(rows),
        "trials": sum(row.trials for row in rows),
        "exceeded": sum(share > 1 for share in shares),
        "violations": sum(len(row.violations) for row in rows),
        "share_max": shares[-1],
        "share_median": shares[len(shares) // 2],
        "share_min": shares[0],
        "below_within": sum(share < WITHIN for share in shares),
        "ok": shares[-1] <= 1 and shares[-1] >= WITHIN and not any(row.violations for row in rows),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m witness.sim.takeover", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--timings", type=int, default=50, metavar="N", help="so many random sound timings (50)")
    parser.add_argument("--seed", type=int, default=1, metavar="K", help="timings have the seeds K, K+1, ...")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object, rows included")
    wanted = parser.parse_args(argv)
    if wanted.timings < 1:
        parser.error("--timings: at least 1")
    rows: list[Row] = []
    print(HEAD, flush=True)  # noqa: T201  # a command's output
    for seed in range(wanted.seed, wanted.seed + wanted.timings):
        rows.append(row_of(drawn(seed)))
        print(line_of(rows[-1]), *rows[-1].violations[:1], flush=True)  # noqa: T201  # a command's output
    verdict = verdict_of(rows)
    if wanted.json:
        print(json.dumps({**verdict, "rows": [asdict(row) for row in rows]}))  # noqa: T201  # a command's output
    else:
        print(", ".join(f"{name}: {value}" for name, value in verdict.items()))  # noqa: T201  # a command's output
    return 0 if verdict["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
