"""A real site of two hosts beside a site of one: parted, killed, stopped; what ended when, and never both sites.

    python tests/chaos/members_run.py                            3 trials of each row
    python tests/chaos/members_run.py --only parted --trials 10

Needs root: each host is a network namespace of the run's own. Some ten seconds a trial. Exit status 0: exclusion held;
1: two sites lived at once, or something expected did not come (the logs are kept and named); 2: wrong arguments.
With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys

from memberrig.member_trials import ROWS, Trial, table, try_once
from memberrig.member_world import Missing, World


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="make members", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=3, help="of each row (default 3)")
    parser.add_argument("--ttl-ms", type=int, default=3_000, help="of the lease (default 3000)")
    parser.add_argument("--only", metavar="NAME,..", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--seed", type=int, default=1, help="draws the instants of the blows")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(argv)
    names = list(ROWS) if options.only is None else options.only.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown or options.trials < 1 or not 1_000 <= options.ttl_ms <= 60_000:
        parser.error(f"{', '.join(unknown) or 'trials, ttl'}: unknown, or out of range")
    world, draw = World(options.ttl_ms), random.Random(options.seed)
    results: dict[str, list[Trial]] = {}
    failed = ""
    try:
        world.begin()
        for name in names:
            for _ in range(options.trials):
                trial = try_once(world, ROWS[name], draw.random() * options.ttl_ms / 3_000)
                results.setdefault(name, []).append(trial)
                print(f"members: {name}: {dataclasses.asdict(trial)}", file=sys.stderr, flush=True)
    except Missing as missing:
        failed = str(missing)
    finally:
        overlap = any(trial.overlap_ms > 0 for trials in results.values() for trial in trials)
        bad = bool(failed) or overlap or sys.exc_info()[0] is not None
        world.close(keep=bad)
    for line in table(results, options.ttl_ms):
        print(line)
    if bad:
        print(f"failed: {failed or 'two sites lived at once'}; logs are kept in {world.root}")
    if options.json:
        rows = {name: [dataclasses.asdict(one) for one in trials] for name, trials in results.items()}
        print(json.dumps({"ok": not bad, "failed": failed, "ttl_ms": options.ttl_ms, "rows": rows}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
