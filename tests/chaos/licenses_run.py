"""Takeovers and handovers of a licensed Navixy: a real vendor's law, real databases, one key that changes all the time.

    python tests/chaos/licenses_run.py --rounds 20 --seed 7    20 rounds, drawn from that seed
    python tests/chaos/licenses_run.py --kinds kill,freeze --rounds 4
    python tests/chaos/licenses_run.py --seed 7 --rounds 20 --only 4   round 4 of that plan again
    python tests/chaos/licenses_run.py --kinds kill --rounds 4 --without-escrow   what that would cost
    python tests/chaos/licenses_run.py --plan --seed 7         prints the plan, runs nothing
    python tests/chaos/licenses_run.py --list                  the kinds

The product runs as it is shipped, from a wheel of this checkout: three witnesses and two sites, each a host in a
network namespace of its own, with MariaDB replication and the commands of deploy/navixy. The vendor's own record is the
referee: never two sites with the license active at once, never a key that is not the newest. At the end the ledger is
proved, and copies that were tampered with are refused. Needs root, ip, nft, nsenter and MariaDB. Some thirty seconds a
round.

Exit status 0: all of it held; 1: not so (logs are kept and named, and one line replays it); 2: wrong arguments; 3: it
cannot run here, and why; 128 + n: ended by signal n. With --json the last line of stdout is one object.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

INTEGRATION = Path(__file__).resolve().parents[1] / "integration"
if str(INTEGRATION) not in sys.path:
    sys.path.insert(0, str(INTEGRATION))  # there are no packages in tests/
from chaosrig import chaos_own  # noqa: E402  # after the line above
from chaosrig.chaos_campaign import Interrupted, heed_signals, signals_wait  # noqa: E402  # as above
from chaosrig.chaos_wheel import product  # noqa: E402  # as above
from licenserig.license_campaign import Campaign  # noqa: E402  # as above
from licenserig.license_plan import KINDS, RENEWALS, Round, make_plan  # noqa: E402  # as above
from licenserig.license_show import table, told  # noqa: E402  # as above
from licenserig.license_world import World  # noqa: E402  # as above
from maria_rig import missing_mariadb, remove_seed  # noqa: E402  # as above

from proto.errors import BadValue  # noqa: E402  # as above
from witness.demo.command import parse_ttl  # noqa: E402  # as above

ROUNDS_MAX = 10_000
CANNOT = 3


def say(text: str) -> None:
    print(f"licenses: {text}", file=sys.stderr, flush=True)


def _options(argv: list[str]) -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="make licenses", description=__doc__, formatter_class=as_written)
    parser.add_argument("--rounds", type=int, default=10, help="so many (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="draws the whole plan (default 1)")
    parser.add_argument("--ttl", default="6s", help="of the lease (default 6s)")
    parser.add_argument("--kinds", metavar="NAME,..", help="of these kinds")
    parser.add_argument("--only", metavar="N,..", help="these rounds of the plan")
    parser.add_argument("--without-escrow", action="store_true", help="no license is configured: what that would cost")
    parser.add_argument("--plan", action="store_true", help="print the plan, run nothing")
    parser.add_argument("--list", action="store_true", help="the kinds, and how the key changes before them")
    parser.add_argument("--keep", action="store_true", help="keep logs and configurations also when all held")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(argv)
    if not 1 <= options.rounds <= ROUNDS_MAX:
        parser.error(f"--rounds {options.rounds}: must lie between 1 and {ROUNDS_MAX}")
    options.names = list(KINDS) if options.kinds is None else options.kinds.split(",")
    for name in options.names:
        if name not in KINDS:
            parser.error(f"--kinds {name}: no such kind; choose of {', '.join(KINDS)}")
    try:
        options.ttl_ms = parse_ttl(options.ttl)
        options.numbers = None if options.only is None else {int(word) for word in options.only.split(",")}
    except BadValue as refused:
        parser.error(str(refused))
    except ValueError:
        parser.error(f"--only {options.only}: numbers of rounds, parted by commas")
    return options


def _replay(options: argparse.Namespace, numbers: str) -> str:
    kinds = "" if options.kinds is None else f" --kinds {options.kinds}"
    only = f" --only {numbers}" if numbers else ""
    more = f"{kinds}{' --without-escrow' if options.without_escrow else ''}{only}"
    return f'make licenses ARGS="--rounds {options.rounds} --seed {options.seed} --ttl {options.ttl}{more}"'


def _show_kinds() -> None:
    print("what strikes the active site:")
    for kind in KINDS.values():
        print(f"  {kind.name:<12} {kind.says}")
    print("how its key changes right before:")
    for name, says in RENEWALS.items():
        print(f"  {name:<12} {says}")


def _show_plan(options: argparse.Namespace, plan: list[Round]) -> None:
    print(f"seed {options.seed}, {options.rounds} rounds, ttl {options.ttl}")
    print(f"{'ROUND':>5} {'KIND':<12} THE KEY")
    for one in plan:
        print(f"{one.number:>5} {one.kind:<12} {one.renewal}")


def main(argv: list[str]) -> int:
    options = _options(argv)
    if options.list:
        _show_kinds()
        return 0
    plan = make_plan([KINDS[name] for name in options.names], options.rounds, options.seed, options.ttl_ms)
    plan = [one for one in plan if options.numbers is None or one.number in options.numbers]
    if options.plan:
        _show_plan(options, plan)
        return 0
    why = chaos_own.missing() or missing_mariadb()
    if why:
        say(f"CANNOT RUN HERE: {why}")
        return CANNOT
    heed_signals()
    return _run(options, plan)


def _run(options: argparse.Namespace, plan: list[Round]) -> int:
    programs = product()
    chaos_own.enter()
    make = partial(World, options.ttl_ms, programs, escrow=not options.without_escrow)
    campaign = Campaign(make, options.seed, say, options.keep)
    try:
        campaign.perform(plan)
    finally:
        with signals_wait():
            remove_seed()
    bad = ",".join(str(one.round.number) for one in campaign.outcomes if one.bad)
    result = told(campaign, options.seed, options.ttl_ms, _replay(options, bad))
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
