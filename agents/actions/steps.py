"""(12) Runs a plan's steps in order inside the guard, each with its timeout and retries; and takes them back.

Rule: a step is done when its program ended with exit code 0 in time; what it left running in the background lives
on under the guard. The first step that fails for good ends the plan, with the end of its log in the reason. Each
begin and end is in the journal first (agents/core/plan_progress.py). A step whose outcome a former agent did not
note is asked for at the guard, which remembers; one that the guard does not know was never started.
A step is not begun with less than its `needs` left before the graceful stop: renewals are waited for, and when the
stop has come the step has failed without having run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.actions.plan_notes import PlanNotes, StepFailed
from agents.actions.plans import GroupPlans
from agents.actions.step_log import fresh_log
from agents.actions.step_places import StepPlaces, last_words
from agents.core.effects import PlanKind, StartPlan
from agents.core.plan_progress import PlanProgress, StepInput, StepMark
from agents.fencing.base import Step, StepEnd, StepResult
from agents.probes.command import base_environment, signal_name
from agents.settings import StepSpec
from proto.timing import LocalDeadlines
from proto.units import NS_PER_MS, InstantNs

START_MARGIN_NS = 20 * NS_PER_MS
"""A step needs at least this long before the stop, whatever it says: the guard begins nothing in its end."""
LEFT_LOOK_S = 0.02


@dataclass(slots=True)
class StepRunner:
    """One plan's steps. `deadlines` is asked before each step: renewals move them while the plan runs."""

    plans: GroupPlans
    plan: StartPlan
    places: StepPlaces
    notes: PlanNotes
    deadlines: Callable[[], LocalDeadlines | None]
    now: Callable[[], InstantNs]
    progress: Callable[[str], None]

    async def run(self, steps: tuple[StepSpec, ...]) -> None:
        if self.plan.kind is PlanKind.ACTIVATE:
            self.progress("waits for the members to hold the lease")
            await self.places.members.armed(self.plans.group, self.plan.epoch)
        for number, spec in enumerate(steps, start=1):
            self.progress(f"step {number} of {len(steps)}: {spec.name}")
            noted = self._noted()
            if noted is None or not noted.done(spec.name):
                await self._until_done(spec, None if noted is None else noted.begun(spec.name))

    def _noted(self) -> PlanProgress | None:
        """The journal of this very plan; None when it could not be begun, or is another one's."""
        found = self.notes.progress
        header = None if found is None else found.header
        ours = header is not None and (header.plan, header.kind) == (self.plan.plan, self.plan.kind)
        return found if ours else None

    async def _until_done(self, spec: StepSpec, begun: int | None) -> None:
        """`begun`: the attempt that a former agent began."""
        result, attempt = None, begun or 0
        step = self._step(spec, attempt, self.plans.log_dir / f"{log_name(self.plan.kind.value, spec)}.log")
        if begun is not None:
            result = await self.places.outcome(spec, step.step_id)
        while result is None or not (result.ok or attempt >= spec.retries):
            if result is not None:
                self._check_guard(spec, result)
                attempt += 1
                await asyncio.sleep(spec.retry_delay_ms / 1_000)
            await self._enough_left(spec)
            await self._note(spec, StepInput.BEGIN, attempt)
            step = self._step(spec, attempt, fresh_log(self.plans.log_dir, log_name(self.plan.kind.value, spec)))
            result = await self.places.run(spec, step)
        self._check_guard(spec, result)
        await self._note(spec, StepInput.SUCCEED if result.ok else StepInput.FAIL, attempt)
        if not result.ok:
            raise StepFailed(failure_words(result, spec, attempt + 1, last_words(spec, step, result)))

    @staticmethod
    def _check_guard(spec: StepSpec, result: StepResult) -> None:
        """What the guard ended has no outcome of its own: nothing is noted of it."""
        if result.end is StepEnd.GUARD_DOWN:
            raise StepFailed(f"{spec.name}: the guard ended it")

    async def _note(self, spec: StepSpec, what: StepInput, attempt: int) -> None:
        if self._noted() is None:
            return
        mark = StepMark(spec.name, what, attempt)
        # Who stops goes on without the journal: a full disk must not keep a platform running.
        await (self.notes.must(mark) if self.plan.kind is PlanKind.ACTIVATE else self.notes.may(mark))

    async def _enough_left(self, spec: StepSpec) -> None:
        needs_ns = max(spec.needs_ms * NS_PER_MS, START_MARGIN_NS)
        while (at := self.deadlines()) is not None and at.stop_at - self.now() < needs_ns:
            left_ms = (at.stop_at - self.now()) // NS_PER_MS
            if left_ms <= 0:
                raise StepFailed(
                    f"{spec.name}: not begun: it needs {needs_ns // NS_PER_MS} ms before the graceful stop, and the "
                    f"lease leaves none; lower `needs`, or raise the group's ttl"
                )
            self.progress(f"{spec.name} waits for a renewal: it needs {spec.needs_ms} ms, {left_ms} ms are left")
            await asyncio.sleep(LEFT_LOOK_S)

    def _step_id(self, spec: StepSpec, attempt: int) -> str:
        return f"{self.plan.plan}-{spec.name}-{attempt}"

    def _step(self, spec: StepSpec, attempt: int, log: Path) -> Step:
        verb = _VERB[self.plan.kind]
        about = self.plans.about(self.plan.epoch, self.plan.cause, f"{verb}-{self.plan.epoch}-{self.plan.plan}")
        return step_of(spec, spec.argv, self._step_id(spec, attempt), about, self.deadlines(), log)


