"""Copies of a running machine, where no witness hears them both: by holds, and in an adoption."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mutant import Mutant, rewritten, sim_broken

from agents.core.group import GroupAgent
from agents.core.holds_given import HoldsGiven
from proto.decisions import Reason
from witness.core import permits

ALONE = "simulated copies of a machine part their ways at once; these go in step, or differ in what they say alone"


def adopted_by_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "may_claim", lambda _lease, _record: True)


def superseded_releases_on(patch: pytest.MonkeyPatch) -> None:
    """What waits is sent all the same."""
    right = GroupAgent._refused

    def refused(self, reason, carried):
        waits = self.end.release
        right(self, reason, carried)
        self.end.release = waits if reason is Reason.INCARNATION_SUPERSEDED else self.end.release

    patch.setattr(GroupAgent, "_refused", refused)


SUPERSEDED = "unit/test_agent_endings.py::test_who_was_superseded_withdraws_a_release_that_waits"
MUTANTS = (
    sim_broken("any-heartbeat-counts", "a number of an incarnation counts once", "1, 2"),
    sim_broken("a-stale-word-tells-nothing", "whose newest heartbeat is stale ends its incarnation", "live clone"),
    sim_broken("released-without-a-word", "a release follows a word of after the end", "live clone"),
    Mutant(
        "superseded-releases-on",
        "who was superseded releases nothing, also what waits for its word",
        "2, live clone",
        superseded_releases_on,
        tests=(SUPERSEDED,),
        why="three copies, one down with its release unsent, and the one that supersedes it still being fenced",
    ),
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
