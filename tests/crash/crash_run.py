"""kill -9 at named moments of real witnesses under load (`make crash`); what was acknowledged must be there afterwards.

    python tests/crash/crash_run.py --rounds 500 --mode one     one witness dies in each round
    python tests/crash/crash_run.py --rounds 500 --mode all     all three within microseconds
    python tests/crash/crash_run.py                             a mixture: one, two, all, stopped, failing disks
    python tests/crash/crash_run.py --seed 7 --first 312 --rounds 1      one round again

Exit status 0: nothing was lost, nothing stuck, and every point of the table was reached that the rounds went for;
1: otherwise; 2: wrong arguments. With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crashrig.campaign import Campaign, Result
from crashrig.cluster import Cluster, Lost, Nursery, Stuck
from crashrig.plan import Mode, plan

from witness.raft.failpoints import POINTS

PROGRESS_S = 2.0
BALLAST_BYTES = (0, 700_000)
"""Every second cluster has images of several chunks."""
ENTRIES_MAX = 40


class Run:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.result = Result()
        self.failed: str | None = None
        self._next = options.first
        self._began = time.monotonic()
        self._told = 0.0

    async def run(self) -> None:
        root = Path(tempfile.mkdtemp(prefix="thirdsite-crash-", dir=self.options.directory))
        nursery = Nursery()
        try:
            shares = (self._cluster(root / f"cluster-{at}", nursery, at) for at in range(self.options.parallel))
            await asyncio.gather(*shares)
        finally:
            nursery.end()
            if self.failed is None or self.options.broken:
                shutil.rmtree(root, ignore_errors=True)
            else:
                say(f"kept: {root}")

    async def _cluster(self, root: Path, nursery: Nursery, at: int) -> None:
        ballast = BALLAST_BYTES[at % len(BALLAST_BYTES)]
        cluster = Cluster(root, nursery, ballast=ballast, entries_max=ENTRIES_MAX, broken=self.options.broken)
        campaign = Campaign(cluster, self.result)
        try:
            while self.failed is None and self._next < self.options.first + self.options.rounds:
                number, self._next = self._next, self._next + 1
                await self._round(campaign, number)
        finally:
            await cluster.end()

    async def _round(self, campaign: Campaign, number: int) -> None:
        options = self.options
        todo = plan(options.seed, number, options.mode, options.point)
        try:
            await campaign.round(todo)
        except (Lost, Stuck, ConnectionError, TimeoutError) as fault:
            mode = "" if options.mode is None else f" --mode {options.mode.value}"
            point = "" if options.point is None else f" --point {options.point}"
            again = f"python tests/crash/crash_run.py --seed {options.seed} --first {number} --rounds 1{mode}{point}"
            self.failed = self.failed or f"{todo}: {type(fault).__name__}: {fault}; again: {again}"
            say(self.failed)
        if time.monotonic() - self._told > PROGRESS_S:
            self._told = time.monotonic()
            done = f"{self.result.rounds}/{options.rounds} rounds, {self.result.acknowledged} acknowledged"
            say(f"{done}, {self.result.kills} kills, {time.monotonic() - self._began:.0f} s")

    def told(self) -> dict[str, Any]:
        figures = dict(vars(self.result))
        for name in ("modes", "points_hit", "missed"):
            figures[name] = dict(sorted(figures[name].items()))
        options = self.options
        numbers = range(options.first, options.first + options.rounds)
        aimed = {plan(options.seed, number, options.mode, options.point).point for number in numbers}
        never = sorted(aimed - figures["points_hit"].keys())
        wall_s = round(time.monotonic() - self._began, 1)
        ok = self.failed is None and not never
        told = {"ok": ok, "seed": options.seed, **figures}
        return {**told, "never_hit": never, "wall_s": wall_s, "failed": self.failed}


def say(text: str) -> None:
    print(f"crash: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make crash", description=__doc__, formatter_class=as_written)
    parser.add_argument("--rounds", type=int, default=120, help="so many (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed draws the same kills")
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--mode", type=Mode, help=f"only {', '.join(mode.value for mode in Mode)}")
    parser.add_argument("--point", choices=tuple(POINTS), metavar="NAME", help="this point only")
    parser.add_argument("--parallel", type=int, default=2, help="clusters at a time")
    parser.add_argument("--directory", help="where the stores are made, instead of the temporary directory")
    parser.add_argument("--broken", action="store_true", help="witnesses that write late: to see that it is seen")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: must be at least 1")
    run = Run(options)
    asyncio.run(run.run())
    told = run.told()
    for name, value in told.items():
        if not options.json:
            print(f"{name:<20} {value}")
    if options.json:
        print(json.dumps(told), flush=True)
    return 0 if told["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
