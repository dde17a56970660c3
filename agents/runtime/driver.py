"""The only loop around a SiteAgent: feeds it, performs its effects in their order, arms its deadline.

Rule: inputs are taken one at a time. An effect that causes an input at once (a fence cuts a plan short) puts it in
the queue behind the effects that are being performed. Whatever the core raises is a bug of ours: the process ends,
the guards go on to their deadlines, the lease lapses.

The wake-up is asked for on the loop's clock, which stands still while the machine is suspended, so it is never far
away: after a resume the core hears of it within WAKE_MAX_NS. The guard's kernel timer does not wait for this loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, Protocol

from agents.core.agent import SiteAgent
from agents.core.effects import (
    Effect,
    ExtendDeadline,
    Fence,
    KeepAuthority,
    ReopenStreams,
    Send,
    StartPlan,
    StoreBounds,
    Tell,
)
from agents.core.health import HealthFold, HealthSummary
from agents.core.view import agent_view, group_view
from agents.probes.base import ProbeResult
from proto.clock import Clock, ClockReading
from proto.invariants import require
from proto.messages import AgentMessage, WitnessMessage
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, Incarnation, WitnessId

WAKE_MAX_NS = 200 * NS_PER_MS
ABANDON_S = 2.0
INPUTS_MAX = 10_000
"""Inputs that one input may cause before it is taken for a loop without an end."""


class Runner(Protocol):
    """One group's plans and fences (agents/actions/runner.py)."""

    def start_plan(self, plan: StartPlan) -> None: ...
    def extend(self, effect: ExtendDeadline) -> None: ...
    def fence(self, effect: Fence) -> None: ...
    def status(self) -> dict[str, object]: ...
    def let_go(self) -> None: ...


