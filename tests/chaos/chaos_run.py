"""Real faults on real processes: two sites of two hosts, three witnesses and an operator in network namespaces.

    python tests/chaos/chaos_run.py --faults 20 --seed 7      20 faults, drawn from that seed
    python tests/chaos/chaos_run.py --kinds P3,N1 --faults 4  of these kinds
    python tests/chaos/chaos_run.py --seed 7 --faults 20 --only 4   step 4 of that plan again
    python tests/chaos/chaos_run.py --kinds H1 --faults 1 --line "cut sites witnesses 10min"
    python tests/chaos/chaos_run.py --third-location 10min    the third location goes, later the sites' link as well
    python tests/chaos/chaos_run.py --plan --seed 7           prints the plan, runs nothing
    python tests/chaos/chaos_run.py --list                    the kinds
    python tests/chaos/chaos_run.py --compare --trials 5      kill, partition, stop: beside etcd's lock

The product runs as it is shipped, from a wheel of this checkout. A referee outside of all namespaces looks every 2 ms
who is active. After each step (one fault, or two at once) everything is healed, and within a minute exactly one site
must be active and the cluster well. Needs root, ip, nft and nsenter. Some fifteen seconds a fault.

Exit status 0: no two at once, no false takeover, all recovered, all of it held; 1: not so (logs are kept and named, and
one line replays it); 2: wrong arguments; 3: cannot run here, and why; 128 + n: ended by signal n. With --json the last
line of stdout is one object.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from chaosrig import chaos_own
from chaosrig.chaos_campaign import Campaign, Interrupted, heed_signals
from chaosrig.chaos_compare import ROWS, Wanted, compare, compare_table
from chaosrig.chaos_kinds import KINDS
from chaosrig.chaos_plan import Step, make_plan, simulator_line, third_location, with_line
from chaosrig.chaos_show import table, told
from chaosrig.chaos_wheel import product
from chaosrig.chaos_world import World

from proto.errors import BadValue
from witness.demo.command import parse_ttl
from witness.sim.scenario.command import Wrong, span_ms

FAULTS_MAX = 10_000
CANNOT = 3


def say(text: str) -> None:
    print(f"chaos: {text}", file=sys.stderr, flush=True)


def _options(argv: list[str]) -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__, formatter_class=as_written)
    parser.add_argument("--faults", type=int, default=20, help="so many (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="draws the whole plan (default 1)")
    parser.add_argument("--ttl", default="3s", help="of the lease (default 3s)")
    parser.add_argument("--kinds", metavar="NAME,..", help="of these kinds")
    parser.add_argument("--only", metavar="N,..", help="these steps of the plan")
    parser.add_argument("--line", metavar="COMMAND", help="this line instead of a drawn one, for one --kinds")
    parser.add_argument("--third-location", metavar="SPAN", help="no witness for so long (10min), then no link either")
    parser.add_argument("--plan", action="store_true", help="print the plan and how the simulator plays it")
    parser.add_argument("--list", action="store_true", help="the kinds")
    parser.add_argument("--compare", action="store_true", help="kill, partition, stop: beside etcd's lock")
    parser.add_argument("--trials", type=int, default=3, help="with --compare: of each fault and ttl (default 3)")
    parser.add_argument("--ttls", default="1s,3s,5s", help="with --compare (default 1s,3s,5s)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"with --compare (default {','.join(ROWS)})")
    parser.add_argument("--keep", action="store_true", help="keep logs and configurations also when all held")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(argv)
    for name in ("faults", "trials"):
        if not 1 <= getattr(options, name) <= FAULTS_MAX:
            parser.error(f"--{name} {getattr(options, name)}: must lie between 1 and {FAULTS_MAX}")
    options.names = list(KINDS) if options.kinds is None else options.kinds.split(",")
    for name in options.names:
        if name not in KINDS:
            parser.error(f"--kinds {name}: no such kind; choose of {', '.join(KINDS)}")
    options.rows = options.rows.split(",")
    for name in options.rows:
        if name not in ROWS:
            parser.error(f"--rows {name}: no such row; choose of {', '.join(ROWS)}")
    if options.line is not None and len(options.names) != 1:
        parser.error("--line: says how one kind is struck, so name one with --kinds")
    try:
        options.ttl_ms = parse_ttl(options.ttl)
        options.ttls_ms = [parse_ttl(word) for word in options.ttls.split(",")]
        options.span_ms = None if options.third_location is None else span_ms(options.third_location)
        options.steps = None if options.only is None else {int(word) for word in options.only.split(",")}
    except Wrong as refused:
        parser.error(f"--third-location: {refused}")
    except BadValue as refused:
        parser.error(str(refused))
    except ValueError:
        parser.error(f"--only {options.only}: numbers of steps, parted by commas")
    return options


def _replay(options: argparse.Namespace, steps: str = "") -> str:
    kinds = "" if options.kinds is None else f" --kinds {options.kinds}"
    line = "" if options.line is None else f" --line '{options.line}'"
    only = f" --only {steps}" if steps else ""
    if options.third_location is not None:
        return f'make chaos ARGS="--third-location {options.third_location} --ttl {options.ttl}"'
    return f'make chaos ARGS="--faults {options.faults} --seed {options.seed} --ttl {options.ttl}{kinds}{line}{only}"'


def _show_plan(plan: list[Step], ttl_ms: int) -> None:
    for step in plan:
        print(f"{step.number:>4} {step.name:<22} {step.told()}")
        print(f"     {simulator_line(step, ttl_ms)}")


def main(argv: list[str]) -> int:
    options = _options(argv)
    if options.list:
        for kind in KINDS.values():
            print(f"{kind.name:<12} {kind.ids:<8} {kind.says}")
        return 0
    plan = make_plan([KINDS[name] for name in options.names], options.faults, options.seed, options.ttl_ms)
    if options.line is not None:
        plan = with_line(plan, options.line)
    if options.third_location is not None:
        plan = third_location(options.span_ms, options.ttl_ms)
    if options.steps is not None:
        plan = [step for step in plan if step.number in options.steps]
    if options.plan:
        _show_plan(plan, options.ttl_ms)
        return 0
    why = chaos_own.missing()
    if why:
        say(f"CANNOT RUN HERE: {why}")
        return CANNOT
    heed_signals()
    programs = product()
    chaos_own.enter()
    return _compare(options, programs) if options.compare else _campaign(options, plan, programs)


def _compare(options: argparse.Namespace, programs: Path) -> int:
    wanted = Wanted(options.ttls_ms, options.rows, options.trials, options.seed)
    result = compare(wanted, programs, say)
    for line in compare_table(result):
        print(line)
    for failed in result["failed"]:
        print(f"FAILED {failed}")
    if options.json:
        print(json.dumps(result), flush=True)
    return 128 + result["interrupted"] if "interrupted" in result else 1 if result["failed"] else 0


def _campaign(options: argparse.Namespace, plan: list[Step], programs: Path) -> int:
    campaign = Campaign(options.ttl_ms, partial(World, options.ttl_ms, programs), KINDS, say, options.keep)
    campaign.perform(plan)
    bad = ",".join(str(one.step.number) for one in campaign.outcomes if one.bad)
    result = told(campaign, options.seed, _replay(options, bad))
    for line in table(result):
        print(line)
    if campaign.failed:
        print(f"again: {result['replay']}")
    if options.json:
        print(json.dumps(result), flush=True)
    return 128 + campaign.signalled if campaign.signalled else 0 if campaign.ok else 1


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except Interrupted as early:
        code = 128 + early.number
    sys.exit(code)
