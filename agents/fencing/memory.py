"""The guard's body for simulated time: same authority rules, scripted processes, and a kernel that is always on time.

Rule: nothing here reads a clock; `advance(now)` makes happen what is due, in order, each at its own instant. The
kernel's floor ends everything at deadline - GUARD_FLOOR_LEAD_NS also while the guard is `frozen` (a SIGSTOP of
the whole site), which is the promise that the simulator leans on.
`GuardModel` is the pure part, events out; `MemoryGuard` puts the seam's awaitable face on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from agents.fencing.authority import Authority, Refused, Rungs
from agents.fencing.base import (
    Containment,
    Down,
    DownBy,
    GuardGone,
    GuardRefused,
    GuardStatus,
    HeldResource,
    Step,
    StepEnd,
    StepResult,
)
from agents.fencing.guard_clock import Clocks
from proto.units import NS_PER_MS


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a step acts. With `leaves_running` it starts something that lives until it is ended."""

    takes_ns: int = 10 * NS_PER_MS
    exit_code: int = 0
    hangs: bool = False
    ignores_term: bool = False
    term_takes_ns: int = 5 * NS_PER_MS
    leaves_running: bool = False


@dataclass(slots=True)
class _Process:
    behaviour: Behaviour
    step: Step | None
    """None once the step has reported and only what it left behind runs."""
    ends_ns: int | None
    why: StepEnd = StepEnd.EXITED


GuardEvent = StepResult | Down


