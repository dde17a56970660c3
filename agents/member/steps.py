"""Steps that the lead asks for: by name, with this host's own command, under this host's guard.

Rule: one attempt (epoch and step id) is begun once; whoever asks again is told how it ended, by this process or by the
guard that it took over. One step of a group runs at a time: an attempt that comes while another one runs means that the
lead has given that one up, so it is ended first. A step runs only while this member holds the very epoch; an undo also
when everything is down, for which it waits within its own time, in a guard of its own that has no lease, no address and
no port (agents/actions/unwind.py has the same rule). Nothing that came over the network is executed, and commands are
told this host's own deadline.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agents.actions.step_log import fresh_log, tail
from agents.actions.steps import step_of
from agents.fencing.base import Guard, GuardError, StepEnd, StepResult
from agents.settings import StepSpec
from proto.clock import Clock
from proto.limits import TEXT_CHARS_MAX
from proto.member_messages import NO_EXIT_CODE, RunStep, StepEnded
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, NS_PER_S, Epoch, GroupId, InstantNs, SiteId

STEPS_KEPT_MAX = 256
ALONE_MARGIN_NS = 5 * NS_PER_S
"""The guard of an undo outlives its command by this."""
ALONE_KILL_NS = 1 * NS_PER_S
DOWN_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class StepWorld:
    """What one group's steps need of this host."""

    site: SiteId
    group: GroupId
    steps: dict[str, StepSpec]
    log_dir: Path
    clock: Clock
    guard_of: Callable[[Epoch], Guard | None]
    """That is armed for this epoch."""
    deadlines: Callable[[], LocalDeadlines | None]
    down: Callable[[], bool]
    """Everything is verified down, and nothing is about to begin."""
    start_undo_guard: Callable[[Epoch], Awaitable[Guard]]
    """Bare; every epoch up to the given one is refused by it."""
    end_undo_guard: Callable[[Guard], Awaitable[None]]
    fresh_log: Callable[[Path, str], Path] = fresh_log


class MemberSteps:
    """One group's; owned by the member's process."""

    def __init__(self, world: StepWorld) -> None:
        self._world = world
        self._known: OrderedDict[tuple[Epoch, str], asyncio.Task[StepEnded]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._running: tuple[Guard, str] | None = None

    async def run(self, order: RunStep) -> StepEnded:
        """How this attempt ended, whenever it is asked for."""
        key = (order.epoch, order.step_id)
        task = self._known.get(key)
        if task is None:
            task = self._known[key] = asyncio.create_task(self._begin(order), name=f"step {order.step_id}")
            self._forget()
        return await asyncio.shield(task)

    def _forget(self) -> None:
        """The oldest that have ended; an attempt is asked for again within seconds or never."""
        too_many = max(0, len(self._known) - STEPS_KEPT_MAX)
        for key in [key for key, task in self._known.items() if task.done()][:too_many]:
            del self._known[key]

    async def _begin(self, order: RunStep) -> StepEnded:
        if self._running is not None:
            await self._give_up(*self._running)
        async with self._turn:
            try:
                result = await self._perform(order)
            except (GuardError, OSError) as error:
                result = StepResult(order.step_id, StepEnd.GUARD_DOWN, text=str(error))
        return _ended(order, result)

    @staticmethod
    async def _give_up(guard: Guard, step_id: str) -> None:
        try:
            await guard.cancel_step(step_id)
        except GuardError:
            return  # it has just ended, or its guard has

    async def _perform(self, order: RunStep) -> StepResult:
        spec = self._world.steps.get(order.step)
        if spec is None:
            return _not_started(order, f"this member's configuration has no step {order.step}")
        if order.undo and not spec.undo:
            return StepResult(order.step_id, StepEnd.EXITED, 0, text="it has no undo: nothing to take back")
        guard = self._world.guard_of(order.epoch)
        if guard is not None:
            return await self._in(guard, self._world.deadlines, order, spec)
        if not order.undo:
            return _not_started(order, f"this member does not hold epoch {order.epoch}")
        return await self._alone(order, spec)

    async def _alone(self, order: RunStep, spec: StepSpec) -> StepResult:
        if not await self._until_down(order.timeout_ms):
            return _not_started(order, "what it would take back is not verified down here yet")
        epoch = Epoch(max(1, order.epoch))
        guard = await self._world.start_undo_guard(Epoch(epoch - 1))
        try:
            ends = InstantNs(self._world.clock.now() + order.timeout_ms * NS_PER_MS + ALONE_MARGIN_NS)
            rungs = LocalDeadlines(ends, InstantNs(ends + ALONE_KILL_NS), InstantNs(ends + 2 * ALONE_KILL_NS))
            await guard.arm(epoch, rungs.stop_at, rungs.kill_at, rungs.deadline)
            return await self._in(guard, lambda: rungs, order, spec)
        finally:
            await self._world.end_undo_guard(guard)

    async def _until_down(self, limit_ms: int) -> bool:
        """A stop or a fence may be under way, and an undo command beside what it ends could start it anew."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + limit_ms / 1_000
        while not self._world.down():
            if loop.time() >= ends:
                return False
            await asyncio.sleep(DOWN_LOOK_S)
        return True

    async def _in(
        self, guard: Guard, deadlines: Callable[[], LocalDeadlines | None], order: RunStep, spec: StepSpec
    ) -> StepResult:
        about = {
            "THIRDSITE_GROUP": self._world.group,
            "THIRDSITE_SITE": self._world.site,
            "THIRDSITE_EPOCH": str(order.epoch),
            "THIRDSITE_CAUSE": order.cause,
            "THIRDSITE_PLAN": order.plan,
        }
        log = self._world.fresh_log(self._world.log_dir, f"{'undo' if order.undo else 'step'}.{spec.name}")
        argv = spec.undo if order.undo else spec.argv
        step = step_of(spec, argv, order.step_id, about, deadlines(), log, max(1, order.timeout_ms))
        self._running = (guard, step.step_id)
        try:
            former = await guard.outcome(step.step_id)  # of a former process of this member, which this one took over
            result = await guard.run_step(step) if former is None else former
        finally:
            self._running = None
        if result.ok:
            return result
        return StepResult(result.step_id, result.end, result.exit_code, result.signal, result.text or tail(log))


def _not_started(order: RunStep, why: str) -> StepResult:
    return StepResult(order.step_id, StepEnd.NOT_STARTED, text=why)


def _ended(order: RunStep, result: StepResult) -> StepEnded:
    return StepEnded(
        order.group,
        order.epoch,
        order.step_id,
        result.end.value,
        NO_EXIT_CODE if result.exit_code is None else result.exit_code,
        NO_EXIT_CODE if result.signal is None else result.signal,
        result.text[:TEXT_CHARS_MAX],
    )