class Shell(Protocol):
    """What the driver's surroundings do for it."""

    def send(self, witness: WitnessId, message: AgentMessage) -> bool: ...

    def reopen_streams(self) -> None:
        """Ends every stream; each opens again with a Hello of the core's present incarnation."""

    def store_bounds(self, group: GroupId, bound: Epoch, finished: Epoch) -> None:
        """Blocking and durable; called from a thread, one call at a time for each group."""

    def keep_authority(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        """For the next process; blocking, called from a thread, one call at a time. Never fails."""

    def told(self, effect: Effect) -> None:
        """Every effect passes here first, for logs and counters."""


class Driver:
    """Implements StreamEvents, RunnerReports and the probes' sink. Everything runs on one thread."""

    def __init__(
        self,
        *,
        agent: SiteAgent,
        folds: Mapping[GroupId, HealthFold],
        clock: Clock,
        fatal: Callable[[BaseException], NoReturn],
        shell: Shell,
    ) -> None:
        self.agent = agent
        self.runners: dict[GroupId, Runner] = {}
        self.finished = asyncio.Event()
        self._folds = folds
        self._summaries: dict[GroupId, HealthSummary] = {}
        self._clock = clock
        self._fatal = fatal
        self._shell = shell
        self._inputs: deque[Callable[[ClockReading], None]] = deque()
        self._working = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stores: dict[GroupId, int] = {}
        self._store_locks: dict[GroupId, asyncio.Lock] = {}
        self._keep_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """After the runners are in place: the core has plans to start from its first moment."""
        require(self.runners.keys() == self.agent.groups.keys(), "every group needs its runner")
        self._loop = asyncio.get_running_loop()
        for group, fold in self._folds.items():
            self._observe(group, fold.summary())
        self.tick()

    def stop(self) -> None:
        """No more wake-ups; inputs that still come are taken."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()

    async def abandon(self) -> None:
        """After `stop`, for a successor: every task ends where it is; what its guards run goes on."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=ABANDON_S)

    def shutdown(self) -> None:
        self._input(self.agent.shutdown)

    def machine_changed(self, text: str) -> None:
        self._input(lambda now: self.agent.machine_changed(text, now))

    def tick(self) -> None:
        self._timer = None
        self._input(self.agent.tick)

    # -- StreamEvents -------------------------------------------------------------------------------------

    def stream_opened(self, witness: WitnessId, leading: bool) -> None:
        self._input(lambda now: self.agent.stream_opened(witness, leading, now))

    def stream_closed(self, witness: WitnessId) -> None:
        self._input(lambda now: self.agent.stream_closed(witness, now))

    def received(self, witness: WitnessId, message: WitnessMessage) -> None:
        self._input(lambda now: self.agent.received(witness, message, now))

    # -- probes -------------------------------------------------------------------------------------------

    def probed(self, group: GroupId, name: str, result: ProbeResult) -> None:
        fold = self._folds[group]
        fold.observe(name, result.passed, result.detail, result.value_ms)
        self._observe(group, fold.summary())

    def _observe(self, group: GroupId, summary: HealthSummary) -> None:
        if summary != self._summaries.get(group):
            self._summaries[group] = summary
            self._input(lambda now: self.agent.observe(group, summary, now))

    # -- RunnerReports ------------------------------------------------------------------------------------

    def plan_finished(self, group: GroupId, plan: int, ok: bool, text: str, *, orderly: bool = True) -> None:
        self._input(lambda now: self.agent.plan_finished(group, plan, ok, text, now, orderly=orderly))

    def fenced(self, group: GroupId, ok: bool, text: str) -> None:
        self._input(lambda now: self.agent.fenced(group, ok, text, now))

    def guard_lost(self, group: GroupId, text: str) -> None:
        self._input(lambda now: self.agent.guard_lost(group, text, now))

    def guard_containment(self, group: GroupId, words: str) -> None:
        self._input(lambda _now: self.agent.guard_containment(group, words))

    def guard_lacks(self, group: GroupId, lacks: tuple[str, ...]) -> None:
        self._input(lambda now: self.agent.guard_lacks(group, lacks, now))

    def alarm(self, group: GroupId, text: str) -> None:
        self._shell.told(Tell(group, text, alarm=True))

    # -- what people and programs ask -----------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        view: dict[str, Any] = agent_view(self.agent, self._clock.read())
        for group in view["groups"]:
            name = GroupId(group["group"])
            group.update(self.runners[name].status())
            group["probes"] = {
                probe: {"passing": passing, "detail": detail}
                for probe, (passing, detail) in self._folds[name].probes().items()
            }
        return view

    def group_status(self, group: GroupId) -> dict[str, Any] | None:
        """With a reading of the clock of its own: a deadline that has passed is passed, whatever was told before."""
        found = self.agent.groups.get(group)
        return None if found is None else group_view(found, self._clock.read())

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
                for effect in self.agent.take_effects():
                    self._shell.told(effect)
                    self._perform(effect)
        except BaseException as error:  # noqa: BLE001 - a bug in the core: going on would be worse
            self._fatal(error)
        finally:
            self._working = False
        if self.agent.finished():
            self.finished.set()
        self._arm()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Send):
            self._shell.send(effect.witness, effect.message)
        elif isinstance(effect, ReopenStreams):
            self._shell.reopen_streams()
        elif isinstance(effect, StoreBounds):
            self._start_storing(effect)
        elif isinstance(effect, KeepAuthority):
            self.spawn(self._keep(self.agent.incarnation, effect), f"keep {effect.group}")
        elif isinstance(effect, StartPlan):
            self.runners[effect.group].start_plan(effect)
        elif isinstance(effect, ExtendDeadline):
            self.runners[effect.group].extend(effect)
        elif isinstance(effect, Fence):
            self.runners[effect.group].fence(effect)
        else:
            require(isinstance(effect, Tell), f"nobody performs {effect}")

    def _arm(self) -> None:
        if self._loop is None:
            return
        now = self._clock.now()
        wait_ns = min(max(0, self.agent.next_deadline() - now), WAKE_MAX_NS)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(wait_ns / NS_PER_S, self.tick)

    # -- storing ------------------------------------------------------------------------------------------

    def _start_storing(self, effect: StoreBounds) -> None:
        """Answered when the newest of the group is on disk: an answer must not be taken for a later one's."""
        self._stores[effect.group] = self._stores.get(effect.group, 0) + 1
        self.spawn(self._store(effect, self._stores[effect.group]), f"store {effect.group}")

    async def _store(self, effect: StoreBounds, number: int) -> None:
        async with self._store_locks.setdefault(effect.group, asyncio.Lock()):
            await asyncio.to_thread(self._shell.store_bounds, effect.group, effect.epoch_bound, effect.finished_epoch)
        if number == self._stores[effect.group]:
            self._input(lambda now: self.agent.bounds_stored(effect.group, now))

    async def _keep(self, incarnation: Incarnation, effect: KeepAuthority) -> None:
        async with self._keep_lock:
            await asyncio.to_thread(self._shell.keep_authority, incarnation, effect)

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
