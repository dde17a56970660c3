"""Late words of incarnations that ended (ADR 25): who names whom, and who is believed."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mutant import Mutant, rewritten

from agents.core import takeover
from agents.core.ended import EndedIncarnations
from proto.limits import SUPERSEDED_KEPT_MAX
from witness.core import speaker

SEED = "the simulation has it, as seed 192849, once in many thousand schedules"


def nobody_is_named(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EndedIncarnations, "named", lambda self, features: ())


def names_are_for_who_was_heard(patch: pytest.MonkeyPatch) -> None:
    """Who was never heard is not known, so it may still come."""
    right = speaker.heard

    def heard(scope, beat):
        found = right(scope, beat)
        record = scope.state.agents[beat.site]
        record.ended = [one for one in record.ended if one in record.superseded]
        return found

    patch.setattr(speaker, "heard", heard)


def names_push_others_out(patch: pytest.MonkeyPatch) -> None:
    """In the one list that is bounded."""
    right = speaker.heard

    def heard(scope, beat):
        found = right(scope, beat)
        record = scope.state.agents[beat.site]
        record.superseded.extend(one for one in record.ended if one not in record.superseded)
        del record.superseded[:-SUPERSEDED_KEPT_MAX]
        return found

    patch.setattr(speaker, "heard", heard)


def speaks_before_it_is_noted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EndedIncarnations, "may_speak", property(lambda self: True))


_UNIT = "unit/test_speaker.py::test_"
_AGENT = "unit/test_agent_ended.py::test_"
MUTANTS = (
    Mutant(
        "nobody-is-named",
        "an agent names the incarnations that ended before it",
        "ADR 25",
        nobody_is_named,
        tests=(f"{_AGENT}they_are_named_until_so_many_heartbeats_were_answered_and_counted",),
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
        "names-push-others-out",
        "who was heard and superseded stays so, however many are named",
        "ADR 25",
        names_push_others_out,
        tests=(f"{_UNIT}names_push_nobody_out_of_those_that_were_heard",),
        why="two agents of one site that both live, one of them after a loop of starts, are rare there",
    ),
    Mutant(
        "anybody-is-told-to-begin-anew",
        "a superseded incarnation begins anew by itself only when it names the one that counts",
        "ADR 25",
        rewritten(cast("Any", speaker._superseded), "record.incarnation in beat.ended and", "beat.ended and"),
        tests=(f"{_UNIT}only_who_names_the_one_that_counts_is_told_to_begin_anew",),
        why="two agents of one site that both live, each after a former one, are rare there",
    ),
    Mutant(
        "a-holder-is-named-away",
        "nobody takes the place of an incarnation that holds a lease by naming it",
        "ADR 25",
        rewritten(cast("Any", speaker._superseded), "not _holds(scope, beat.site, record.incarnation)", "True"),
        tests=(f"{_UNIT}who_holds_a_lease_was_no_late_word_so_nobody_takes_its_place_by_naming_it",),
        why="the simulated copies of a machine are copied while it speaks, and do not name it",
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
        "goes-on-as-an-earlier-one",
        "nobody goes on as an incarnation that another one followed",
        "ADR 25",
        rewritten(cast("Any", takeover.incarnation_problem), "kept.incarnation in begun[:-1]", "False"),
        tests=("unit/test_agent_takeover_core.py::test_nobody_goes_on_as_an_incarnation_that_another_one_followed",),
        why="a process that dies between its first word and its first proof, with a guard that could not be attached",
    ),
)
