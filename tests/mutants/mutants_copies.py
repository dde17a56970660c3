"""Copies of a running machine, where no witness hears them both: by holds, and in an adoption."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mutant import Mutant, rewritten

from agents.core.holds_given import HoldsGiven
from witness.core import permits

ALONE = "simulated copies of a machine part their ways at once; these go in step, or differ in what they say alone"


def adopted_by_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "may_claim", lambda _lease, _record: True)


MUTANTS = (
    Mutant(
        "copies-in-step-are-both-held",
        "a round of holds is asked for once: the same number with another nonce is of a second instance",
        "ADR 16: who asks",
        rewritten(cast("Any", HoldsGiven._behind), "<= before.number", "< before.number"),
        tests=("unit/test_review_holds.py::test_of_two_copies_in_step_the_second_one_is_told",),
        why=ALONE,
    ),
    Mutant(
        "adoption-claimed-without-a-permit",
        "what was adopted is claimed only by who says that it runs under a permit",
        "ADR 18: adoption",
        adopted_by_anybody,
        tests=("unit/test_review_permits.py::test_what_was_adopted_is_claimed_only_under_a_permit",),
        why=ALONE,
    ),
)
