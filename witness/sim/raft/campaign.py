"""Many schedules on all cores: seeds in order, workers of their own, one sum; a violation stops its schedule alone.

A schedule that does not come back in real time (a loop under a clock that stands still) is stopped by an alarm and
counts as a violation. Which worker takes which seed changes nothing: a seed is its whole story.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from types import FrameType

from proto.clock import Clock
from proto.units import NS_PER_S
from witness.sim.raft.checkers import Violation
from witness.sim.raft.faults import CONSEQUENCES, KINDS
from witness.sim.raft.run import Result, run_schedule

SEEDS_PER_TASK = 8
TASKS_AHEAD = 3
SCHEDULE_S_MAX = 120
JUDGED_FROM = 500
"""From so many schedules on, a kind of fault that was never hit makes the campaign fail."""
Run = Callable[[int], Result]
Told = Callable[[Result], None]


class Hung(BaseException):
    """Raised by the alarm into whatever a schedule is doing."""


@dataclass(frozen=True, slots=True)
class Plan:
    first_seed: int
    schedules: int | None
    """None: as many as fit into `seconds`."""
    seconds: int | None
    workers: int


def campaign(plan: Plan, clock: Clock, told: Told, run: Run = run_schedule) -> Result:
    """`told` hears of every schedule as it ends."""
    total = Result()
    tasks = _tasks(plan, clock)
    if plan.workers == 1:
        for first, count in tasks:
            for result in seeds(run, first, count):
                _count(total, result, told)
        return total
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(plan.workers, mp_context=context) as pool:
        running: set[Future[list[Result]]] = set()
        for first, count in tasks:
            running.add(pool.submit(seeds, run, first, count))
            if len(running) >= plan.workers * TASKS_AHEAD:
                running = _collect(running, total, told)
        while running:
            running = _collect(running, total, told)
    return total


def _collect(running: set[Future[list[Result]]], total: Result, told: Told) -> set[Future[list[Result]]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        for result in future.result():
            _count(total, result, told)
    return rest


def _count(total: Result, result: Result, told: Told) -> None:
    total.add(result)
    told(result)


def _tasks(plan: Plan, clock: Clock) -> Iterator[tuple[int, int]]:
    """First seed and count, until all are given out or the time is over."""
    seed, began_ns = plan.first_seed, clock.now()
    left = plan.schedules
    while left is None or left > 0:
        if plan.seconds is not None and clock.now() - began_ns >= plan.seconds * NS_PER_S:
            return
        count = SEEDS_PER_TASK if left is None else min(SEEDS_PER_TASK, left)
        yield seed, count
        seed += count
        left = None if left is None else left - count


def seeds(run: Run, first: int, count: int) -> list[Result]:
    """A worker's task."""
    gc.collect()  # a schedule leaves a large ring behind: hosts, network and events know each other
    if not gc.get_freeze_count():
        gc.freeze()  # the program itself need not be looked through again and again
    return [_bounded(partial(run, seed), seed) for seed in range(first, first + count)]


def _bounded(run: Callable[[], Result], seed: int) -> Result:
    try:
        with _alarm(SCHEDULE_S_MAX):
            return run()
    except Hung:
        text = f"the schedule did not end within {SCHEDULE_S_MAX} s of real time"
        return Result(schedules=1, violations=[(seed, Violation("hung", 0, text))])


@contextlib.contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def never_hit(total: Result) -> list[str]:
    """Kinds that a campaign of this size had to hit and did not."""
    if total.schedules < JUDGED_FROM:
        return []
    return sorted(kind for kind in KINDS | CONSEQUENCES if not total.faults_hit[kind])


def distinct(total: Result) -> list[tuple[str, int, int]]:
    """Failures that differ in more than numbers: words, how many schedules, the first seed."""
    first: dict[str, int] = {}
    counts: Counter[str] = Counter()
    seen: set[tuple[str, int]] = set()
    for seed, violation in total.violations:
        words = f"{violation.kind}: {re.sub(r'[0-9]+', 'N', violation.text)[:160]}"
        first[words] = min(seed, first.get(words, seed))
        if (words, seed) not in seen:
            seen.add((words, seed))
            counts[words] += 1
    return [(words, count, first[words]) for words, count in counts.most_common()]