class GuardModel:
    """Pure. Owned by the simulator or by a MemoryGuard; the caller passes a `now` that never goes back."""

    def __init__(self, behave: Callable[[Step], Behaviour], epoch_finished: int = 0) -> None:
        self.authority = Authority(epoch_finished)
        self.down: Down | None = None
        self.frozen = False
        """Every process of the site, guard included, is stopped: only the kernel acts."""
        self.holder = ""
        self.ended: dict[str, StepResult] = {}
        """Every step that has ended; a real guard keeps the last ones."""
        self._behave = behave
        self._processes: list[_Process] = []
        self._latest = 0
        self._ending: tuple[str, int, int] | None = None
        """Cause, since when, and when the kill is due."""

    @property
    def running(self) -> tuple[str, ...]:
        return tuple(sorted(process.step.step_id for process in self._processes if process.step is not None))

    @property
    def alive(self) -> bool:
        """Something protected runs."""
        return bool(self._processes)

    def bind(self, holder: str) -> None:
        if self.holder not in ("", holder):
            raise GuardRefused("bound", "this guard holds for another incarnation, for life")
        self.holder = holder

    def arm(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int, now: int) -> None:
        new, clocks = Rungs(epoch, term_at_ns, kill_at_ns, deadline_ns), Clocks(now, now, now)
        self._check(lambda: self.authority.check(new, clocks))
        self.authority.take(new, clocks)

    def run(self, step: Step, now: int) -> None:
        rungs = self.authority.rungs
        if rungs is None or self._ending is not None or now >= rungs.term_at_ns:
            raise GuardRefused("not-armed", "nothing runs without an armed lease")
        if any(process.step and process.step.step_id == step.step_id for process in self._processes):
            raise GuardRefused("duplicate-step", f"{step.step_id} is running")
        behaviour = self._behave(step)
        self._processes.append(_Process(behaviour, step, None if behaviour.hangs else now + behaviour.takes_ns))

    def cancel(self, step_id: str, now: int) -> None:
        for process in self._processes:
            if process.step is not None and process.step.step_id == step_id:
                process.why = StepEnd.CANCELLED
                process.ends_ns = now + process.behaviour.term_takes_ns
                return
        raise GuardRefused("unknown-step", f"{step_id} is not running")

    def stop(self, grace_ns: int, now: int) -> None:
        if self.down is None and self._ending is None:
            self._begin("stop", now, now + grace_ns)

    def fence(self, now: int) -> None:
        if self.down is None:
            self._begin("fence", now, now)

    def crash(self, now: int) -> list[GuardEvent]:
        """The guard process is killed; its namespace goes with it."""
        return [] if self.down is not None else self._finish("the guard died", now, DownBy.KERNEL)

    def next_deadline(self) -> int | None:
        """When `advance` has something to do next."""
        if self.down is not None:
            return None
        rungs = self.authority.rungs
        if self.frozen:
            return rungs.floor_ns if rungs is not None else None
        instants = [process.ends_ns for process in self._processes if process.ends_ns is not None]
        if rungs is not None:
            instants += [rungs.kill_at_ns] if self._ending is not None else [rungs.term_at_ns]
        if self._ending is not None:
            instants.append(self._ending[1] if not self._processes else self._ending[2])
        return min(instants, default=None)

    def advance(self, now: int) -> list[GuardEvent]:
        """Everything due up to `now`, in order."""
        events: list[GuardEvent] = []
        while self.down is None:
            due = self.next_deadline()
            if due is None or due > now:
                break
            # What a freeze delayed happens at the thaw, not in the past.
            events += self._happen(max(due, self._latest))
        self._latest = max(self._latest, now)
        return events

    def _happen(self, at: int) -> list[GuardEvent]:
        rungs = self.authority.rungs
        if rungs is not None and at >= rungs.floor_ns:
            return self._finish("deadline: the kernel's timer ended the guard", at, DownBy.KERNEL)
        events = self._end_processes(at)
        if rungs is not None and self._ending is None and at >= rungs.term_at_ns:
            self._begin("deadline: term_at reached", at, rungs.kill_at_ns)
        if self._ending is not None:
            kill_at = min(self._ending[2], rungs.kill_at_ns if rungs is not None else self._ending[2])
            if not self._processes or at >= kill_at:
                events += self._finish(self._ending[0], at, DownBy.GUARD)
        return events

    def _end_processes(self, at: int) -> list[GuardEvent]:
        events: list[GuardEvent] = []
        for process in [one for one in self._processes if one.ends_ns is not None and one.ends_ns <= at]:
            step, process.step, process.ends_ns = process.step, None, None
            if step is not None:
                events.append(self._result(step, process))
            if step is None or process.why is not StepEnd.EXITED or not process.behaviour.leaves_running:
                self._processes.remove(process)
        return events

    def _result(self, step: Step, process: _Process) -> StepResult:
        code = process.behaviour.exit_code if process.why is StepEnd.EXITED else None
        self.ended[step.step_id] = StepResult(step.step_id, process.why, code)
        return self.ended[step.step_id]

    def _begin(self, cause: str, at: int, kill_at: int) -> None:
        self.authority.end()
        if self._ending is not None:
            self._ending = (self._ending[0], self._ending[1], min(self._ending[2], kill_at))
            return
        self._ending = (cause, at, kill_at)
        for process in self._processes:
            if not process.behaviour.ignores_term:
                process.why = StepEnd.SIGNALLED
                process.ends_ns = at + process.behaviour.term_takes_ns

    def _finish(self, cause: str, at: int, by: DownBy) -> list[GuardEvent]:
        self.authority.end()
        began = at if self._ending is None else self._ending[1]
        self.down = Down(cause, (at - began) // NS_PER_MS, by)
        steps = [process.step for process in self._processes if process.step is not None]
        self._processes.clear()
        return [*(StepResult(step.step_id, StepEnd.GUARD_DOWN) for step in steps), self.down]

    def _check(self, rule: Callable[[], None]) -> None:
        try:
            rule()
        except Refused as refused:
            raise GuardRefused(refused.code, refused.text) from None


class MemoryGuard:
    """Implements agents.fencing.base.Guard. `advance` is called by whoever owns the simulated time."""

    def __init__(
        self,
        now: Callable[[], int],
        behave: Callable[[Step], Behaviour] = lambda _step: Behaviour(),
        epoch_finished: int = 0,
    ) -> None:
        self.model = GuardModel(behave, epoch_finished)
        self.lacks: tuple[str, ...] = ()
        self.resources: tuple[HeldResource, ...] = ()
        self._now = now
        self._steps: dict[str, asyncio.Future[StepResult]] = {}
        self._down: asyncio.Future[Down] = asyncio.get_running_loop().create_future()

    def advance(self) -> None:
        self._tell(self.model.advance(self._now()))

    def crash(self) -> None:
        self._tell(self.model.crash(self._now()))

    def _tell(self, events: list[GuardEvent]) -> None:
        for event in events:
            if isinstance(event, Down):
                self._down.set_result(event)
            else:
                waiting = self._steps.pop(event.step_id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(event)

    async def bind(self, holder: str) -> None:
        self._need_life()
        self.model.bind(holder)

    async def arm(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        self._need_life()
        self.model.arm(epoch, term_at_ns, kill_at_ns, deadline_ns, self._now())

    async def run_step(self, step: Step) -> StepResult:
        self._need_life()
        self.model.run(step, self._now())
        done: asyncio.Future[StepResult] = asyncio.get_running_loop().create_future()
        self._steps[step.step_id] = done
        return await done

    async def outcome(self, step_id: str) -> StepResult | None:
        self._need_life()
        if step_id in self.model.ended or step_id not in self.model.running:
            return self.model.ended.get(step_id)
        self._steps[step_id] = asyncio.get_running_loop().create_future()
        return await self._steps[step_id]

    async def cancel_step(self, step_id: str) -> None:
        self._need_life()
        self.model.cancel(step_id, self._now())

    async def stop(self, grace_ns: int) -> Down:
        self.model.stop(grace_ns, self._now())
        self.advance()
        return await self.wait_down()

    async def fence(self) -> Down:
        self.model.fence(self._now())
        self.advance()
        return await self.wait_down()

    async def wait_down(self) -> Down:
        return await asyncio.shield(self._down)

    async def status(self) -> GuardStatus:
        self._need_life()
        rungs, since = self.model.authority.rungs, self.model.authority.since
        return GuardStatus(
            phase="armed" if rungs is not None and not self.model.authority.ended else "dormant",
            containment=Containment.PID_NAMESPACE,
            note="simulated",
            highest_epoch=self.model.authority.highest_epoch,
            epoch=rungs.epoch if rungs else None,
            deadline_ns=rungs.deadline_ns if rungs else None,
            floor_ns=rungs.floor_ns if rungs else None,
            steps=self.model.running,
            holder=self.model.holder,
            term_at_ns=rungs.term_at_ns if rungs else None,
            kill_at_ns=rungs.kill_at_ns if rungs else None,
            since_ns=None if since is None else (since.boot_ns, since.raw_ns, since.wall_ns),
            ended=tuple(self.model.ended.values()),
        )

    def let_go(self) -> None:
        """Nothing here outlives its process."""

    def _need_life(self) -> None:
        self.advance()
        if self.model.down is not None:
            raise GuardGone("the guard is down")
