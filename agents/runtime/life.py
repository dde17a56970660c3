"""What the processes of an agent and of a member share: signals, what must not end, hand-over and stop.

Rule: a task that ends unexpectedly, or a broken invariant anywhere on the loop, ends the process by `fatal`: guards
count on. The first SIGTERM or SIGINT stops in order; a second one, or a stop that takes too long, does not wait for
it: the guards then end what runs at their deadlines. A stop that comes while the process becomes its next program is
obeyed. The next program knows neither the plan nor the claim of an end that is under way, so the hand-over waits until
such an end is proven and its release answered, for as long as a stop may take at most.
"""

from __future__ import annotations

import asyncio
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

import structlog

from agents.runtime.machine import read_generation
from agents.runtime.turn import Successor, Turn, hold_signals, take_signals
from agents.runtime.upgrade import prepare, stand_by
from proto.clock import SystemClock
from proto.errors import LocalFault
from proto.invariants import InvariantViolation

GENERATION_LOOK_S = 0.5


class StopCutShort(LocalFault):
    """The process ends before everything was verified down; the guards finish that."""


class LivingRunner(Protocol):
    def let_go(self) -> None: ...


class LivingDriver(Protocol):
    finished: asyncio.Event

    @property
    def runners(self) -> Mapping[Any, LivingRunner]: ...
    def shutdown(self) -> None: ...
    def stop(self) -> None: ...
    async def settled(self, limit_s: float) -> str: ...
    async def abandon(self) -> None: ...
    def machine_changed(self, text: str) -> None: ...


class ProcessLife(ABC):
    """Made and used on one event loop."""

    def __init__(
        self,
        log: structlog.stdlib.BoundLogger,
        fatal: Callable[[BaseException], NoReturn],
        config: Path | None,
        stop_s_max: float,
        *kind: str,
        turn: Turn | None = None,
    ) -> None:
        """`config`: the file for the next program; None: there is none. `kind`: as of `prepare`.

        `turn`: this process is a stand-in, and gives it back when it is asked (agents/runtime/turn.py).
        """
        self._turn = turn
        self._started_ns = SystemClock().now()
        self._stop_s_max = stop_s_max
        self._log = log
        self._fatal = fatal
        self._config = config
        self._kind = kind
        self._signals = 0
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._upgrading: asyncio.Task[None] | None = None
        self._successor: Successor | None = None
        self._giving_back = False
        self._refusals: tuple[int, str] = (0, "")
        """How often the next program refused the configuration, and its last words."""

    def _process(self, more: Mapping[str, object]) -> dict[str, object]:
        """For the status, and for `site-agent upgrade`, which waits for the next process by it."""
        count, why = self._refusals
        refused = {"count": count, "why": why}
        return {"pid": os.getpid(), "started_ns": self._started_ns, "upgrade_refused": refused, **more}

    @property
    @abstractmethod
    def _living(self) -> LivingDriver: ...

    @abstractmethod
    def reload(self) -> None: ...

    @abstractmethod
    async def _close_parts(self) -> None: ...

    # -- signals --------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        loop.add_signal_handler(signal.SIGUSR2, self.upgrade)
        take_signals()
        if self._turn is not None:
            loop.add_reader(self._turn.fileno(), self._asked)

    def stop(self) -> None:
        self._signals += 1
        (self._stop if self._signals == 1 else self._stop_now).set()

    def upgrade(self) -> None:
        """The program that is installed now checks the configuration first; then this process becomes it."""
        busy = self._turn is not None or (self._upgrading is not None and not self._upgrading.done())
        if self._config is None or self._stop.is_set() or busy:
            self._log.warning("upgrade_ignored", why="one is under way, it stops, or it was not started by a file")
            return
        self._upgrading = asyncio.create_task(self._prepare(self._config), name="upgrade")

    async def _prepare(self, config: Path) -> None:
        try:
            successor = await stand_by(config, await prepare(config, *self._kind), *self._kind)
        except LocalFault as error:
            self._refusals = (self._refusals[0] + 1, str(error))
            self._log.error("upgrade_refused", why=str(error))
            return
        await self._settle()
        if self._stop.is_set():
            successor.drop()
        else:
            self._successor = successor
            self._stop.set()

    async def _settle(self) -> None:
        unsettled = await self._living.settled(self._stop_s_max)
        if unsettled:
            why = "the witnesses end this lease by their votes, and the site is in quarantine until it is proven down"
            self._log.warning("handing_over_unsettled", what=unsettled, why=why)

    def _asked(self) -> None:
        """The process that this one stands in for has become the new program, or is gone: then the kernel ends us."""
        if self._turn is not None:
            asyncio.get_running_loop().remove_reader(self._turn.fileno())
            if self._turn.asked():
                self._upgrading = asyncio.create_task(self._give_back(), name="give back")

    async def _give_back(self) -> None:
        await self._settle()
        if not self._stop.is_set():
            self._giving_back = True
            self._stop.set()

    # -- the end --------------------------------------------------------------------------------------------

    async def _until_told(self) -> Successor | None:
        """None after an orderly stop, or what this process becomes. Raises StopCutShort."""
        await self._stop.wait()
        successor = self._successor
        turn = self._turn if self._giving_back else None if successor is None else successor.turn
        if turn is None or self._told_to_stop():  # a stop that came with the upgrade is what is wanted now
            await self._shut_down()
            return None
        await self._hand_over()
        hold_signals()
        for _ in range(2):  # what came before that is told now
            await asyncio.sleep(0)
        if self._told_to_stop():
            take_signals()
            raise StopCutShort("told to stop while it became the new program: the guards end it at their deadlines")
        if not turn.give():
            self._log.warning("turn_lost", why="who was next is gone: what follows takes over as after a crash")
        return successor

    def _told_to_stop(self) -> bool:
        return self._signals > 0

    async def _hand_over(self) -> None:
        self._log.info("handing_over")
        self._stopping = True
        self._living.stop()
        for runner in self._living.runners.values():
            runner.let_go()
        await self._living.abandon()
        await self._close()

    async def _shut_down(self) -> None:
        self._log.info("stopping")
        self._living.shutdown()
        waits = [asyncio.create_task(self._living.finished.wait()), asyncio.create_task(self._stop_now.wait())]
        await asyncio.wait(waits, timeout=self._stop_s_max, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        orderly = self._living.finished.is_set()
        self._stopping = True
        self._living.stop()
        await self._close()
        if not orderly:
            raise StopCutShort("stopped before everything was verified down: the guards end it at their deadlines")
        self._log.info("stopped")

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_parts()

    # -- what must not end ----------------------------------------------------------------------------------

    def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            if not self._stopping:
                error = None if task.cancelled() else task.exception()
                self._fatal(error or InvariantViolation(f"the task {name} ended"))

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        self._tasks.append(task)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, InvariantViolation | LocalFault):
            self._fatal(error)
        self._log.warning("loop_error", message=context.get("message", ""), error=repr(error))

    def _supervise_generation(self, known: str) -> None:
        """`known`: the virtual machine's generation id at the start; nothing is looked at where there is none."""
        if known:
            self._supervise("generation", self._watch_generation(known))

    async def _watch_generation(self, known: str) -> None:
        """A copy of this virtual machine, or one that was put back, is another machine: a cold start, at once."""
        while True:
            await asyncio.sleep(GENERATION_LOOK_S)
            seen = await asyncio.to_thread(read_generation)
            if seen != known:
                known = seen
                self._living.machine_changed("the generation id of this virtual machine changed: a copy, or put back?")
