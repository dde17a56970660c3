"""(11) How far a plan has come: one table for its steps, one for its end, and what a crash leaves to do.

Rule: a step is noted as begun *before* its program may start, and its end is noted after it; so after a crash each
step is done, never begun, or of unknown outcome, and the unknown ones are few. Steps are idempotent: one of unknown
outcome is asked for, and begun again when nobody knows it. What was begun in an activation that did not succeed is
taken back in reverse order, the failed step included, because half of it may have happened (FAULTS A2).
Rejected: noting only what is done (a crash in a step would leave its effect unknown to everybody), one flag for the
whole plan (a resumed activation would start a second database).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum

from agents.core.effects import PlanKind
from proto.units import Epoch


class StepState(Enum):
    PENDING = "pending"
    BEGUN = "begun"
    """Its program may have run; the outcome is not known here."""
    DONE = "done"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    LEFT = "left"
    """Its undo failed for good: somebody has to look."""


class StepInput(Enum):
    BEGIN = "begin"
    SUCCEED = "succeed"
    FAIL = "fail"
    UNDO = "undo"
    UNDO_DONE = "undo-done"
    UNDO_FAILED = "undo-failed"


_S, _I = StepState, StepInput

STEP_TRANSITIONS: dict[tuple[StepState, StepInput], StepState] = {
    (_S.PENDING, _I.BEGIN): _S.BEGUN,
    (_S.BEGUN, _I.BEGIN): _S.BEGUN,
    (_S.BEGUN, _I.SUCCEED): _S.DONE,
    (_S.BEGUN, _I.FAIL): _S.FAILED,
    (_S.BEGUN, _I.UNDO): _S.UNDOING,
    (_S.DONE, _I.UNDO): _S.UNDOING,
    (_S.FAILED, _I.UNDO): _S.UNDOING,
    (_S.UNDOING, _I.UNDO): _S.UNDOING,
    (_S.UNDOING, _I.UNDO_DONE): _S.UNDONE,
    (_S.UNDOING, _I.UNDO_FAILED): _S.LEFT,
}
"""A pair that is not in the table is refused and changes nothing. BEGIN and UNDO repeat with each attempt."""

_TO_UNDO = frozenset({_S.BEGUN, _S.DONE, _S.FAILED, _S.UNDOING})


class PlanEnd(Enum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """From now on it is taken back, never resumed."""


END_TRANSITIONS: dict[tuple[PlanEnd, PlanEnd], PlanEnd] = {
    (PlanEnd.RUNNING, PlanEnd.SUCCEEDED): PlanEnd.SUCCEEDED,
    (PlanEnd.RUNNING, PlanEnd.FAILED): PlanEnd.FAILED,
}


@dataclass(frozen=True, slots=True)
class PlanHeader:
    """What is fixed when a plan begins."""

    plan: int
    kind: PlanKind
    epoch: Epoch
    cause: str
    incarnation: str
    """Of the agent, hex: a plan belongs to one authority."""
    boot_id: str
    began_ns: int
    """On BOOTTIME of that boot."""
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepMark:
    step: str
    input: StepInput
    attempt: int


Mark = StepMark | PlanEnd


class BadMark(ValueError):
    """A mark that no sound agent writes at this point; nothing was changed."""


class PlanProgress:
    """Owned by one journal; grows by marks only."""

    __slots__ = ("attempts", "end", "header", "states")

    def __init__(self, header: PlanHeader) -> None:
        self.header = header
        self.end = PlanEnd.RUNNING
        self.states: dict[str, StepState] = dict.fromkeys(header.steps, StepState.PENDING)
        self.attempts: dict[str, int] = dict.fromkeys(header.steps, -1)
        """The number of the attempt that was begun last, -1 for none."""

    def note(self, mark: Mark) -> None:
        """Raises BadMark."""
        if isinstance(mark, PlanEnd):
            after = END_TRANSITIONS.get((self.end, mark))
            if after is None:
                raise BadMark(f"the plan is {self.end.value}, it cannot become {mark.value}")
            self.end = after
            return
        state = self.states.get(mark.step)
        if state is None:
            raise BadMark(f"the plan has no step {mark.step!r}")
        new = STEP_TRANSITIONS.get((state, mark.input))
        if new is None:
            raise BadMark(f"step {mark.step} is {state.value}, {mark.input.value} means nothing there")
        self.states[mark.step] = new
        self.attempts[mark.step] = mark.attempt

    def begun(self, step: str) -> int | None:
        """The attempt whose outcome nobody noted, None when there is none."""
        return self.attempts[step] if self.states[step] is StepState.BEGUN else None

    def done(self, step: str) -> bool:
        return self.states[step] is StepState.DONE

    def may_resume(self, steps: tuple[str, ...]) -> bool:
        """It was under way when its agent ended, nothing failed, and the configuration still has the same steps."""
        failed = any(state is StepState.FAILED for state in self.states.values())
        return self.end is PlanEnd.RUNNING and not failed and self.header.steps == steps

    def to_undo(self, undoable: Container[str]) -> tuple[str, ...]:
        """Newest first: what an activation began and is not taken back; nothing once it has succeeded."""
        if self.header.kind is not PlanKind.ACTIVATE or self.end is PlanEnd.SUCCEEDED:
            return ()
        wanted = [step for step in self.header.steps if self.states[step] in _TO_UNDO and step in undoable]
        return tuple(reversed(wanted))

    def left(self) -> tuple[str, ...]:
        return tuple(step for step, state in self.states.items() if state is StepState.LEFT)
