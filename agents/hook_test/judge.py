"""What was seen of a script, case by case, and what it says about being run again; pure.

Rule: the first run is the measure. A script is idempotent when every further run, whatever happened to the one before,
ends as the first one did and leaves the same state; nothing is said about what was not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from agents.fencing.base import StepEnd, StepResult


class Verdict(Enum):
    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but worth knowing."""
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the script."""

    result: StepResult
    took_ms: int
    state: str | None
    """A digest of what --state printed afterwards; None without one."""
    files: tuple[str, ...] = ()
    """In the private TMPDIR afterwards."""
    processes: int = 0
    """Still running in the namespace afterwards."""
    said: str = ""

    @property
    def how(self) -> str:
        if self.result.end is StepEnd.EXITED:
            return f"exit code {self.result.exit_code}"
        if self.result.end is StepEnd.SIGNALLED:
            return f"ended by signal {self.result.signal}"
        if self.result.end is StepEnd.NOT_STARTED:
            return self.result.text or "could not be started"
        return {StepEnd.TIMED_OUT: "not done in time", StepEnd.CANCELLED: "cancelled"}.get(self.result.end, "killed")


@dataclass(frozen=True, slots=True)
class Finding:
    case: str
    verdict: Verdict
    words: str


def first_run(run: Run) -> list[Finding]:
    if not run.result.ok:
        said = f"; it said: {run.said}" if run.said else ""
        return [Finding("first run", Verdict.PROBLEM, f"{run.how}: a step must end with exit code 0{said}")]
    found = [Finding("first run", Verdict.OK, f"exit code 0 after {run.took_ms} ms")]
    if run.processes:
        words = f"leaves {run.processes} processes running: they live in the namespace and die with the lease"
        found.append(Finding("first run", Verdict.NOTE, words))
    if run.files:
        found.append(Finding("first run", Verdict.NOTE, f"leaves in TMPDIR: {names(run.files)}"))
    return found


def no_further(*, dry: bool, reset: bool) -> str:
    """A script that knows no dry run has really run in it, and finds its own traces in its first run."""
    words = "what fails in its first run cannot be judged further"
    if not dry or reset:
        return words
    return (
        f"{words}; the dry run came before it: bring back the beginning with --reset, or leave it out with --no-dry-run"
    )


def dry_run(run: Run, before: str | None) -> list[Finding]:
    if not run.result.ok:
        return [Finding("dry run", Verdict.PROBLEM, f"{run.how} with THIRDSITE_DRY_RUN=1")]
    if before is not None and run.state != before:
        return [Finding("dry run", Verdict.PROBLEM, "changes the state although THIRDSITE_DRY_RUN=1")]
    watched = "" if before is not None else "; what it changed was not looked at (--state)"
    return [Finding("dry run", Verdict.OK, f"exit code 0{watched}")]


def again(case: str, first: Run, run: Run, after: str) -> list[Finding]:
    """A further run; `after` says what happened before it."""
    problems = []
    if not run.result.ok:
        said = f"; it said: {run.said}" if run.said else ""
        problems.append(f"{run.how}, the first run had exit code 0{said}")
    if run.state != first.state:
        problems.append("the state is another one than after the first run")
    extra = sorted(set(run.files) - set(first.files))
    if extra:
        problems.append(f"left in TMPDIR for good: {names(extra)}")
    if problems:
        return [Finding(case, Verdict.PROBLEM, f"{after}: {'; '.join(problems)}")]
    return [Finding(case, Verdict.OK, f"{after}: as the first run")]


def together(first: Run, runs: Sequence[Run]) -> list[Finding]:
    """Two at once: both must succeed; the state is looked at when both have ended."""
    failed = [run for run in runs if not run.result.ok]
    if failed:
        said = f"; it said: {failed[0].said}" if failed[0].said else ""
        words = f"{len(failed)} of {len(runs)} failed: {', '.join(run.how for run in failed)}{said}"
        return [Finding("duplicate", Verdict.PROBLEM, f"two at once: {words}")]
    if runs[-1].state != first.state:
        return [Finding("duplicate", Verdict.PROBLEM, "two at once: the state is another one than after one run")]
    return [Finding("duplicate", Verdict.OK, "two at once: both as the first run")]


def cut_by_timeout(run: Run, term_grace_ms: int, timeout_ms: int) -> list[Finding]:
    """The run that was cut; the one after it is judged by `again`."""
    if run.result.ok:
        return [Finding("timeout", Verdict.SKIPPED, "it ends too quickly to be cut")]
    if run.took_ms >= timeout_ms + term_grace_ms:
        words = f"goes on after TERM: it was killed {term_grace_ms} ms later, in the middle of whatever it did"
        return [Finding("timeout", Verdict.NOTE, words)]
    return []


def names(files: Sequence[str], shown_max: int = 5) -> str:
    more = f" and {len(files) - shown_max} more" if len(files) > shown_max else ""
    return ", ".join(files[:shown_max]) + more


def worst(findings: Sequence[Finding]) -> Verdict:
    kinds = {finding.verdict for finding in findings}
    return Verdict.PROBLEM if Verdict.PROBLEM in kinds else Verdict.OK
