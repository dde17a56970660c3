"""Real witnesses, agents and guards under SIGSTOP and worse: what ended the platform, when, and never two at once.

    python tests/chaos/fences_run.py                                     10 trials of each stop, 3 of each other row
    python tests/chaos/fences_run.py --only stop-site,term-ignored --trials 1 --end-trials 1
    python tests/chaos/fences_run.py --list                              the rows

Three witnesses and two sites run on loopback, as root in a network and a mount namespace of the run's own. A referee in
a process of its own looks every 2 ms which processes of a platform exist. Takes some ten seconds a trial at --ttl 2s.

Exit status 0: all of it held; 1: a promise broke, or something expected did not come (the logs are kept and named);
2: wrong arguments; 128 + n: ended by signal n. Whatever happens, all that was started is ended by its process id.
With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

from fencerig.fence_own import enter_own_namespaces
from fencerig.fence_run import Options, Run
from fencerig.fence_scenarios import SCENARIOS
from fencerig.fence_show import table

from proto.errors import BadValue
from witness.demo.command import parse_ttl

TRIALS_MAX = 1_000


def say(text: str) -> None:
    print(f"fences: {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make fences", description=__doc__, formatter_class=as_written)
    parser.add_argument("--trials", type=int, default=10, help="of each stop (default 10)")
    parser.add_argument("--end-trials", type=int, default=3, help="of each other row (default 3)")
    parser.add_argument("--ttl", default="3s", help="of the lease (default 3s); rows that need a longer one take it")
    parser.add_argument("--only", metavar="NAME,..", help="these rows")
    parser.add_argument("--seed", type=int, default=1, help="draws the instants of the blows")
    parser.add_argument("--list", action="store_true", help="the rows, and what stands against trying them here")
    parser.add_argument("--keep", action="store_true", help="keep logs and configurations also when all held")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    return parser


def main(arguments: list[str]) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("trials", "end_trials"):
        if not 1 <= getattr(options, name) <= TRIALS_MAX:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: must lie between 1 and {TRIALS_MAX}")
    names = list(SCENARIOS) if options.only is None else options.only.split(",")
    for name in names:
        if name not in SCENARIOS:
            parser.error(f"--only {name}: no such row; choose of {', '.join(SCENARIOS)}")
    try:
        ttl_ms = parse_ttl(options.ttl)
    except BadValue as refused:
        parser.error(str(refused))
    if os.geteuid() == 0:
        enter_own_namespaces()
    if options.list:
        for name in names:
            why = SCENARIOS[name].needs()
            print(f"{name:<26} {SCENARIOS[name].says}" + (f" (not here: {why})" if why else ""))
        return 0
    limits = Options(ttl_ms, options.trials, options.end_trials, options.seed, options.keep)
    run = Run([SCENARIOS[name] for name in names], limits, say)
    asyncio.run(run.perform())
    told = run.told()
    for line in table(told):
        print(line)
    if options.json:
        print(json.dumps(told), flush=True)
    return 128 + run.signalled if run.signalled is not None else 0 if run.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
