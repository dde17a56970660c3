"""The site's plans and their journal (agents/core/plan_progress.py, agents/actions).

Schedules run plans by the journal's rules, in a simulated runner whose steps end nothing but themselves: what is noted
on a disk, begun twice or taken back there is for the agent's tests.
"""

from __future__ import annotations

import pytest
from mutant import Mutant

from agents.actions.plan_notes import PlanNotes
from agents.actions.steps import StepRunner
from agents.actions.unwind import Unwinder
from agents.core.plan_progress import PlanEnd, PlanProgress, StepInput, StepState


def an_ended_step_runs_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PlanProgress, "done", lambda self, step: False)


def an_open_step_is_begun_anew(patch: pytest.MonkeyPatch) -> None:
    """The guard is not asked how the attempt of the former agent ended."""
    patch.setattr(PlanProgress, "begun", lambda self, step: None)


def a_begun_step_counts_as_done(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PlanProgress, "done", lambda self, step: self.states[step] in {StepState.BEGUN, StepState.DONE})


def undone_in_order(patch: pytest.MonkeyPatch) -> None:
    right = PlanProgress.to_undo
    patch.setattr(PlanProgress, "to_undo", lambda self, undoable: tuple(reversed(right(self, undoable))))


def the_failed_step_is_left(patch: pytest.MonkeyPatch) -> None:
    right = PlanProgress.to_undo

    def to_undo(self, undoable):
        return tuple(step for step in right(self, undoable) if self.states[step] is not StepState.FAILED)

    patch.setattr(PlanProgress, "to_undo", to_undo)


def a_success_is_taken_back(patch: pytest.MonkeyPatch) -> None:
    right = PlanProgress.to_undo

    def to_undo(self, undoable):
        end, self.end = self.end, PlanEnd.FAILED
        try:
            return right(self, undoable)
        finally:
            self.end = end

    patch.setattr(PlanProgress, "to_undo", to_undo)


def a_failed_plan_is_resumed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PlanProgress, "may_resume", lambda self, steps: self.header.steps == steps)


def other_steps_are_resumed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PlanProgress, "may_resume", lambda self, steps: self.end is PlanEnd.RUNNING)


def begun_without_a_note(patch: pytest.MonkeyPatch) -> None:
    """An activation goes on when its mark could not be written."""
    patch.setattr(PlanNotes, "must", PlanNotes.may)


def noted_after_the_start(patch: pytest.MonkeyPatch) -> None:
    """A step is noted as begun once its program has ended."""
    right = StepRunner._note

    async def note(self, spec, what, attempt):
        if what is StepInput.BEGIN:
            return
        await right(self, spec, StepInput.BEGIN, attempt)
        await right(self, spec, what, attempt)

    patch.setattr(StepRunner, "_note", note)


def damage_leaves_all_as_it_is(patch: pytest.MonkeyPatch) -> None:
    right = Unwinder.steps
    patch.setattr(Unwinder, "steps", lambda self: () if self._notes.damage else right(self))


NO_JOURNAL = "the runner of schedules is simulated, and what its steps do twice, late or never harms no promise"
_UNWIND = "unit/test_agent_unwind.py::test_"
_PROGRESS = "unit/test_plan_progress.py::test_"


def _plan(name: str, rule: str, patch, *tests: str) -> Mutant:
    return Mutant(name, rule, "agent: plans", patch, tests=tests, why=NO_JOURNAL)


MUTANTS = (
    _plan(
        "ended-step-runs-again",
        "a plan is resumed at its first step that is not done",
        an_ended_step_runs_again,
        f"{_UNWIND}a_resumed_activation_goes_on_at_the_first_step_that_is_not_done",
    ),
    _plan(
        "open-step-begun-anew",
        "how a step of a former agent ended is asked before it is begun again",
        an_open_step_is_begun_anew,
        f"{_UNWIND}how_a_step_of_a_former_agent_ended_is_asked_for_and_not_begun_again",
    ),
    _plan(
        "begun-counts-as-done",
        "a step whose end was not noted is not done",
        a_begun_step_counts_as_done,
        f"{_UNWIND}a_resumed_activation_goes_on_at_the_first_step_that_is_not_done",
    ),
    _plan(
        "undone-in-order",
        "what was begun is taken back newest first",
        undone_in_order,
        f"{_PROGRESS}undo_comes_in_reverse_and_takes_the_failed_step_with_it",
    ),
    _plan(
        "failed-step-is-left",
        "half a step may have happened: the failed one is taken back too",
        the_failed_step_is_left,
        f"{_PROGRESS}undo_comes_in_reverse_and_takes_the_failed_step_with_it",
    ),
    _plan(
        "success-is-taken-back",
        "nothing of an activation that succeeded is taken back",
        a_success_is_taken_back,
        f"{_UNWIND}nothing_of_a_successful_activation_is_taken_back",
        f"{_PROGRESS}nothing_of_an_activation_that_succeeded_is_taken_back_nor_of_a_deactivation",
    ),
    _plan(
        "failed-plan-is-resumed",
        "a plan that failed is taken back, never resumed",
        a_failed_plan_is_resumed,
        f"{_PROGRESS}a_plan_resumes_only_with_its_own_steps_and_before_its_end",
    ),
    _plan(
        "other-steps-are-resumed",
        "a plan is resumed with its own steps only",
        other_steps_are_resumed,
        f"{_UNWIND}a_plan_whose_steps_changed_is_not_resumed_but_taken_back",
    ),
    _plan(
        "begun-without-a-note",
        "a step that cannot be noted is not begun",
        begun_without_a_note,
        f"{_UNWIND}a_step_does_not_start_when_its_begin_cannot_be_noted",
    ),
    _plan(
        "noted-after-the-start",
        "a step is noted as begun before its program may start",
        noted_after_the_start,
        f"{_UNWIND}a_step_does_not_start_when_its_begin_cannot_be_noted",
        f"{_UNWIND}what_a_fence_cut_short_is_taken_back_after_the_proof_in_a_guard_of_its_own",
    ),
    _plan(
        "damage-leaves-all",
        "a journal that cannot be read has everything taken back",
        damage_leaves_all_as_it_is,
        f"{_UNWIND}a_journal_that_cannot_be_read_has_everything_taken_back",
    ),
)
