"""Hunts one mutant: seed after seed with the patch on until a checker objects, then the same seed without it."""

from __future__ import annotations

import contextlib
import gc
import io
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import pytest
from mutant import TESTS, TESTS_ONLY, Mutant

CLEAN_BEFORE_KILL = 2
"""So many earlier seeds are run without the patch too."""


@dataclass
class Verdict:
    name: str
    campaign: str
    rule: str
    where: str
    budget: int
    killed: bool = False
    schedules: int = 0
    seed: int | None = None
    """The one that killed it."""
    by: list[str] = field(default_factory=list)
    """Checkers, or tests."""
    also: set[str] = field(default_factory=set)
    """Checkers that objected and are not those that were expected to."""
    false_alarm: bool = False
    """The unchanged code is objected to as well: nothing was shown."""
    why: str = ""
    """Tests alone: what the simulators cannot show."""
    died: str = ""
    """How the process that hunted it ended before it could say anything."""
    seconds: float = 0.0

    @property
    def survived(self) -> bool:
        return not self.killed or self.false_alarm

    def as_json(self) -> dict[str, object]:
        return asdict(self) | {"also": sorted(self.also)}


def hunt(mutant: Mutant, most: int | None = None) -> Verdict:
    began = time.monotonic()
    gc.freeze()
    verdict = Verdict(mutant.name, mutant.campaign, mutant.rule, mutant.where, mutant.budget, why=mutant.why)
    if mutant.campaign == TESTS_ONLY:
        _by_tests(mutant, verdict)
    else:
        _by_schedules(mutant, verdict, mutant.budget if most is None else min(most, mutant.budget))
    verdict.seconds = round(time.monotonic() - began, 1)
    return verdict


@contextlib.contextmanager
def switched_on(mutant: Mutant) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        mutant.patch(patch)
        yield


def _by_schedules(mutant: Mutant, verdict: Verdict, budget: int) -> None:
    focus = mutant.focus
    assert focus is not None
    for seed in range(budget):
        with switched_on(mutant):
            seen = set(focus.violations(seed))
        verdict.schedules = seed + 1
        verdict.also |= seen - focus.caught_as
        seen &= focus.caught_as
        if seen:
            verdict.killed, verdict.seed, verdict.by = True, seed, sorted(seen)
            again = [*range(min(CLEAN_BEFORE_KILL, seed)), seed]
            verdict.false_alarm = any(focus.violations(clean) for clean in again)
            return


def _by_tests(mutant: Mutant, verdict: Verdict) -> None:
    verdict.false_alarm = _run_tests(mutant.tests) != pytest.ExitCode.OK
    with switched_on(mutant):
        verdict.killed = _run_tests(mutant.tests) == pytest.ExitCode.TESTS_FAILED
    verdict.by = [node.rpartition("/")[2] for node in mutant.tests]


def _run_tests(nodes: tuple[str, ...]) -> int:
    options = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-p",  # what is left open by one run would end the process that hunts the next
        "no:unraisableexception",
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return pytest.main([*options, *(str(TESTS / node) for node in nodes)])
