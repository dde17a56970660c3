"""The guard's body for simulated time: the seam's awaitable face on a GuardModel (agents/fencing/guard_model.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agents.fencing.base import (
    Containment,
    Down,
    GuardGone,
    GuardStatus,
    HeldResource,
    Step,
    StepResult,
)
from agents.fencing.guard_model import Behaviour, GuardEvent, GuardModel


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
        self.missing: tuple[str, ...] = ()
        """Of the host, as it found it at its start."""
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
            missing=self.missing,
        )

    def let_go(self) -> None:
        """Nothing here outlives its process."""

    def _need_life(self) -> None:
        self.advance()
        if self.model.down is not None:
            raise GuardGone("the guard is down")
