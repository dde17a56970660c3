"""The exhaustive small-state model of the lease, from the command line.

    python tests/model/run.py                         search the CI scenarios with the full rules
    python tests/model/run.py --removed all           take the rules away one at a time; each must be caught
    python tests/model/run.py --removed NAME --trace  ... and print the story of how two sites become active
    python tests/model/run.py --ways-out              no state is a dead end once faults stop
    python tests/model/run.py --bound large           larger bounds: minutes to hours, see --time-limit
    python tests/model/run.py --list                  the scenarios, their bounds, and the rules that can be removed

A search visits every state that the bounds allow, breadth first, so a counterexample is a shortest one. "proved"
means exhausted within those bounds; a search that met a limit says "gave up" and has proved nothing beyond the
states it saw. Exit status 0: everything asked for held (full rules unbroken, removed rules caught); 1: it did not;
2: wrong arguments; 3: nothing was broken but a limit was met. What the model covers: docs/lease-safety.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields

from leasemodel import checks, engine
from leasemodel.layers import (
    EVERY_BY_NAME,
    EVERY_LARGE,
    EVERY_REDUNDANT,
    EVERY_REMOVED,
    EVERY_REMOVED_LARGE,
    EVERY_SMALL,
    EVERY_WAYS_OUT,
    WAYS_BACK,
    WAYS_OUT,
    AnyBounds,
    layer_of,
)
from leasemodel.removed import Removed

REMOVABLE = {removed.name: removed for removed in (*EVERY_REMOVED, *EVERY_REMOVED_LARGE, *EVERY_REDUNDANT)}
OK, FAILED, GAVE_UP = 0, 1, 3


@dataclass(frozen=True)
class Job:
    """One search: picklable, so that it can run in a process of its own."""

    kind: str
    name: str
    scenario: str
    limits: engine.Limits
    progress: bool
    expect: str


@dataclass(frozen=True)
class Line:
    """What one search has to say."""

    kind: str
    name: str
    scenario: str
    states: int
    transitions: int
    depth: int
    seconds: float
    verdict: str
    broken: str | None
    ok: bool
    gave_up: bool
    trace: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.list:
        _print_list()
        return OK
    jobs = list(_jobs(options, parser))
    lines = []
    run: Callable[[Job], Line] = _run
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        for line in map(run, jobs) if options.jobs == 1 else pool.map(run, jobs):
            lines.append(line)
            if not options.json:
                _print_line(line, trace=options.trace or not line.ok)
    if options.json:
        print(json.dumps(_as_json(lines, with_trace=options.trace)))
    else:
        _print_total(lines)
    if not all(line.ok for line in lines):
        return FAILED
    return GAVE_UP if any(line.gave_up for line in lines) else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--bound", choices=("ci", "large"), default="ci", help="which set of scenarios (default: ci)")
    what.add_argument("--scenario", metavar="NAME", help="one scenario by name (see --list)")
    what.add_argument("--removed", metavar="NAME", help="a removed rule by name, or 'all'")
    what.add_argument("--ways-out", action="store_true", help="search for dead ends instead of broken promises")
    what.add_argument("--list", action="store_true", help="list scenarios and removable rules, and stop")
    parser.add_argument("--in", dest="within", metavar="SCENARIO", help="with --removed: search in this scenario")
    parser.add_argument("--trace", action="store_true", help="print each counterexample step by step")
    parser.add_argument(
        "--time-limit", type=_positive, default=600, metavar="SECONDS", help="give up a search (default: 600)"
    )
    parser.add_argument(
        "--max-states",
        type=_positive,
        default=10_000_000,
        metavar="N",
        help="give up a search; a million states take about half a gigabyte (default: 10 million)",
    )
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="searches at the same time (default: 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is refused: must be 1 or more")
    return value


def _jobs(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Iterator[Job]:
    limits = engine.Limits(options.max_states, float(options.time_limit))
    noisy = not options.quiet and not options.json
    for name in (options.scenario, options.within):
        if name is not None and name not in EVERY_BY_NAME:
            parser.error(f"scenario {name!r} is not known: choose one of {', '.join(EVERY_BY_NAME)}")
    if options.removed:
        names = list(REMOVABLE) if options.removed == "all" else [options.removed]
        for name in names:
            if name not in REMOVABLE:
                parser.error(f"rule {name!r} is not known: choose 'all' or one of {', '.join(REMOVABLE)}")
            expect = "held" if REMOVABLE[name] in EVERY_REDUNDANT else "broken"
            scenario = options.within or REMOVABLE[name].scenario
            yield Job("removed", name, scenario, limits, noisy, "either" if options.within else expect)
    elif options.ways_out:
        for name in WAYS_OUT:
            yield Job("ways-out", "full rules", name, limits, noisy, "held")
        for name in WAYS_BACK:
            yield Job("ways-back", "full rules", name, limits, noisy, "held")
        for removed in EVERY_WAYS_OUT:
            kind = "ways-back" if removed.scenario in WAYS_BACK else "ways-out"
            yield Job(kind, removed.name, removed.scenario, limits, noisy, "broken")
    else:
        chosen = EVERY_SMALL if options.bound == "ci" else EVERY_LARGE
        if options.scenario:
            chosen = (EVERY_BY_NAME[options.scenario],)
        for bounds in chosen:
            yield Job("rules", "full rules", bounds.name, limits, noisy, "held")


def _run(job: Job) -> Line:
    progress = _progress(job) if job.progress else None
    if job.kind.startswith("ways"):
        return _run_ways(job)
    if job.kind == "removed":
        found = checks.check_removed(REMOVABLE[job.name], job.limits, progress, job.scenario)
    else:
        found = checks.check_rules(EVERY_BY_NAME[job.scenario], job.limits, progress)
    return _line(job, found, found.broken, gave_up=found.broken is None and not found.exhausted)


def _run_ways(job: Job) -> Line:
    rules = {removed.name: removed.rules for removed in EVERY_WAYS_OUT}.get(job.name)
    bounds = EVERY_BY_NAME[job.scenario]
    ends = checks.check_ways_back(bounds, rules) if job.kind == "ways-back" else checks.check_ways_out(bounds, rules)
    found = checks.Found(ends.states, ends.transitions, seconds=ends.seconds, exhausted=True, trace=ends.trace)
    broken = f"{ends.stuck} of {ends.asked} states are dead ends" if ends.stuck else None
    return _line(job, found, broken, gave_up=False)


def _line(job: Job, found: checks.Found, broken: str | None, *, gave_up: bool) -> Line:
    verdict = "gave up" if gave_up else "proved" if broken is None else "broken" if job.expect == "held" else "caught"
    if job.kind == "removed" and broken is None and not gave_up:
        verdict = "not needed here"
    wanted = {"held": broken is None, "broken": broken is not None, "either": True}[job.expect]
    bounds = EVERY_BY_NAME[job.scenario]
    trace = layer_of(bounds).words(found.trace, bounds) if found.trace else ""
    return Line(
        job.kind,
        job.name,
        job.scenario,
        found.states,
        found.transitions,
        max(found.depth, len(found.trace) - 1),
        round(found.seconds, 2),
        verdict,
        broken,
        wanted,
        gave_up,
        trace,
    )


def _progress(job: Job) -> engine.Progress:
    def say(states: int, waiting: int, depth: int, seconds: float) -> None:
        print(
            f"  {job.name} in {job.scenario}: {states:,} states, {waiting:,} to expand, depth {depth}, {seconds:.0f} s",
            file=sys.stderr,
            flush=True,
        )

    return say


def _print_line(line: Line, *, trace: bool) -> None:
    mark = "ok  " if line.ok else "FAIL"
    told = f": {line.broken}" if line.broken else ""
    size = f"{line.states:>9,} states, depth {line.depth:>2}, {line.seconds:6.1f} s"
    print(f"{mark} {line.name:<32} {line.scenario:<18} {size}  {line.verdict}{told}", flush=True)
    if trace and line.trace:
        print(textwrap.indent(line.trace, "     "), flush=True)


def _print_total(lines: list[Line]) -> None:
    states = sum(line.states for line in lines)
    failed = sum(not line.ok for line in lines)
    unfinished = sum(line.gave_up for line in lines)
    print(f"{len(lines)} searches, {states:,} states; {failed} failed, {unfinished} gave up at a limit")


def _as_json(lines: list[Line], *, with_trace: bool) -> dict[str, object]:
    names = [f.name for f in fields(Line) if with_trace or f.name != "trace"]
    return {
        "ok": all(line.ok for line in lines),
        "exhaustive": not any(line.gave_up for line in lines),
        "states": sum(line.states for line in lines),
        "searches": [{name: getattr(line, name) for name in names} for line in lines],
    }


def _print_list() -> None:
    for title, group in (("CI scenarios", EVERY_SMALL), ("Large scenarios", EVERY_LARGE)):
        print(f"{title}:")
        for bounds in group:
            print(f"  {bounds.name:<20} {bounds.about}\n  {'':<20} {_bounds_words(bounds)}")
    for title, rules in (
        ("Rules that can be removed, each caught in the scenario named", EVERY_REMOVED),
        ("The same, in searches that CI does without", EVERY_REMOVED_LARGE),
        ("Clauses that another rule doubles (removing one alone breaks nothing)", EVERY_REDUNDANT),
        ("Rules without which the service cannot come back (--ways-out)", EVERY_WAYS_OUT),
    ):
        print(f"{title}:")
        for removed in rules:
            print(f"  {removed.name:<32} {removed.scenario:<18} {_first_line(removed)}")


def _first_line(removed: Removed) -> str:
    return removed.about.split("\n", 1)[0]


def _bounds_words(bounds: AnyBounds) -> str:
    return ", ".join(f"{f.name}={getattr(bounds, f.name)}" for f in fields(bounds) if f.name not in ("name", "about"))


if __name__ == "__main__":
    sys.exit(main())
