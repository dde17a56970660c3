"""Runs a campaign: seeds in order to the crew, what it tells to the sum, the state file, the keeper of failures.

Which worker takes which seed changes nothing: a seed is its whole story. A schedule that does not come back in real
time (a loop under a clock that stands still), or whose process dies, is a violation like any other.
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from proto.clock import Clock, SystemClock
from proto.units import NS_PER_S
from witness.sim.campaign.crew import Crew, Hung
from witness.sim.campaign.result import DIED, HUNG, Result
from witness.sim.campaign.state import Standing
from witness.sim.raft.checkers import Violation

SCHEDULE_S_MAX = 120
COLLECT_EVERY = 8
"""Schedules: each leaves a large ring behind, as hosts, network and events know each other."""
SAVE_EVERY_NS = 5 * NS_PER_S
Run = Callable[[int], Result]


@dataclass(frozen=True, slots=True)
class Plan:
    first_seed: int
    schedules: int | None
    """None: as many as fit into `seconds`. With a state file: all runs together."""
    seconds: int | None
    """Of this run."""
    workers: int


def campaign(
    plan: Plan,
    run: Run,
    standing: Standing,
    clock: Clock,
    told: Callable[[Result], None],
    stop: Callable[[], bool],
    tick: Callable[[], None],
) -> None:
    """`told` hears of every schedule as it ends; `standing` has the sum, from where it stood."""
    total, began_ns, before_ns = standing.total, clock.now(), standing.total.wall_ns
    saved_ns = began_ns

    def ended(result: Result) -> None:
        nonlocal saved_ns
        standing.ended(result)
        told(result)
        total.wall_ns = before_ns + clock.now() - began_ns
        if clock.now() - saved_ns >= SAVE_EVERY_NS:
            standing.save()
            saved_ns = clock.now()

    crew = Crew(partial(bounded, run), plan.workers, _died, item_s_max=SCHEDULE_S_MAX)
    try:
        crew.run(_seeds(plan, standing, clock), ended, stop, tick)
    finally:
        total.wall_ns = before_ns + clock.now() - began_ns
        standing.save()


def _seeds(plan: Plan, standing: Standing, clock: Clock) -> Iterator[int]:
    """Those that are not done, until all are given out or the time is over."""
    began_ns = clock.now()
    end = None if plan.schedules is None else plan.first_seed + plan.schedules
    for seed in standing.left(end):
        if plan.seconds is not None and clock.now() - began_ns >= plan.seconds * NS_PER_S:
            return
        yield seed


def _died(seed: int, code: int | None) -> Result:
    return Result(seed, [Violation(DIED, 0, f"the process that ran the schedule ended with exit code {code}")])


# -- inside of a worker --------------------------------------------------------------------------------------


def bounded(run: Run, seed: int) -> Result:
    _clean(seed)
    clock = SystemClock()
    since_ns, cpu_ns = clock.now(), _cpu_ns()
    try:
        result = run(seed)
    except Hung:
        says = f"the schedule did not end within {SCHEDULE_S_MAX} s of real time"
        result = Result(seed, [Violation(HUNG, 0, says)])
    result.spent_ns, result.cpu_ns = clock.now() - since_ns, _cpu_ns() - cpu_ns
    return result


def _clean(seed: int) -> None:
    if seed % COLLECT_EVERY == 0:
        gc.collect()
    if not gc.get_freeze_count():
        gc.freeze()  # the program itself need not be looked through again and again


def _cpu_ns() -> int:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * NS_PER_S)
