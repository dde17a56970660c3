"""A member's guards as its runner sees them: the seam's awaitable face on the guard's process of witness.sim.guards.

Rule: whoever calls is the agent's process, and what it asks takes a moment; the guard answers it only while it lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.fencing.base import (
    Containment,
    Down,
    GuardGone,
    GuardStatus,
    HeldResource,
    NotProvenDown,
    Step,
    StepResult,
)
from agents.fencing.guard_model import Behaviour, GuardEvent, GuardModel
from agents.fencing.memory import MemoryGuard
from proto.units import NS_PER_MS, NS_PER_S, Epoch

if TYPE_CHECKING:
    from witness.sim.members.loop import ProcessLoop
    from witness.sim.members.shell import MemberShell

CALL_S_MAX = 0.002
DOWN_WAIT_S = 5.0
"""As agents.fencing.guard_client waits for an end that was asked for, beyond its grace."""


class SimGuard:
    """Implements agents.fencing.base.Guard: the handle of one process of the member on one guard."""

    def __init__(self, shell: MemberShell, loop: ProcessLoop, model: GuardModel) -> None:
        self.model = model
        self.lacks: tuple[str, ...] = ()
        self.resources: tuple[HeldResource, ...] = ()
        self._shell = shell
        self._loop = loop
        self._steps: dict[str, asyncio.Future[StepResult]] = {}
        self._down: asyncio.Future[Down] = loop.create_future()
        if model.down is not None:
            self._down.set_result(model.down)

    # -- what the guard tells ---------------------------------------------------------------------------------

    def heard(self, event: GuardEvent) -> None:
        self._loop.within(lambda: self._heard(event))

    def _heard(self, event: GuardEvent) -> None:
        if isinstance(event, Down):
            if not self._down.done():
                self._down.set_result(event)
            for waiting in self._steps.values():
                if not waiting.done():
                    waiting.set_exception(GuardGone("the guard is down"))
            return
        waiting = self._steps.pop(event.step_id, asyncio.Future(loop=self._loop))
        if not waiting.done():
            waiting.set_result(event)

    # -- what the runner asks ---------------------------------------------------------------------------------

    async def _reached(self) -> None:
        """A message to its process and back, while there is one."""
        await asyncio.sleep(self._shell.host.rng.random() * CALL_S_MAX)
        if self._loop.dead or self.model.down is not None or self.model.frozen:
            raise GuardGone("the guard is down, or does not answer")

    async def bind(self, holder: str) -> None:
        await self._reached()
        self._shell.bound(self.model, holder)

    async def arm(self, epoch: int, term_at_ns: int, kill_at_ns: int, deadline_ns: int) -> None:
        await self._reached()
        self.lacks = self._shell.arm(self.model, Epoch(epoch), term_at_ns, kill_at_ns, deadline_ns)

    async def run_step(self, step: Step) -> StepResult:
        await self._reached()
        done: asyncio.Future[StepResult] = self._loop.create_future()
        self._steps[step.step_id] = done
        self._shell.run(self.model, step)
        return await done

    async def outcome(self, step_id: str) -> StepResult | None:
        await self._reached()
        if step_id not in self.model.running:
            return self.model.ended.get(step_id)
        done: asyncio.Future[StepResult] = self._loop.create_future()
        self._steps[step_id] = done
        return await done

    async def cancel_step(self, step_id: str) -> None:
        await self._reached()
        self.model.cancel(step_id, self._shell.host.clock.now())
        self._shell.post.wake()

    async def stop(self, grace_ns: int) -> Down:
        return await self._ended(lambda: self.model.stop(grace_ns, self._shell.host.clock.now()), grace_ns)

    async def fence(self) -> Down:
        return await self._ended(lambda: self.model.fence(self._shell.host.clock.now()), 0)

    async def _ended(self, ask: Callable[[], None], grace_ns: int) -> Down:
        await asyncio.sleep(self._shell.host.rng.random() * CALL_S_MAX)
        if self._loop.dead:
            raise GuardGone("the process is gone")
        if self.model.down is None and not self.model.frozen:
            ask()
            self._shell.asked_to_end(self.model)
        try:
            async with asyncio.timeout(grace_ns / NS_PER_S + DOWN_WAIT_S):
                return await self.wait_down()
        except TimeoutError:
            raise NotProvenDown("the guard did not say that everything is dead") from None

    async def wait_down(self) -> Down:
        return await asyncio.shield(self._down)

    async def status(self) -> GuardStatus:
        await self._reached()
        ladder = self.model.ladder
        return GuardStatus(
            phase="dormant",
            containment=Containment.PID_NAMESPACE,
            note="simulated",
            highest_epoch=self.model.authority.highest_epoch,
            epoch=None,
            deadline_ns=None,
            floor_ns=None,
            steps=self.model.running,
            missing=() if ladder is None else tuple(ladder.lacks()),
        )

    def let_go(self) -> None:
        """It goes on by itself."""


class BareGuard(MemoryGuard):
    """For undo commands alone: it holds no lease, and what it runs is no part of the active role."""

    def __init__(
        self, loop: ProcessLoop, now: Callable[[], int], behave: Callable[[Step], Behaviour], over: Epoch
    ) -> None:
        super().__init__(now, behave, over)
        self._loop = loop
        self._tick()

    def _tick(self) -> None:
        if not self._loop.dead and self.model.down is None:
            self.advance()
            self._loop.call_later(5 * NS_PER_MS / NS_PER_S, self._tick)
