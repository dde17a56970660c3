"""Worker processes that do one item after another, and that never outlive the process that started them.

Rule: the parent only hands out, listens and decides; it is never inside an item, so a signal ends all workers at once
and what they had told by then counts. A worker whose parent is gone notices within a second, in the middle of an item
too. A worker that dies by itself has told something about its item: `died` says what, and a new one takes its place.

Rejected: a pool of concurrent.futures. A SIGTERM to the parent leaves its children, and a dead child breaks the pool.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from types import FrameType
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
AHEAD = 3
"""Items that lie with a worker, so that it never waits for its parent."""
TICK_S = 0.2
END_S_MAX = 5.0
DEATHS_MAX = 50
"""So many dead workers are findings; more are a machine that cannot run them."""
ALARM_S = 1.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Hung(BaseException):
    """Raised by the alarm into an item that takes too long; the job says what that means."""


class TooManyDeaths(RuntimeError):
    """The remedy is outside: memory, limits, a broken environment."""


class Signals:
    """Notes the first signal that asks for an end."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._noted) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _noted(self, number: int, _frame: FrameType | None) -> None:
        self.number = self.number or number

    def asked(self) -> bool:
        return self.number is not None


class _Worker(Generic[Item, Outcome]):
    def __init__(self, context: SpawnContext, job: Callable[[Item], Outcome], item_s_max: int | None) -> None:
        self.pipe, theirs = context.Pipe()
        how = (theirs, job, os.getpid(), item_s_max)
        self.process: SpawnProcess = context.Process(target=_work, args=how, daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()
        self.items: deque[Item] = deque()

    def give(self, item: Item) -> None:
        self.items.append(item)
        with contextlib.suppress(OSError):  # it died: that is noticed where it is listened to
            self.pipe.send((item,))

    def end(self) -> None:
        self.process.kill()  # it is deaf to anything less, and holds nothing that would have to be put in order
        self.process.join(END_S_MAX)
        self.pipe.close()


class Crew(Generic[Item, Outcome]):
    """`died` makes an outcome of an item whose worker died, and of its exit code.

    `fresh`: a new process for each item. `item_s_max`: Hung is raised into an item that takes longer.
    """

    def __init__(
        self,
        job: Callable[[Item], Outcome],
        workers: int,
        died: Callable[[Item, int | None], Outcome],
        *,
        fresh: bool = False,
        item_s_max: int | None = None,
    ) -> None:
        self._job = job
        self._size = workers
        self._died = died
        self._fresh = fresh
        self._item_s_max = item_s_max
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker[Item, Outcome]] = []
        self._deaths = 0

    def run(
        self,
        items: Iterator[Item],
        told: Callable[[Outcome], None],
        stop: Callable[[], bool],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` hears of each outcome as it comes; `stop` ends everything now, with what was told; `tick` often."""
        waiting: deque[Item] = deque()
        try:
            while not stop():
                self._hand_out(items, waiting)
                if not self._workers:
                    return
                pipes = {worker.pipe: worker for worker in self._workers}
                for pipe in wait(list(pipes), TICK_S):
                    self._listen(pipes[pipe], waiting, told)  # type: ignore[index]  # wait() knows not what it is given
                tick()
        finally:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def _hand_out(self, items: Iterator[Item], waiting: deque[Item]) -> None:
        """To whoever has room; a worker without work, when there is none left, is ended."""
        ahead = 1 if self._fresh else AHEAD
        while len(self._workers) < self._size:
            if not waiting and not _fetch(items, waiting):
                break
            self._workers.append(_Worker(self._context, self._job, self._item_s_max))
            self._workers[-1].give(waiting.popleft())
        for worker in list(self._workers):
            while len(worker.items) < ahead and (waiting or _fetch(items, waiting)):
                worker.give(waiting.popleft())
            if not worker.items:
                self._workers.remove(worker)
                worker.end()

    def _listen(self, worker: _Worker[Item, Outcome], waiting: deque[Item], told: Callable[[Outcome], None]) -> None:
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker, waiting, told)
            return
        worker.items.popleft()
        told(outcome)
        if self._fresh:
            self._workers.remove(worker)
            worker.end()

    def _bury(self, worker: _Worker[Item, Outcome], waiting: deque[Item], told: Callable[[Outcome], None]) -> None:
        self._workers.remove(worker)
        worker.process.join(END_S_MAX)
        code = worker.process.exitcode
        worker.end()
        self._deaths += 1
        if self._deaths > DEATHS_MAX:
            raise TooManyDeaths(f"{self._deaths} workers died, the last one with exit code {code}: look at its output")
        told(self._died(worker.items.popleft(), code))
        waiting.extendleft(reversed(worker.items))


def _fetch(items: Iterator[Item], waiting: deque[Item]) -> bool:
    for item in items:
        waiting.append(item)
        return True
    return False


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """A Ctrl-C goes to the whole terminal, `timeout` ends a whole group: children are born ignoring that, and their
    parent ends them. A worker that died by it first would count as a death that its item has to explain.
    """
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# -- inside of a worker --------------------------------------------------------------------------------------


class _Alarm:
    """Rings once a second of running time: a suspended machine makes nobody late."""

    def __init__(self, parent: int, item_s_max: int | None) -> None:
        self._parent = parent
        self._rings_max = item_s_max
        self._rings: int | None = None

    def __enter__(self) -> None:
        self._rings = 0

    def __exit__(self, *_: object) -> None:
        self._rings = None

    def begin(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, ALARM_S, ALARM_S)

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        if os.getppid() != self._parent:
            os._exit(1)
        if self._rings is not None:
            self._rings += 1
            if self._rings_max is not None and self._rings > self._rings_max:
                raise Hung


def _work(pipe: Connection, job: Callable[[Item], Outcome], parent: int, item_s_max: int | None) -> None:
    alarm = _Alarm(parent, item_s_max)
    alarm.begin()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            (item,) = pipe.recv()
            with alarm:
                outcome = job(item)
            pipe.send(outcome)
