"""`make fuzz-plain`: the schedules of `make fuzz` against the library as it is shipped; counts what it breaks.

The same worlds, faults, checkers and campaign (witness.sim). It shows that the checkers see, and what our remedies are
for: exit code 1 when nothing was found. `--ours` runs the very same schedules against the node that ships.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from plain_subject import Plain, kinds, setup_of

from witness.sim.campaign import cli
from witness.sim.campaign.kit import Kit, Note
from witness.sim.campaign.result import Result
from witness.sim.raft.hardened import Hardened
from witness.sim.raft.run import run_schedule
from witness.sim.raft.setup import with_kinds

SCHEDULES_DEFAULT = 1_000
SAFETY = frozenset(
    {"agreement", "prefix", "state", "order", "durable", "twice", "leaders", "completeness", "votes", "term"}
)
"""Kinds of violations that Raft promises never to happen; the others are of liveness or of work."""
Kinds = tuple[str, ...] | None


def run_one(
    seed: int, /, *, stray: bool, power: bool, ours: bool, kinds: Kinds = None, note: Note | None = None
) -> Result:
    setup = setup_of(seed, stray=stray, power=power)
    setup = setup if kinds is None else with_kinds(setup, kinds)
    if note is not None:
        note(0, "world", str(setup))
    return run_schedule(seed, make=Hardened if ours else Plain, trace=note, setup=setup)


def kit_of(found: argparse.Namespace) -> Kit:
    stray, power, ours = found.links == "any", not found.no_power, found.ours
    run = partial(run_one, stray=stray, power=power, ours=ours)
    chosen = ("--no-power" * found.no_power, "--ours" * ours)
    return Kit(
        name="fuzz-plain",
        run=run,
        story=lambda seed, named, note: run(seed, kinds=named, note=note),
        drawn=lambda seed, named: setup_of(seed, stray=stray, power=power).kinds if named is None else named,
        kinds=kinds(stray=stray, power=power),
        catalogue=(),
        schedules_default=SCHEDULES_DEFAULT,
        judged_from=SCHEDULES_DEFAULT,
        options=" ".join((f"--links {found.links}", *(flag for flag in chosen if flag))),
        unsafe=SAFETY,
        sources=(Path(__file__).parent,),
        must_find=not ours,
    )


def main(argv: list[str] | None = None) -> int:
    made = cli.parser("fuzz-plain", __doc__ or "", kinds(stray=True, power=True), SCHEDULES_DEFAULT)
    made.add_argument("--links", choices=("fifo", "any"), default="any", help="fifo: what TCP does, and no more")
    made.add_argument("--no-power", action="store_true", help="no loss of power, which the library never survives")
    made.add_argument("--ours", action="store_true", help="the same schedules against the node that ships")
    found = cli.parse(made, sys.argv[1:] if argv is None else argv)
    return cli.run(kit_of(found), found)


if __name__ == "__main__":
    sys.exit(main())
