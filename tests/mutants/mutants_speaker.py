"""Late words of incarnations that ended (ADR 25): who names whom, and who is believed."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mutant import Mutant, rewritten

from agents.core.agent_incarnation import SiteIncarnation
from agents.core.ended import EndedIncarnations
from witness.core import speaker

SEED = "the simulation has it, as seed 192849, once in many thousand schedules"


def nobody_is_named(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EndedIncarnations, "named", lambda self, features, *, superseded: ())


def names_are_for_who_was_heard(patch: pytest.MonkeyPatch) -> None:
    """Who was never heard is not known, so it may still come."""
    right = speaker._supersede

    def supersede(record, incarnations):
        right(record, [one for one in incarnations if one == record.incarnation])

    patch.setattr(speaker, "_supersede", supersede)


def speaks_before_it_is_noted(patch: pytest.MonkeyPatch) -> None:
    right = EndedIncarnations.begun_anew

    def begun_anew(self, former):
        right(self, former)
        self.noted = True

    patch.setattr(EndedIncarnations, "begun_anew", begun_anew)


_UNIT = "unit/test_speaker.py::test_"
_AGENT = "unit/test_agent_ended.py::test_"
MUTANTS = (
    Mutant(
        "nobody-is-named",
        "an agent names the incarnations that ended before it",
        "ADR 25",
        nobody_is_named,
        tests=(f"{_AGENT}the_first_heartbeats_name_them_and_later_ones_do_not",),
        why=SEED,
    ),
    Mutant(
        "names-are-for-who-was-heard",
        "who is named is superseded, heard or not",
        "ADR 25",
        names_are_for_who_was_heard,
        tests=(f"{_UNIT}a_late_word_of_one_that_was_never_heard_counts_no_more",),
        why=SEED,
    ),
    Mutant(
        "the-word-goes-back-to-anybody",
        "an older incarnation counts again only when it names the one that counts now",
        "ADR 25",
        rewritten(cast("Any", speaker.heard), "record.incarnation not in beat.ended", "not beat.ended"),
        tests=(f"{_UNIT}the_word_goes_back_only_to_who_names_the_one_that_took_it",),
        why="two agents of one site that both live, each after a former one, are rare there",
    ),
    Mutant(
        "speaks-before-it-is-noted",
        "an incarnation is on disk before it speaks",
        "ADR 25",
        speaks_before_it_is_noted,
        tests=(
            f"{_AGENT}an_incarnation_that_begins_in_the_process_is_on_disk_before_it_speaks_and_names_the_one_before",
        ),
        why=SEED,
    ),
    Mutant(
        "any-answer-gives-the-word-back",
        "only the answer to what was sent after it knew that it was superseded gives the word back",
        "ADR 25",
        rewritten(cast("Any", SiteIncarnation._heard_again), "seq <= self._refused_seq", "False"),
        tests=(f"{_AGENT}an_answer_to_what_was_sent_before_it_knew_gives_nothing_back",),
        why="answers overtake each other there within milliseconds, and a second agent comes rarely between them",
    ),
)
