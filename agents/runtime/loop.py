"""The loop around a pure core: inputs one at a time, effects in their order, one armed deadline, watched tasks.

Rule: an effect that causes an input at once (a fence cuts a plan short) puts it in the queue behind the effects that
are being performed. Whatever the core raises is a bug of ours: the process ends, the guards go on to their deadlines.

The wake-up is asked for on the loop's clock, which stands still while the machine is suspended, so it is never far
away: after a resume the core hears of it within WAKE_MAX_NS. The guard's kernel timer does not wait for this loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, Protocol

from agents.core.effects import StoreBounds
from proto.clock import Clock, ClockReading
from proto.invariants import require
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, InstantNs

WAKE_MAX_NS = 200 * NS_PER_MS
ABANDON_S = 2.0
INPUTS_MAX = 10_000
"""Inputs that one input may cause before it is taken for a loop without an end."""


class Core(Protocol):
    """agents.core.agent.SiteAgent and agents.core.member.SiteMember."""

    def tick(self, now: ClockReading) -> None: ...
    def bounds_stored(self, group: GroupId, now: ClockReading) -> None: ...
    def finished(self) -> bool: ...
    def unsettled(self) -> str: ...
    def next_deadline(self) -> InstantNs: ...
    def take_effects(self) -> Sequence[Any]: ...


class CoreLoop:
    """Everything runs on one thread. A subclass performs the effects."""

    def __init__(
        self,
        core: Core,
        clock: Clock,
        fatal: Callable[[BaseException], NoReturn],
        store_bounds: Callable[[GroupId, Epoch, Epoch], None],
    ) -> None:
        """`store_bounds` blocks and is durable; it is called from a thread, one call at a time for each group."""
        self.finished = asyncio.Event()
        self._core = core
        self._clock = clock
        self._fatal = fatal
        self._store_bounds = store_bounds
        self._inputs: deque[Callable[[ClockReading], None]] = deque()
        self._working = False
        self._settling: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stores: dict[GroupId, int] = {}
        self._store_locks: dict[GroupId, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def perform(self, effect: Any) -> None:
        """Returns at once."""
        require(False, f"nobody performs {effect}")

    # -- life ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """From now on the core is woken when it asked for it."""
        self._loop = asyncio.get_running_loop()
        self.tick()

    def stop(self) -> None:
        """No more wake-ups; inputs that still come are taken."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    async def settled(self, limit_s: float) -> str:
        """Waits until nothing is under way that a successor could not bring to its end; what it is, after `limit_s`."""
        settling = self._settling = asyncio.Event()
        try:
            async with asyncio.timeout(limit_s):
                while self._core.unsettled():
                    settling.clear()
                    await settling.wait()
        except TimeoutError:
            return self._core.unsettled()
        finally:
            self._settling = None
        return ""

    async def abandon(self) -> None:
        """After `stop`, for a successor: every task ends where it is; what its guards run goes on."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ABANDON_S)

    def tick(self) -> None:
        self._timer = None
        self._input(self._core.tick)

    # -- the work between ---------------------------------------------------------------------------------

    def _input(self, step: Callable[[ClockReading], None]) -> None:
        self._inputs.append(step)
        if self._working:
            return
        self._working = True
        try:
            taken = 0
            while self._inputs:
                taken += 1
                require(taken <= INPUTS_MAX, f"{taken} inputs in a row cause each other")
                self._inputs.popleft()(self._clock.read())
                for effect in self._core.take_effects():
                    self.perform(effect)
        except BaseException as error:  # noqa: BLE001 - a bug in the core: going on would be worse
            self._fatal(error)
        finally:
            self._working = False
        if self._core.finished():
            self.finished.set()
        if self._settling is not None and not self._core.unsettled():
            self._settling.set()
        self._arm()

    def _arm(self) -> None:
        if self._loop is None:
            return
        now = self._clock.now()
        wait_ns = min(max(0, self._core.next_deadline() - now), WAKE_MAX_NS)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_ns / NS_PER_S, self.tick)

    # -- storing ------------------------------------------------------------------------------------------

    def start_storing(self, effect: StoreBounds) -> None:
        """Answered when the newest of the group is on disk: an answer must not be taken for a later one's."""
        self._stores[effect.group] = self._stores.get(effect.group, 0) + 1
        self.spawn(self._store(effect, self._stores[effect.group]), f"store {effect.group}")

    async def _store(self, effect: StoreBounds, number: int) -> None:
        async with self._store_locks.setdefault(effect.group, asyncio.Lock()):
            await asyncio.to_thread(self._store_bounds, effect.group, effect.epoch_bound, effect.finished_epoch)
        if number == self._stores[effect.group]:
            self._input(lambda now: self._core.bounds_stored(effect.group, now))

    # -- tasks --------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """A task that may end, or be cancelled, but may not fail: then the process ends."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fatal(error)
