"""`python -m witness.sim`: so many schedules from a seed; exit code 1 when anything was violated.

A violation is one line that replays it. `--trace` tells one schedule's story as it unfolds.
"""

from __future__ import annotations

import argparse
import json
import sys

from proto.clock import SystemClock
from proto.units import NS_PER_S
from witness.sim.faults import FAULTS
from witness.sim.run import NO_KINDS, Result, campaign, drawn, rate, replay_line, run_schedule

SCHEDULES_DEFAULT = 100


def _kinds(text: str) -> tuple[str, ...]:
    names = () if text == NO_KINDS else tuple(text.split(","))
    unknown = sorted(set(names) - set(FAULTS))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such fault: {', '.join(unknown)}; known are {', '.join(sorted(FAULTS))}")
    return tuple(sorted(set(names)))


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m witness.sim", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--schedules", type=int, default=SCHEDULES_DEFAULT, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="schedules have the seeds S, S+1, ...")
    parser.add_argument("--kinds", type=_kinds, metavar="K,K", help="these kinds of faults instead of the seed's own")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    parser.add_argument("--trace", action="store_true", help="tell the story of the first schedule, and no other")
    found = parser.parse_args(argv)
    if found.schedules < 1 or found.seed < 0:
        parser.error("--schedules must be at least 1 and --seed at least 0")
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _progress(done: int, schedules: int, total: Result) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}/{schedules} schedules, {total.simulated_ns // NS_PER_S} s, ")
        sys.stderr.write(f"{len(total.violations)} violations ")
        sys.stderr.write("\n" if done == schedules else "")
        sys.stderr.flush()


def _say_violations(result: Result) -> None:
    for seed, violation in result.violations[:1]:
        _say(replay_line(seed, result.kinds, violation))


def _story(seed: int, kinds: tuple[str, ...] | None) -> Result:
    setup = drawn(seed, kinds)
    _say(f"{setup}")
    result = run_schedule(
        seed, trace=lambda at_ns, who, what: _say(f"{at_ns / NS_PER_S:11.6f} {who:8} {what}"), setup=setup
    )
    _say_violations(result)
    return result


def _many(seed: int, schedules: int, kinds: tuple[str, ...] | None) -> Result:
    running = Result()

    def told(done: int, result: Result) -> None:
        running.add(result)
        _say_violations(result)
        _progress(done, schedules, running)

    return campaign(seed, schedules, told, kinds)


def _verdict(total: Result, pace: float) -> None:
    _say(
        f"{len(total.violations)} violations ({total.count('overlap')} overlaps, {total.count('stuck')} stuck) in "
        f"{total.schedules} schedules, {total.simulated_ns / NS_PER_S:.0f} simulated seconds ({pace:.0f} a second)"
    )
    for kind, count in sorted(total.faults_hit.items()):
        _say(f"  {kind:28} {count}")


def main(argv: list[str] | None = None) -> int:
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    clock = SystemClock()
    since_ns = clock.now()
    if arguments.trace:
        total = _story(arguments.seed, arguments.kinds)
    else:
        total = _many(arguments.seed, arguments.schedules, arguments.kinds)
    if arguments.json:
        _say(json.dumps(total.summary()))
    else:
        _verdict(total, rate(total, clock, since_ns))
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
