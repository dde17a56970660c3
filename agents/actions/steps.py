"""(12) Runs a plan's steps in order inside the guard, each with its timeout and retries.

Rule: a step is done when its program ended with exit code 0 in time; what it left running in the background lives
on under the guard. The first step that fails for good ends the plan, with the end of its log in the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.actions.plans import GroupPlans
from agents.actions.step_log import fresh_log, tail
from agents.core.effects import PlanKind, StartPlan
from agents.fencing.base import Guard, Step, StepEnd, StepResult
from agents.probes.command import base_environment, signal_name
from agents.settings import StepSpec
from proto.units import InstantNs


class StepFailed(Exception):
    """A step did not succeed; the text says which, why, and what it printed last."""


@dataclass(slots=True)
class StepRunner:
    """One plan's steps. `deadline` is asked before each step: renewals move it while the plan runs."""

    plans: GroupPlans
    plan: StartPlan
    guard: Guard
    deadline: Callable[[], InstantNs]
    progress: Callable[[str], None]

    async def run(self, steps: tuple[StepSpec, ...]) -> None:
        for number, spec in enumerate(steps, start=1):
            self.progress(f"step {number} of {len(steps)}: {spec.name}")
            await self._until_done(spec)

    async def _until_done(self, spec: StepSpec) -> None:
        for attempt in range(spec.retries + 1):
            if attempt:
                await asyncio.sleep(spec.retry_delay_ms / 1_000)
            log = fresh_log(self.plans.log_dir, f"{self.plan.kind.value}.{spec.name}")
            result = await self.guard.run_step(self._step(spec, attempt, log))
            if result.ok:
                return
            if result.end is StepEnd.GUARD_DOWN:
                raise StepFailed(f"{spec.name}: the guard ended it")
        said = tail(log)
        tries = f", tried {spec.retries + 1} times" if spec.retries else ""
        raise StepFailed(f"{spec.name}: {_words(result, spec)}{tries}{f'; it said: {said}' if said else ''}")

    def _step(self, spec: StepSpec, attempt: int, log: Path) -> Step:
        return Step(
            step_id=f"{self.plan.plan}-{spec.name}-{attempt}",
            argv=spec.argv,
            env=base_environment() | dict(spec.env) | self._about(),
            log_path=log,
            cwd=Path(spec.directory),
            timeout_ms=spec.timeout_ms,
        )

    def _about(self) -> dict[str, str]:
        return {
            "THIRDSITE_GROUP": self.plans.group,
            "THIRDSITE_SITE": self.plans.site,
            "THIRDSITE_EPOCH": str(self.plan.epoch),
            "THIRDSITE_CAUSE": self.plan.cause,
            "THIRDSITE_PLAN": f"{_VERB[self.plan.kind]}-{self.plan.epoch}-{self.plan.plan}",
            "THIRDSITE_DEADLINE_BOOTTIME_NS": str(self.deadline()),
        }


_VERB = {PlanKind.ACTIVATE: "activate", PlanKind.DEACTIVATE: "deactivate", PlanKind.VERIFY_DOWN: "verify"}


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
