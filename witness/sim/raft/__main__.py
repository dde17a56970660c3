"""`python -m witness.sim.raft`: schedules against the real Raft node; exit code 1 for a violation or a stuck cluster.

A failure is one line that replays it. A kind of fault that a campaign of some size never hit is a failure too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial

from proto.clock import SystemClock
from proto.units import NS_PER_S
from witness.sim.raft.campaign import Plan, campaign, distinct, never_hit
from witness.sim.raft.faults import KINDS
from witness.sim.raft.progress import Progress
from witness.sim.raft.run import Result, run_chosen, run_schedule, setup_of

SCHEDULES_DEFAULT = 500


def _kinds(text: str) -> tuple[str, ...]:
    names = tuple(sorted(set(text.split(","))))
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; known are {', '.join(sorted(KINDS))}")
    return names


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m witness.sim.raft", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--schedules", type=int, metavar="N", help=f"so many (default {SCHEDULES_DEFAULT})")
    parser.add_argument("--seconds", type=int, metavar="S", help="as many as fit into this time")
    parser.add_argument("--seed", type=int, default=1, metavar="K", help="schedules have the seeds K, K+1, ...")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="W", help="processes; all cores")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell one schedule's story")
    parser.add_argument("--kinds", type=_kinds, metavar="K,K", help="these kinds of faults instead of the seed's own")
    parser.add_argument("--trace", action="store_true", help="with --replay: every message too")
    found = parser.parse_args(argv)
    if found.schedules is None and found.seconds is None:
        found.schedules = SCHEDULES_DEFAULT
    for name, lowest in (("schedules", 1), ("seconds", 1), ("workers", 1), ("seed", 0), ("replay", 0)):
        value = getattr(found, name)
        if value is not None and value < lowest:
            parser.error(f"--{name} {value}: must be at least {lowest}")
    if found.trace and found.replay is None:
        parser.error("--trace: tells one schedule's story and needs --replay SEED")
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _replay(seed: int, kinds: tuple[str, ...] | None, *, messages: bool) -> Result:
    setup = setup_of(seed, kinds)
    _say(str(setup))

    def trace(at_ns: int, who: str, what: str) -> None:
        if messages or not what.startswith("-> "):
            _say(f"{at_ns / NS_PER_S:11.6f} {who:8} {what}")

    result = run_schedule(seed, trace=trace, setup=setup)
    for _, violation in result.violations:
        _say(f"VIOLATION {violation}")
    return result


def _many(arguments: argparse.Namespace) -> Result:
    plan = Plan(arguments.seed, arguments.schedules, arguments.seconds, arguments.workers)
    with Progress(plan, SystemClock()) as progress:

        def told(result: Result) -> None:
            for seed, violation in result.violations[:1]:
                progress.failed()
                _say(result.replay_line(seed, violation))
            progress.ended(result)

        run = run_schedule if arguments.kinds is None else partial(run_chosen, kinds=arguments.kinds)
        return campaign(plan, SystemClock(), told, run)


def _summary(total: Result, wall_ns: int, workers: int) -> dict[str, object]:
    return {
        "schedules": total.schedules,
        "events": total.events,
        "violations": len({seed for seed, violation in total.violations if violation.kind != "stuck"}),
        "stuck": total.stuck,
        "faults_hit": {kind: total.faults_hit[kind] for kind in sorted({*total.faults_hit, *KINDS})},
        "never_hit": never_hit(total),
        "failures": [{"what": words, "schedules": count, "replay": seed} for words, count, seed in distinct(total)],
        "entries": total.entries,
        "elections": total.elections,
        "simulated_s": round(total.simulated_ns / NS_PER_S, 1),
        "wall_s": round(wall_ns / NS_PER_S, 1),
        "schedules_per_s": round(total.schedules * NS_PER_S / max(1, wall_ns), 1),
        "cores": os.cpu_count(),
        "workers": workers,
    }


def _verdict(total: Result, wall_ns: int, workers: int) -> None:
    _say(
        f"{total.schedules} schedules, {total.events} events, {total.entries} entries, {total.elections} elections: "
        f"{len({seed for seed, _ in total.violations})} failed, {total.stuck} stuck; "
        f"{total.simulated_ns / NS_PER_S:.0f} simulated seconds in {wall_ns / NS_PER_S:.1f} s by {workers} workers"
    )
    for kind in sorted({*total.faults_hit, *KINDS}):
        _say(f"  {kind:20} {total.faults_hit[kind]:9} hits, drawn {total.drawn[kind]} times")
    for words, count, seed in distinct(total):
        _say(f"  {count} x {words} (--replay {seed})")
    for kind in never_hit(total):
        _say(f"  NEVER HIT: {kind}")


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    clock = SystemClock()
    since_ns = clock.now()
    replay: int | None = arguments.replay
    total = _many(arguments) if replay is None else _replay(replay, arguments.kinds, messages=arguments.trace)
    wall_ns = clock.now() - since_ns
    if arguments.json:
        _say(json.dumps(_summary(total, wall_ns, arguments.workers)))
    else:
        _verdict(total, wall_ns, arguments.workers)
    judged = [] if arguments.kinds else never_hit(total)
    return 1 if total.violations or judged else 0


if __name__ == "__main__":
    sys.exit(main())