@dataclass(slots=True)
class StepUndoer:
    """Takes steps back, newest first. An undo that fails for good is told and delays nothing else."""

    plans: GroupPlans
    plan: int
    about: dict[str, str]
    places: StepPlaces
    notes: PlanNotes
    deadlines: Callable[[], LocalDeadlines | None]
    now: Callable[[], InstantNs]
    ends_at: InstantNs
    """Of all of them: then nothing more is tried, and what is not done is left."""
    timeout_ms_max: int
    progress: Callable[[str], None]

    async def run(self, steps: Sequence[StepSpec]) -> list[str]:
        """`steps` newest first; returns in words what could not be taken back. Raises StepFailed with the guard."""
        left = []
        for spec in steps:
            self.progress(f"taking back {spec.name}")
            result, tries, said = await self._until_done(spec)
            await self.notes.may(StepMark(spec.name, StepInput.UNDO_DONE if result.ok else StepInput.UNDO_FAILED, 0))
            if not result.ok:
                left.append(failure_words(result, spec, tries, said))
        return left

    async def _until_done(self, spec: StepSpec) -> tuple[StepResult, int, str]:
        """With the number of tries, and what it printed last."""
        result, tries, step = StepResult(spec.name, StepEnd.NOT_STARTED, text="no time was left for it"), 0, None
        for attempt in range(spec.retries + 1):
            if attempt:
                await asyncio.sleep(min(spec.retry_delay_ms, max(0, self._left_ms())) / 1_000)
            if self._left_ms() <= 0:
                break
            tries += 1
            await self.notes.may(StepMark(spec.name, StepInput.UNDO, attempt))
            log = fresh_log(self.plans.log_dir, log_name("undo", spec))
            step_id = f"{self.plan}-undo-{spec.name}-{attempt}"
            limit_ms = max(1, min(self.timeout_ms_max, self._left_ms()))
            step = step_of(spec, spec.undo, step_id, self.about, self.deadlines(), log, limit_ms)
            result = await self.places.run(spec, step, undo=True)
            if result.end is StepEnd.GUARD_DOWN and not spec.member:
                raise StepFailed(f"the undo of {spec.name}: the guard ended it")
            if result.ok:
                break
        return result, tries, last_words(spec, step, result)

    def _left_ms(self) -> int:
        return (self.ends_at - self.now()) // NS_PER_MS


def step_of(
    spec: StepSpec,
    argv: tuple[str, ...],
    step_id: str,
    about: dict[str, str],
    deadlines: LocalDeadlines | None,
    log: Path,
    timeout_ms_max: int | None = None,
) -> Step:
    deadline = {"THIRDSITE_DEADLINE_BOOTTIME_NS": str(0 if deadlines is None else deadlines.deadline)}
    return Step(
        step_id=step_id,
        argv=argv,
        env=base_environment() | dict(spec.env) | about | deadline,
        log_path=log,
        cwd=Path(spec.directory),
        timeout_ms=spec.timeout_ms if timeout_ms_max is None else min(spec.timeout_ms, timeout_ms_max),
    )


def log_name(kind: str, spec: StepSpec) -> str:
    return f"{kind}.{spec.name}"


def failure_words(result: StepResult, spec: StepSpec, tries: int, said: str) -> str:
    tried = f", tried {tries} times" if tries > 1 else ""
    return f"{spec.name}: {_words(result, spec)}{tried}{f'; it said: {said}' if said else ''}"


_VERB = {
    PlanKind.ACTIVATE: "activate",
    PlanKind.DEACTIVATE: "deactivate",
    PlanKind.VERIFY_DOWN: "verify",
    PlanKind.ON_EPOCH: "on-epoch",
}


def _words(result: StepResult, spec: StepSpec) -> str:
    if result.end is StepEnd.EXITED:
        return f"exit code {result.exit_code}"
    if result.end is StepEnd.SIGNALLED:
        return f"ended by {signal_name(result.signal or 0)}"
    if result.end is StepEnd.TIMED_OUT:
        return f"not done within {spec.timeout_ms} ms"
    if result.end is StepEnd.NOT_STARTED:
        return result.text or "could not be started"
    return "cancelled"
