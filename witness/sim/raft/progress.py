"""How far a campaign is: a bar on a terminal, a line now and then elsewhere; always on stderr."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from proto.clock import Clock
from proto.units import NS_PER_S
from witness.sim.raft.campaign import Plan
from witness.sim.raft.run import Result

LINE_EVERY_NS = 10 * NS_PER_S


class Progress:
    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._clock = clock
        self._of = "" if plan.schedules is None else f" of {plan.schedules}"
        self._began_ns = self._line_ns = clock.now()
        self._done = self._failed = 0
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=plan.schedules)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def failed(self) -> None:
        self._failed += 1

    def ended(self, result: Result) -> None:
        self._done += result.schedules
        now_ns = self._clock.now()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=self._says(now_ns))
        elif now_ns - self._line_ns >= LINE_EVERY_NS:
            self._line_ns = now_ns
            sys.stderr.write(self._says(now_ns) + "\n")
            sys.stderr.flush()

    def _says(self, now_ns: int) -> str:
        pace = self._done * NS_PER_S / max(1, now_ns - self._began_ns)
        return f"{self._done}{self._of} schedules, {self._failed} failed, {pace:.1f} a second"
