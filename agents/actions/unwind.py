"""Takes back what an activation began that did not succeed: failed, cut short by a fence, or lost with its agent.

Rule: newest first, each step with its own `undo`; a step without one has nothing to take back. While the guard of
the activation is still armed the undo commands run in it, with the lease. When it is gone they run after everything
is proven dead, in a guard of their own that is armed for just that long: it holds no lease, and so no address and no
port; its commands are handed the old epoch, and whatever they reach that another site may hold by then must refuse it.
What cannot be taken back, or not within the time for all of them, is an alarm and delays nothing: what proves a site
down are the guards and the checks, not the undo commands.
A journal that cannot be read does not say what was begun, so everything that can be taken back is.
"""

from __future__ import annotations

from collections.abc import Callable

from agents.actions.parts import RunnerParts
from agents.actions.plan_notes import PlanNotes
from agents.actions.plans import GroupPlans
from agents.actions.step_places import StepPlaces
from agents.actions.steps import StepUndoer
from agents.fencing.base import Guard
from agents.settings import StepSpec
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, NS_PER_S, Epoch, InstantNs

CAUSE = "unwind"
ALONE_MS_MAX = 60_000
"""All undo commands together, when they have a guard of their own."""
ALONE_MARGIN_NS = 5 * NS_PER_S
"""Their own guard outlives the last undo command by this: a command that hangs is ended as one, not by the guard."""
ONE_ALONE_MS_MAX = 15_000
ALONE_KILL_NS = 1 * NS_PER_S
STOP_GRACE_NS = 1 * NS_PER_S


class Unwinder:
    """Owned by one runner."""

    def __init__(self, plans: GroupPlans, parts: RunnerParts, notes: PlanNotes, alarm: Callable[[str], None]) -> None:
        self._plans = plans
        self._parts = parts
        self._notes = notes
        self._alarm = alarm
        self._undoable = {step.name: step for step in plans.activation if step.undo or step.member}

    def steps(self) -> tuple[StepSpec, ...]:
        """What is to be taken back now, newest first."""
        if self._notes.damage:
            return tuple(reversed(self._undoable.values()))
        progress = self._notes.progress
        return () if progress is None else tuple(self._undoable[name] for name in progress.to_undo(self._undoable))

    async def within(
        self,
        guard: Guard,
        at: Callable[[], LocalDeadlines | None],
        limit_ms: int,
        progress: Callable[[str], None],
        one_ms_max: int | None = None,
    ) -> str:
        """In an armed guard, all within `limit_ms` and each within half of it.

        Returns in words what is left, '' for nothing. Raises StepFailed when the guard ends.
        """
        steps = self.steps()
        if self._notes.damage:
            self._alarm(f"{self._notes.damage}: every undo command runs")
        noted = self._notes.progress
        epoch, number = (Epoch(0), 0) if noted is None else (noted.header.epoch, noted.header.plan)
        about = self._plans.about(epoch, CAUSE, f"undo-{epoch}-{number}")
        now = self._parts.clock.now
        ends_at = InstantNs(now() + limit_ms * NS_PER_MS)
        one_ms = max(1, min(limit_ms // 2, limit_ms if one_ms_max is None else one_ms_max))
        places = StepPlaces(guard, self._parts.members, epoch)
        undoer = StepUndoer(self._plans, number, about, places, self._notes, at, now, ends_at, one_ms, progress)
        left = "; ".join(await undoer.run(steps))
        if left:
            self._alarm(f"could not be taken back, do it by hand: {left}")
        return left

    async def alone(self, limit_ms: int, progress: Callable[[str], None]) -> None:
        """After everything was proven dead, with no other guard here; all within `limit_ms` at most.

        Raises GuardError, StepFailed, or OSError.
        """
        if not self.steps():
            return
        limit_ms = min(limit_ms, ALONE_MS_MAX)
        noted = self._notes.progress
        epoch = max(1, 0 if noted is None else noted.header.epoch)
        guard = await self._parts.start_undo_guard(self._plans.group, Epoch(epoch - 1))
        try:
            now = self._parts.clock.now()
            ends = InstantNs(now + limit_ms * NS_PER_MS + ALONE_MARGIN_NS)
            rungs = LocalDeadlines(ends, InstantNs(ends + ALONE_KILL_NS), InstantNs(ends + 2 * ALONE_KILL_NS))
            await guard.arm(epoch, rungs.stop_at, rungs.kill_at, rungs.deadline)
            await self.within(guard, lambda: rungs, limit_ms, progress, ONE_ALONE_MS_MAX)
        finally:
            await guard.stop(STOP_GRACE_NS)
            await self._parts.release_guard(guard)
