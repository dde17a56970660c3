"""`make mutants`: wrong variants of safety rules; the simulators, or the tests that are named, must kill every one.

    python tests/mutants/mutants_run.py                      all, each in a process of its own
    python tests/mutants/mutants_run.py --only NAME,..       some
    python tests/mutants/mutants_run.py --list               names, rules, budgets

Exit status 0: all were killed within their budgets, and the unchanged code was clean in the same schedules; 1: some
survived; 2: wrong arguments; 128 + n: ended by signal n. With --json the last line of stdout is one object, also then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from mutant import TESTS_ONLY, Mutant
from mutants_hunt import Verdict, hunt
from mutants_registry import BY_NAME, MUTANTS

from witness.sim.campaign.crew import Crew, Signals


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    if options.list:
        for mutant in MUTANTS:
            print(f"{mutant.name:34} {mutant.campaign:5} {mutant.budget:4}  {mutant.where}: {mutant.rule}")
            if mutant.why:
                print(f"{'':46}no schedule, because {mutant.why}")
        return 0
    chosen = [BY_NAME[name] for name in options.only] if options.only else list(MUTANTS)
    began = time.monotonic()
    with Signals() as signals:
        verdicts = _hunt_all(chosen, options.workers, options.most, signals)
    summary = _summary(verdicts, time.monotonic() - began, options.workers)
    if options.json:
        print(json.dumps(summary))
    else:
        _tell(summary, verdicts)
    if summary["survived"]:
        return 1
    return 0 if signals.number is None else 128 + signals.number


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", type=_names, metavar="NAME,..", help="these alone")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes; all cores")
    parser.add_argument("--most", type=int, metavar="N", help="no more schedules for each than this")
    parser.add_argument("--list", action="store_true", help="say what there is, and stop")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args(argv)
    for name in ("workers", "most"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value}: must be at least 1")
    return options


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: no such mutant; --list names them")
    return names


def hunt_by_name(name: str, most: int | None) -> Verdict:
    return hunt(BY_NAME[name], most)


def _died(name: str, code: int | None) -> Verdict:
    mutant = BY_NAME[name]
    says = f"the process that hunted it ended with exit code {code}"
    return Verdict(name, mutant.campaign, mutant.rule, mutant.where, mutant.budget, died=says)


def _hunt_all(mutants: list[Mutant], workers: int, most: int | None, signals: Signals) -> list[Verdict]:
    """The largest budgets first, so that the last worker does not end alone.

    A fresh process for each that schedules must kill. Those of the tests share theirs: each begins with the same
    tests on the unchanged code, which would notice what another one left behind.
    """
    verdicts: dict[str, Verdict] = {}
    for by_tests in (False, True):
        chosen = [mutant for mutant in mutants if (mutant.campaign == TESTS_ONLY) is by_tests]
        order = sorted(chosen, key=lambda mutant: -mutant.budget)

        def told(verdict: Verdict) -> None:
            verdicts[verdict.name] = verdict
            print(f"[{len(verdicts)}/{len(mutants)}] {_words(verdict)}", file=sys.stderr, flush=True)

        crew = Crew(partial(hunt_by_name, most=most), workers, _died, fresh=not by_tests)
        crew.run(iter([mutant.name for mutant in order]), told, signals.asked)
    return [verdicts[mutant.name] for mutant in mutants if mutant.name in verdicts]


def _words(verdict: Verdict) -> str:
    by = ", ".join(verdict.by)
    if verdict.false_alarm:
        return f"FALSE ALARM {verdict.name}: the unchanged code is objected to as well ({by})"
    if not verdict.killed:
        others = verdict.died or by or ", ".join(sorted(verdict.also)) or "no objection"
        return f"SURVIVED {verdict.name}: {verdict.schedules} schedules, {verdict.seconds} s ({others})"
    if verdict.campaign == TESTS_ONLY:
        return f"killed {verdict.name} by {by} in {verdict.seconds} s"
    return f"killed {verdict.name} by {by}: schedule {verdict.schedules} of {verdict.budget}, {verdict.seconds} s"


def _summary(verdicts: list[Verdict], seconds: float, workers: int) -> dict[str, object]:
    needed = [verdict.schedules for verdict in verdicts if verdict.campaign != TESTS_ONLY and not verdict.survived]
    return {
        "mutants": len(verdicts),
        "survived": [verdict.name for verdict in verdicts if verdict.survived],
        "killed_by_schedules": len(needed),
        "killed_by_tests": sum(verdict.campaign == TESTS_ONLY and not verdict.survived for verdict in verdicts),
        "schedules_median": statistics.median(needed) if needed else None,
        "schedules_most": max(needed, default=None),
        "wall_s": round(seconds, 1),
        "workers": workers,
        "each": [verdict.as_json() for verdict in verdicts],
    }


def _tell(summary: dict[str, object], verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        if verdict.survived:
            print(_words(verdict))
    print(
        f"{summary['mutants']} mutants, {len(summary['survived'])} survived; "
        f"{summary['killed_by_schedules']} killed by schedules (median {summary['schedules_median']}, "
        f"at most {summary['schedules_most']}), "
        f"{summary['killed_by_tests']} by tests; {summary['wall_s']} s with {summary['workers']} workers"
    )


if __name__ == "__main__":
    sys.exit(main())
