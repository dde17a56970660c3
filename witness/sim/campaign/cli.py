"""The command line that all campaigns share.

Exit codes: 0 clean; 1 something was violated, stuck or never hit; 2 arguments or a state file that are refused;
130, 143 or 129 ended by SIGINT, SIGTERM or SIGHUP with nothing found until then. The verdict is printed in all but 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from proto.clock import SystemClock
from proto.errors import ThirdsiteError
from proto.units import NS_PER_S
from witness.sim.campaign.bar import Bar
from witness.sim.campaign.crew import Signals
from witness.sim.campaign.engine import Plan, campaign
from witness.sim.campaign.keep import KEEP_DEFAULT, Keeper
from witness.sim.campaign.kit import NO_KINDS, Kit
from witness.sim.campaign.result import DIED, HUNG, Result
from witness.sim.campaign.state import Standing, StoredStanding, fingerprint
from witness.sim.campaign.verdict import Verdict

REFUSED = 2
SIGNALLED = 128
LOWEST = (("schedules", 1), ("seconds", 1), ("workers", 1), ("seed", 0), ("replay", 0))
EPILOG = (
    "exit code: 0 clean, 1 something was violated, stuck or (in a campaign of some size) never hit, 2 refused, "
    "128 + n ended by signal n; the verdict on what was done is printed then, too"
)


def parser(verb: str, says: str, kinds: Iterable[str], schedules_default: int) -> argparse.ArgumentParser:
    known = sorted(kinds)

    def chosen(text: str) -> tuple[str, ...]:
        names = () if text == NO_KINDS else tuple(sorted(set(text.split(","))))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; known are {', '.join(known)}")
        return names

    made = argparse.ArgumentParser(prog=f"make {verb}", description=says.splitlines()[0], epilog=EPILOG)
    add = made.add_argument
    add("--schedules", type=int, metavar="N", help=f"so many, all runs of a state file together ({schedules_default})")
    add("--seconds", type=int, metavar="S", help="as many as fit into this time; with --schedules: whichever is first")
    add("--seed", type=int, default=1, metavar="K", help="schedules have the seeds K, K+1, ...")
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="W", help="processes; all cores")
    add("--kinds", type=chosen, metavar="K,K", help=f"these kinds of faults instead of the seed's own; or {NO_KINDS}")
    add("--state", type=Path, metavar="FILE", help="go on where this file ends, and keep it up to date")
    add("--keep", type=Path, metavar="DIR", help=f"where failing schedules are written as files ({KEEP_DEFAULT})")
    add("--json", action="store_true", help="the last line is one JSON object")
    add("--replay", type=int, metavar="SEED", help="tell one schedule's story")
    add("--trace", action="store_true", help="with --replay: every message between witnesses too")
    made.set_defaults(schedules_default=schedules_default)
    return made


def parse(made: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    found = made.parse_args(argv)
    if found.schedules is None and found.seconds is None:
        found.schedules = found.schedules_default
    for name, lowest in LOWEST:
        value = getattr(found, name)
        if value is not None and value < lowest:
            made.error(f"--{name} {value}: must be at least {lowest}")
    if found.trace and found.replay is None:
        made.error("--trace: tells one schedule's story and needs --replay SEED")
    if found.state is not None and found.replay is not None:
        made.error("--state: is a campaign's; --replay tells one schedule's story and keeps nothing")
    return found


def run(kit: Kit, found: argparse.Namespace) -> int:
    try:
        return _many(kit, found) if found.replay is None else _replay(kit, found)
    except ThirdsiteError as error:
        sys.stderr.write(f"make {kit.name}: {error}\n")
        return REFUSED


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _replay(kit: Kit, found: argparse.Namespace) -> int:
    def note(at_ns: int, who: str, what: str) -> None:
        if found.trace or not what.startswith("-> "):
            _say(f"{at_ns / NS_PER_S:11.6f} {who:8} {what}")

    standing, clock = Standing(found.replay), SystemClock()
    began_ns = clock.now()
    result = kit.story(found.replay, found.kinds, note)
    result.spent_ns = standing.total.wall_ns = clock.now() - began_ns
    standing.ended(result)
    for violation in result.violations:
        _say(f"VIOLATION {violation}")
    verdict = Verdict(kit, standing.total, Plan(found.replay, 1, None, 1), chosen=True, interrupted=False)
    for kind, count in sorted(result.faults_hit.items()):
        _say(f"  {count:9} {kind}")
    if found.json:
        _say(json.dumps(verdict.summary()))
    return 1 if result.violations else 0


def _many(kit: Kit, found: argparse.Namespace) -> int:
    plan = Plan(found.seed, found.schedules, found.seconds, found.workers)
    standing, clock = _standing(kit, found), SystemClock()
    keeper = Keeper(kit, found.keep or KEEP_DEFAULT)
    bar = Bar(plan, standing.total, clock)

    def told(result: Result) -> None:
        if result.broke & {HUNG, DIED}:
            result.kinds = kit.drawn(result.seed, found.kinds)
        if result.violations and not kit.must_find:
            _say(kit.replay_line(result.seed, result.kinds, result.violations[0]))
            keeper.failed(result)

    with Signals() as signals:
        with bar:
            campaign(plan, kit.chosen(found.kinds), standing, clock, told, signals.asked, bar.tick)
        standing.close()
        verdict = Verdict(
            kit, standing.total, plan, chosen=found.kinds is not None, interrupted=signals.number is not None
        )
        _tell(verdict, keeper, as_json=found.json)
    if signals.number is not None and (kit.must_find or not standing.total.failed):
        return SIGNALLED + signals.number
    return 0 if verdict.success else 1


def _tell(verdict: Verdict, keeper: Keeper, *, as_json: bool) -> None:
    if keeper.paths:
        _say(f"{len(keeper.paths)} failing schedules are kept in {keeper.paths[0].parent.resolve()}")
    if as_json:
        _say(json.dumps(verdict.summary()))
    else:
        for line in verdict.lines():
            _say(line)


def _standing(kit: Kit, found: argparse.Namespace) -> Standing:
    if found.state is None:
        return Standing(found.seed)
    kinds = "" if found.kinds is None else f" --kinds {','.join(found.kinds) or NO_KINDS}"
    return StoredStanding(found.state, kit.command + kinds, found.seed, fingerprint(kit.sources))
