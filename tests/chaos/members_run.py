"""A real site of two hosts beside a site of one: parted, killed, stopped; what ended when, and never both sites.

    python tests/chaos/members_run.py                            3 trials of each row
    python tests/chaos/members_run.py --only parted --trials 10
    python tests/chaos/members_run.py --list                     the rows

Needs root: each host is a network namespace of the run's own. Some fifteen seconds a trial.

Exit status 0: exclusion held; 1: two sites lived at once, or something expected did not come (the logs are kept and
named); 2: wrong arguments; 128 + n: ended by signal n. With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import signal
import sys

from chaosrig.chaos_campaign import Interrupted, heed_signals, signals_wait, world_after_world
from memberrig.member_trials import ROWS, Trial, table, try_once
from memberrig.member_world import Missing, World

TRIALS_MAX = 1_000
TTL_MS_MIN, TTL_MS_MAX = 1_000, 60_000


class Run:
    """What was tried, and how it ended."""

    def __init__(self, names: list[str], trials: int, ttl_ms: int, seed: int) -> None:
        self._names, self._trials, self._ttl_ms = names, trials, ttl_ms
        self._draw = random.Random(seed)
        self.results: dict[str, list[Trial]] = {}
        self.failed = ""
        self.signalled = 0
        self.kept = ""

    def perform(self) -> None:
        plan = [name for name in self._names for _ in range(self._trials)]
        self.signalled, _ = world_after_world(plan, self._in_one_world)

    def _in_one_world(self, plan: list[str]) -> list[str]:
        """All of it, or as far as it goes; nothing is tried in a second one."""
        with signals_wait():
            world = World(self._ttl_ms)
        good = False
        try:
            world.begin()
            for name in plan:
                self._try(world, name)
            good = not self.failed
        except Missing as missing:
            self.failed = str(missing)
        except Interrupted:
            good = True
            raise
        finally:
            with signals_wait():
                self.kept = "" if good else str(world.root)
                world.close(keep=not good)
        return []

    def _try(self, world: World, name: str) -> None:
        trial = try_once(world, ROWS[name], self._draw.random() * self._ttl_ms / 3_000)
        self.results.setdefault(name, []).append(trial)
        print(f"members: {name}: {dataclasses.asdict(trial)}", file=sys.stderr, flush=True)
        if trial.overlap_ms > 0:
            self.failed = f"{name}: two sites lived at once"

    @property
    def ok(self) -> bool:
        return not self.failed and not self.signalled

    def told(self) -> dict[str, object]:
        rows = {name: [dataclasses.asdict(one) for one in trials] for name, trials in self.results.items()}
        interrupted = signal.Signals(self.signalled).name if self.signalled else ""
        head = {"ok": self.ok, "failed": self.failed, "interrupted": interrupted, "kept": self.kept}
        return {**head, "ttl_ms": self._ttl_ms, "rows": rows}


def _options(argv: list[str]) -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make members", description=__doc__, formatter_class=as_written)
    parser.add_argument("--trials", type=int, default=3, help="of each row (default 3)")
    parser.add_argument("--ttl-ms", type=int, default=3_000, help="of the lease (default 3000)")
    parser.add_argument("--only", metavar="NAME,..", help="these rows")
    parser.add_argument("--seed", type=int, default=1, help="draws the instants of the blows")
    parser.add_argument("--list", action="store_true", help="the rows")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(argv)
    options.names = list(ROWS) if options.only is None else options.only.split(",")
    for name in options.names:
        if name not in ROWS:
            parser.error(f"--only {name}: no such row; choose of {', '.join(ROWS)}")
    if not 1 <= options.trials <= TRIALS_MAX:
        parser.error(f"--trials {options.trials}: must lie between 1 and {TRIALS_MAX}")
    if not TTL_MS_MIN <= options.ttl_ms <= TTL_MS_MAX:
        parser.error(f"--ttl-ms {options.ttl_ms}: must lie between {TTL_MS_MIN} and {TTL_MS_MAX}")
    return options


def main(argv: list[str]) -> int:
    options = _options(argv)
    if options.list:
        for name, row in ROWS.items():
            print(f"{name:<15} {row.says}")
        return 0
    heed_signals()
    run = Run(options.names, options.trials, options.ttl_ms, options.seed)
    run.perform()
    for line in table(run.results, options.ttl_ms):
        print(line)
    if run.failed:
        print(f"failed: {run.failed}; logs are kept in {run.kept}")
    if options.json:
        print(json.dumps(run.told()), flush=True)
    return 128 + run.signalled if run.signalled else 0 if run.ok else 1


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except Interrupted as early:
        code = 128 + early.number
    sys.exit(code)
