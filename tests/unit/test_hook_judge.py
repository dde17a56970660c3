"""What a hook test says about what it saw."""

from __future__ import annotations

from typing import Any

import pytest

from agents.fencing.base import StepEnd, StepResult
from agents.hook_test import judge
from agents.hook_test.judge import Finding, Run, Verdict
from agents.hook_test.show import as_dict


def run(code: int = 0, **changes: Any) -> Run:
    fields: dict[str, Any] = {"result": StepResult("x", StepEnd.EXITED, code), "took_ms": 100, "state": "s", **changes}
    return Run(**fields)


TIMED_OUT = StepResult("x", StepEnd.TIMED_OUT)


def only(found: list[Finding]) -> Finding:
    (one,) = found
    return one


def test_the_first_run_is_the_measure() -> None:
    assert only(judge.first_run(run())).verdict is Verdict.OK
    failed = only(judge.first_run(run(3, said="no license")))
    assert (failed.verdict, failed.words) == (
        Verdict.PROBLEM,
        "exit code 3: a step must end with exit code 0; it said: no license",
    )
    notes = judge.first_run(run(processes=2, files=("pid",)))
    assert [one.verdict for one in notes] == [Verdict.OK, Verdict.NOTE, Verdict.NOTE]


@pytest.mark.parametrize(("dry", "reset", "told"), [(True, False, True), (True, True, False), (False, False, False)])
def test_what_a_dry_run_may_have_left_is_named(dry: bool, reset: bool, told: bool) -> None:
    assert ("--no-dry-run" in judge.no_further(dry=dry, reset=reset)) is told


@pytest.mark.parametrize(
    ("seen", "before", "verdict"),
    [
        (run(), "s", Verdict.OK),
        (run(state="other"), "s", Verdict.PROBLEM),
        (run(64), "s", Verdict.PROBLEM),
        (run(state=None), None, Verdict.OK),
    ],
)
def test_a_dry_run_changes_nothing(seen: Run, before: str | None, verdict: Verdict) -> None:
    assert only(judge.dry_run(seen, before)).verdict is verdict


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (run(), None),
        (run(files=("pid",)), None),
        (run(2), "exit code 2, the first run had exit code 0"),
        (run(result=TIMED_OUT), "not done in time"),
        (run(state="other"), "the state is another one"),
        (run(files=("pid", "lock")), "left in TMPDIR for good: lock"),
    ],
)
def test_each_further_run_must_be_as_the_first(seen: Run, words: str | None) -> None:
    found = only(judge.again("crash", run(files=("pid",)), seen, "killed, then run again"))
    assert found.verdict is (Verdict.OK if words is None else Verdict.PROBLEM)
    assert (words or "as the first run") in found.words


def test_two_at_once_must_both_succeed_and_leave_one_state() -> None:
    assert only(judge.together(run(), [run(), run()])).verdict is Verdict.OK
    assert "1 of 2 failed: exit code 3" in only(judge.together(run(), [run(3), run()])).words
    assert only(judge.together(run(), [run(), run(state="twice")])).verdict is Verdict.PROBLEM


def test_a_cut_says_whether_term_was_obeyed() -> None:
    assert judge.cut_by_timeout(run(result=TIMED_OUT, took_ms=60), 1_000, 50) == []
    deaf = only(judge.cut_by_timeout(run(result=TIMED_OUT, took_ms=1_060), 1_000, 50))
    assert (deaf.verdict, "goes on after TERM" in deaf.words) == (Verdict.NOTE, True)
    assert only(judge.cut_by_timeout(run(), 1_000, 50)).verdict is Verdict.SKIPPED


def test_notes_and_what_was_skipped_are_no_problem() -> None:
    found = [Finding("a", Verdict.NOTE, ""), Finding("b", Verdict.SKIPPED, "")]
    assert judge.worst(found) is Verdict.OK
    assert as_dict(["x"], found)["idempotent"] is True
    assert as_dict(["x"], [*found, Finding("c", Verdict.PROBLEM, "")])["idempotent"] is False
    assert judge.names([str(number) for number in range(7)]) == "0, 1, 2, 3, 4 and 2 more"
