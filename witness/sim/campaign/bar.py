"""How far a campaign is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from proto.clock import Clock
from proto.units import NS_PER_S
from witness.sim.campaign.engine import Plan
from witness.sim.campaign.total import Total

LINE_EVERY_NS = 10 * NS_PER_S
MINUTE_S, HOUR_S = 60, 3_600


class Bar:
    def __init__(self, plan: Plan, total: Total, clock: Clock, *, terminal: bool | None = None) -> None:
        self._plan = plan
        self._total = total
        self._clock = clock
        self._began_ns = self._line_ns = clock.now()
        self._before = total.schedules
        self._bar: Progress | None = None
        if sys.stderr.isatty() if terminal is None else terminal:
            columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=1.0)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tick(self) -> None:
        """As often as one likes."""
        now_ns = self._clock.now()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._share(now_ns), description=self.says(now_ns))
        elif now_ns - self._line_ns >= LINE_EVERY_NS:
            self._line_ns = now_ns
            sys.stderr.write(self.says(now_ns) + "\n")
            sys.stderr.flush()

    def says(self, now_ns: int) -> str:
        plan, total = self._plan, self._total
        spent_s = max(1e-9, (now_ns - self._began_ns) / NS_PER_S)
        pace = (total.schedules - self._before) / spent_s
        of = "" if plan.schedules is None else f" of {plan.schedules}"
        left_s = self._left_s(spent_s, pace)
        eta = "" if left_s is None else f", {_span(left_s)} left"
        return f"{total.schedules}{of} schedules, {total.failed} failed, {pace:.1f} a second{eta}"

    def _left_s(self, spent_s: float, pace: float) -> float | None:
        """By whichever limit comes first; None while nobody can know."""
        plan, ways = self._plan, []
        if plan.seconds is not None:
            ways.append(max(0.0, plan.seconds - spent_s))
        if plan.schedules is not None and pace > 0:
            ways.append(max(0, plan.schedules - self._total.schedules) / pace)
        return min(ways, default=None)

    def _share(self, now_ns: int) -> float:
        plan, shares = self._plan, [0.0]
        if plan.schedules is not None:
            shares.append(self._total.schedules / plan.schedules)
        if plan.seconds is not None:
            shares.append((now_ns - self._began_ns) / (plan.seconds * NS_PER_S))
        return min(1.0, max(shares))


def _span(span_s: float) -> str:
    whole = round(span_s)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
