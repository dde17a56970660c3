"""`make fuzz-plain`: the schedules of `make fuzz` against the library as it is shipped; counts what it breaks.

The same worlds, faults and checkers (witness.sim.raft). It shows that the checkers see, and what our remedies are
for: exit code 1 when nothing was found. `--ours` runs the very same schedules against the node that ships.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from functools import partial

from plain_subject import Plain, setup_of

from proto.clock import SystemClock
from proto.units import NS_PER_S
from witness.sim.raft.campaign import Plan, campaign, distinct
from witness.sim.raft.hardened import Hardened
from witness.sim.raft.progress import Progress
from witness.sim.raft.run import Result, run_schedule

SCHEDULES_DEFAULT = 1_000
SAFETY = frozenset(
    {"agreement", "prefix", "state", "order", "durable", "twice", "leaders", "completeness", "votes", "term"}
)
"""Kinds of violations that Raft promises never to happen; the others are of liveness or of work."""


def run_one(seed: int, *, stray: bool, power: bool, ours: bool) -> Result:
    setup = setup_of(seed, stray=stray, power=power)
    return run_schedule(seed, make=Hardened if ours else Plain, setup=setup)


def summary(total: Result) -> dict[str, object]:
    by_kind: Counter[str] = Counter()
    for kind, _ in {(violation.kind, seed) for seed, violation in total.violations}:
        by_kind[kind] += 1
    return {
        "schedules": total.schedules,
        "events": total.events,
        "violations": len({seed for seed, violation in total.violations if violation.kind in SAFETY}),
        "stuck": total.stuck,
        "by_kind": dict(sorted(by_kind.items())),
        "faults_hit": dict(sorted(total.faults_hit.items())),
        "failures": [{"what": what, "schedules": count, "replay": seed} for what, count, seed in distinct(total)],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz-plain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--schedules", type=int, default=SCHEDULES_DEFAULT, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="K", help="schedules have the seeds K, K+1, ...")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="W")
    parser.add_argument("--links", choices=("fifo", "any"), default="any", help="fifo: what TCP does, and no more")
    parser.add_argument("--no-power", action="store_true", help="no loss of power, which the library never survives")
    parser.add_argument("--ours", action="store_true", help="the same schedules against the node that ships")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell one schedule's story")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    return parser.parse_args()


def _flags(arguments: argparse.Namespace) -> str:
    """What draws the same schedules again."""
    chosen = ("--no-power" * arguments.no_power, "--ours" * arguments.ours)
    return " ".join((f"--links {arguments.links}", *(flag for flag in chosen if flag)))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _replay(arguments: argparse.Namespace, run: partial[Result]) -> int:
    setup = setup_of(arguments.replay, stray=run.keywords["stray"], power=run.keywords["power"])
    _say(str(setup))

    def trace(at_ns: int, who: str, what: str) -> None:
        _say(f"{at_ns / NS_PER_S:11.6f} {who:8} {what}")

    result = run_schedule(arguments.replay, make=Hardened if arguments.ours else Plain, trace=trace, setup=setup)
    for _, violation in result.violations:
        _say(f"VIOLATION {violation}")
    return 0


def main() -> int:
    arguments, clock = _arguments(), SystemClock()
    run = partial(run_one, stray=arguments.links == "any", power=not arguments.no_power, ours=arguments.ours)
    if arguments.replay is not None:
        return _replay(arguments, run)
    plan = Plan(arguments.seed, arguments.schedules, None, arguments.workers)
    since_ns = clock.now()
    with Progress(plan, clock) as progress:

        def told(result: Result) -> None:
            if result.violations:
                progress.failed()
            progress.ended(result)

        total = campaign(plan, clock, told, run)
    found = summary(total)
    found["replay_with"] = _flags(arguments)
    found["wall_s"] = round((clock.now() - since_ns) / NS_PER_S, 1)
    if arguments.json:
        _say(json.dumps(found))
    else:
        for name in ("schedules", "events", "violations", "stuck", "by_kind", "wall_s"):
            _say(f"{name}: {found[name]}")
        for what, count, seed in distinct(total)[:40]:
            _say(f'  {count} x {what}  # make fuzz-plain ARGS="{_flags(arguments)} --replay {seed}"')
    return 0 if bool(total.violations) is not arguments.ours else 1


if __name__ == "__main__":
    sys.exit(main())
