"""How far a plan has come: the tables in full, and what is resumed or taken back after any mark."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.core.effects import PlanKind
from agents.core.plan_progress import (
    END_TRANSITIONS,
    STEP_TRANSITIONS,
    BadMark,
    PlanEnd,
    PlanHeader,
    PlanProgress,
    StepInput,
    StepMark,
    StepState,
)
from proto.units import Epoch

STEPS = ("mount", "database", "application")
IN, S = StepInput, StepState


def progress(kind: PlanKind = PlanKind.ACTIVATE) -> PlanProgress:
    return PlanProgress(PlanHeader(3, kind, Epoch(7), "grant", "ab" * 16, "boot", 5, STEPS))


def walk(plan: PlanProgress, step: str, *inputs: StepInput) -> None:
    for one in inputs:
        plan.note(StepMark(step, one, 0))


INTO = {
    S.PENDING: (),
    S.BEGUN: (IN.BEGIN,),
    S.DONE: (IN.BEGIN, IN.SUCCEED),
    S.FAILED: (IN.BEGIN, IN.FAIL),
    S.UNDOING: (IN.BEGIN, IN.UNDO),
    S.UNDONE: (IN.BEGIN, IN.UNDO, IN.UNDO_DONE),
    S.LEFT: (IN.BEGIN, IN.UNDO, IN.UNDO_FAILED),
}


@pytest.mark.parametrize(("state", "given_input"), list(itertools.product(StepState, StepInput)))
def test_every_pair_of_a_step_does_what_the_table_says_or_nothing(state: StepState, given_input: StepInput) -> None:
    plan = progress()
    walk(plan, "mount", *INTO[state])
    assert plan.states["mount"] is state
    after = STEP_TRANSITIONS.get((state, given_input))
    if after is None:
        with pytest.raises(BadMark):
            walk(plan, "mount", given_input)
        assert plan.states["mount"] is state
    else:
        walk(plan, "mount", given_input)
        assert plan.states["mount"] is after


@pytest.mark.parametrize(("state", "wanted"), list(itertools.product(PlanEnd, PlanEnd)))
def test_every_pair_of_an_end_does_what_the_table_says_or_nothing(state: PlanEnd, wanted: PlanEnd) -> None:
    plan = progress()
    if state is not PlanEnd.RUNNING:
        plan.note(state)
    if (state, wanted) in END_TRANSITIONS:
        plan.note(wanted)
        assert plan.end is wanted
    else:
        with pytest.raises(BadMark):
            plan.note(wanted)
        assert plan.end is state


def test_a_step_that_is_not_in_the_plan_is_refused() -> None:
    with pytest.raises(BadMark, match="no step 'other'"):
        progress().note(StepMark("other", IN.BEGIN, 0))


def test_undo_comes_in_reverse_and_takes_the_failed_step_with_it() -> None:
    plan = progress()
    walk(plan, "mount", IN.BEGIN, IN.SUCCEED)
    walk(plan, "database", IN.BEGIN, IN.FAIL)
    plan.note(PlanEnd.FAILED)
    assert plan.to_undo(STEPS) == ("database", "mount")
    assert plan.to_undo({"mount"}) == ("mount",)
    walk(plan, "database", IN.UNDO, IN.UNDO_FAILED)
    assert (plan.to_undo(STEPS), plan.left()) == (("mount",), ("database",))
    walk(plan, "mount", IN.UNDO)
    assert plan.to_undo(STEPS) == ("mount",), "an undo that was cut short is done again"
    walk(plan, "mount", IN.UNDO, IN.UNDO_DONE)
    assert plan.to_undo(STEPS) == ()


def test_nothing_of_an_activation_that_succeeded_is_taken_back_nor_of_a_deactivation() -> None:
    plan = progress()
    walk(plan, "mount", IN.BEGIN, IN.SUCCEED)
    assert plan.to_undo(STEPS) == ("mount",)
    plan.note(PlanEnd.SUCCEEDED)
    assert plan.to_undo(STEPS) == ()
    stop = progress(PlanKind.DEACTIVATE)
    walk(stop, "mount", IN.BEGIN, IN.FAIL)
    assert stop.to_undo(STEPS) == ()


def test_a_plan_resumes_only_with_its_own_steps_and_before_its_end() -> None:
    plan = progress()
    assert plan.may_resume(STEPS)
    assert not plan.may_resume(STEPS[:2])
    assert not plan.may_resume((STEPS[1], STEPS[0], STEPS[2]))
    walk(plan, "mount", IN.BEGIN, IN.FAIL)
    assert not plan.may_resume(STEPS), "the crash came between the step's failure and the plan's"
    plan.note(PlanEnd.FAILED)
    assert not plan.may_resume(STEPS)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(StepInput)), max_size=30))
def test_whatever_is_noted_each_begun_step_is_done_unknown_or_taken_back(marks: list[tuple[str, StepInput]]) -> None:
    """At every point a step is in exactly one pile: to do, of unknown outcome, done, to undo or settled."""
    plan = progress()
    for number, (step, one) in enumerate(marks):
        before = dict(plan.states)
        try:
            plan.note(StepMark(step, one, number))
        except BadMark:
            assert plan.states == before
            continue
        assert plan.states[step] is STEP_TRANSITIONS[(before[step], one)]
        assert plan.attempts[step] == number
    for step, state in plan.states.items():
        assert (plan.begun(step) is not None) == (state is S.BEGUN)
        assert plan.done(step) == (state is S.DONE)
        touched = state not in (S.PENDING, S.UNDONE, S.LEFT)
        assert (step in plan.to_undo(STEPS)) == touched
