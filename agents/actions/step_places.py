"""Where a step runs: in the group's guard on this host, or on the member that it names.

Rule: whoever runs a plan does not care. On a member the same attempt is begun once, however often it is asked for
(agents/member/steps.py), so a lost answer, a lost connection and a new process of the lead are one case: ask again.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.actions.parts import MemberGuards, MemberStep
from agents.actions.step_log import tail
from agents.fencing.base import Guard, Step, StepEnd, StepResult
from agents.settings import StepSpec
from proto.units import Epoch, GroupId


@dataclass(frozen=True, slots=True)
class StepPlaces:
    guard: Guard
    members: MemberGuards
    epoch: Epoch

    async def outcome(self, spec: StepSpec, step_id: str) -> StepResult | None:
        """Of an attempt that a former agent began; None: nobody knows, so it is asked for again."""
        return None if spec.member else await self.guard.outcome(step_id)

    async def run(self, spec: StepSpec, step: Step, *, undo: bool = False) -> StepResult:
        if not spec.member:
            return await self.guard.run_step(step)
        return await self.members.run_step(
            MemberStep(
                member=spec.member,
                group=GroupId(step.env["THIRDSITE_GROUP"]),
                epoch=self.epoch,
                step_id=step.step_id,
                step=spec.name,
                undo=undo,
                cause=step.env["THIRDSITE_CAUSE"],
                plan=step.env["THIRDSITE_PLAN"],
                timeout_ms=step.timeout_ms,
            )
        )


def last_words(spec: StepSpec, step: Step | None, result: StepResult) -> str:
    """What a step printed last: from its log here, or as its member sent it."""
    if step is None or result.end is StepEnd.NOT_STARTED:
        return ""
    return result.text if spec.member else tail(step.log_path)
