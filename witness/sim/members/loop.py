"""asyncio in simulated time, for the coroutines of one process of a simulated machine.

Rule: a callback runs only while its process does: while that is stopped or its machine suspended, callbacks wait, and
when it is killed they are gone. Timers are the machine's, which stand still with a frozen guest. A killed process does
nothing any more: its coroutines are unwound at once, where nothing that they do reaches anybody.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from asyncio import events as asyncio_events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from proto.units import NS_PER_S

if TYPE_CHECKING:
    from witness.sim.machine import SimHost

UNWIND_ROUNDS = 12
"""A coroutine may wait for another one's end while it ends itself."""
AT_ONCE_MAX = 50_000
"""So many callbacks within one instant are a busy loop."""


_running: Callable[[], asyncio.AbstractEventLoop | None] = asyncio_events._get_running_loop  # noqa: SLF001  # a loop's own business
_run_in: Callable[[asyncio.AbstractEventLoop | None], None] = asyncio_events._set_running_loop  # noqa: SLF001  # as above


class BusyLoop(RuntimeError):
    """A process that never waits."""


class ProcessLoop(asyncio.AbstractEventLoop):
    """Owned by one process of `host`; `failed` is told of what a callback raised."""

    def __init__(self, host: SimHost, failed: Callable[[BaseException], None]) -> None:
        self.dead = False
        self._unwinding = False
        self._host = host
        self._failed = failed
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._number = 0
        self._asked = False
        self._woken_ns = -1
        self._tasks: list[asyncio.Task[Any]] = []

    # -- time -----------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._host.guest.own_ns() / NS_PER_S

    def call_soon(  # type: ignore[override]  # the base is typed for any number of arguments of any kind
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        if not self._asked and not self.dead:
            self._asked = True
            self._host.later(0, self.run)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there is one thread

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self._at_ns(self._host.guest.own_ns() + max(0, math.ceil(delay * NS_PER_S)), callback, args, context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self._at_ns(math.ceil(when * NS_PER_S), callback, args, context)

    def _at_ns(
        self, at_ns: int, callback: Callable[..., object], args: Any, context: contextvars.Context | None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(at_ns / NS_PER_S, callback, args, self, context)
        self._number += 1
        heapq.heappush(self._timers, (at_ns, self._number, handle))
        self._wake()
        return handle

    def _wake(self) -> None:
        """At the earliest timer; a later wake-up that was asked for before finds nothing to do."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if self.dead or not self._timers or self._timers[0][0] == self._woken_ns:
            return
        at_ns = self._woken_ns = self._timers[0][0]
        self._host.later(max(0, at_ns - self._host.guest.own_ns()), lambda: self._due(at_ns))

    def _due(self, at_ns: int) -> None:
        if at_ns != self._woken_ns or self.dead:
            return
        self._woken_ns = -1
        now_ns = self._host.guest.own_ns()
        while self._timers and self._timers[0][0] <= now_ns:
            handle = heapq.heappop(self._timers)[2]
            if not handle.cancelled():
                self._ready.append(handle)
        self.run()
        self._wake()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when it would be due."""

    # -- running --------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything that is ready, and what that makes ready."""
        self._asked = False
        if _running() is None:
            self._drain()
        elif not self.dead:
            self._asked = True
            self._host.later(0, self.run)

    def _drain(self) -> None:
        _run_in(self)
        try:
            for _ in range(AT_ONCE_MAX):
                if not self._ready or (self.dead and not self._unwinding):
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001  # as above
            raise BusyLoop(f"more than {AT_ONCE_MAX} callbacks at one instant")
        finally:
            _run_in(None)

    def within(self, action: Callable[[], None]) -> None:
        """From outside: when the process runs."""
        self.call_soon(lambda: None if self.dead else action())

    def kill(self) -> None:
        """The process is gone; also asked by a callback of its own."""
        if self.dead:
            return
        self.dead = True
        self._timers.clear()
        if _running() is None:
            self._unwind()
        else:
            self._host.events.after(0, self._unwind)

    def _unwind(self) -> None:
        self._unwinding = True
        for _ in range(UNWIND_ROUNDS):
            pending = [task for task in self._tasks if not task.done()]
            if not pending:
                break
            for task in pending:
                task.cancel()
            self._drain()
        self._timers.clear()
        for task in self._tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # what is left waits for what is dead
        self._ready.clear()

    # -- what asyncio asks of a loop ------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:  # type: ignore[override]  # as above
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **options)
        if len(self._tasks) > 256:
            self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # as above
        """A thread: its call takes a moment, and one that was begun is done also when the process dies meanwhile."""
        del executor
        future: asyncio.Future[Any] = self.create_future()
        if not self.dead:
            self._host.in_a_thread(lambda: func(*args), lambda result, error: self._told(future, result, error))
        return future

    def _told(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def tell() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.within(tell)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Of a callback; what a task raised is its owner's business."""
        error = context.get("exception")
        if not self.dead and "handle" in context and isinstance(error, BaseException):
            self._failed(error)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
