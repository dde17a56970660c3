"""Holds and the re-grant in place: who promises, what a promise forbids, who may go on under a new epoch."""

from __future__ import annotations

from typing import Any, cast

import pytest
from mutant import Mutant, SimFocus, rewritten

from agents.core import promise
from agents.core.effects import AnswerSite
from agents.core.group import GroupAgent
from agents.core.holds_given import HoldsGiven
from agents.core.holds_taken import HoldsTaken
from proto.groups import WitnessLoss
from witness.core import heartbeats, holds_rules

HELD = (("witness_loss", WitnessLoss.HOLD),)
LINKED = (("site_link", True),)
CORE, MACHINE, TOGETHER = "unit/test_holds_core.py", "unit/test_holds_machine.py", "unit/test_holds_together.py"
LATE = "the simulated disks lose nothing that was written while a machine keeps its power"
RARE = "a schedule in which this alone decides is rare; whole cores on unequal clocks show it at once"


def answered_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    right = HoldsGiven._store

    def store(self, site, answer):
        self._emit(AnswerSite(site, answer))
        right(self, site, answer)

    patch.setattr(HoldsGiven, "_store", store)


def a_promise_forbids_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HoldsGiven, "outstanding", lambda self, now: False)


def a_cold_start_waits_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HoldsGiven, "_cold_over", lambda self, now: True)


def an_active_site_promises(patch: pytest.MonkeyPatch) -> None:
    right = HoldsGiven.asked

    def asked(self, site, request, received, standing):
        from dataclasses import replace

        right(self, site, request, received, replace(standing, down=True, claiming=False))

    patch.setattr(HoldsGiven, "asked", asked)


def any_set_of_sites_is_the_whole(patch: pytest.MonkeyPatch) -> None:
    right = HoldsTaken.authority

    def authority(self, constants):
        others, self._others = self._others, tuple(one for one in self._others if one in self._held_from)
        try:
            return right(self, constants)
        finally:
            self._others = others

    patch.setattr(HoldsTaken, "authority", authority)


def the_arrival_counts(patch: pytest.MonkeyPatch) -> None:
    """Authority by holds counts from the answer instead of the request."""
    right = GroupAgent.site_answered

    def site_answered(self, site, message, now):
        asks = self.taken._asks
        if message.nonce in asks and hasattr(asks[message.nonce], "sent"):
            from dataclasses import replace

            asks[message.nonce] = replace(asks[message.nonce], sent=now)
        return right(self, site, message, now)

    patch.setattr(GroupAgent, "site_answered", site_answered)


def _rewritten(function: Any, old: str, new: str) -> Any:
    return rewritten(cast("Any", function), old, new)


MUTANTS = (
    Mutant(
        "hold-answered-before-stored",
        "a promise is on disk before its answer leaves",
        "ADR 16: hold",
        answered_before_it_is_stored,
        tests=(f"{CORE}::test_a_promise_is_on_disk_before_its_answer_leaves",),
        why=LATE,
    ),
    Mutant(
        "promise-forbids-nothing",
        "while a promise is outstanding its giver claims nothing and is not granted",
        "ADR 16: who promises",
        a_promise_forbids_nothing,
        SimFocus(("hold-then-grant",), frozenset({"overlap", "promise"}), 60, setup=LINKED, group=HELD),
    ),
    Mutant(
        "cold-start-waits-for-nothing",
        "after a cold start nothing is claimed for the longest lease that may be lived on",
        "ADR 16: cold starts",
        a_cold_start_waits_for_nothing,
        tests=(
            f"{CORE}::test_after_a_cold_start_nothing_is_claimed_for_the_longest_lease_whatever_is_stored",
            f"{TOGETHER}::test_a_promiser_that_starts_cold_with_an_empty_disk_waits_as_long_as_it_may_have_promised",
        ),
        why=RARE,
    ),
    Mutant(
        "one-hold-is-enough",
        "every other site must hold",
        "ADR 16: who asks",
        any_set_of_sites_is_the_whole,
        tests=(f"{TOGETHER}::test_with_three_sites_one_that_is_silent_means_fence",),
        why=RARE,
    ),
    Mutant(
        "hold-counted-from-the-answer",
        "authority by holds counts from before the request was sent",
        "ADR 16: hold",
        the_arrival_counts,
        tests=(f"{TOGETHER}::test_an_answer_that_is_late_gives_no_more_than_its_request",),
        why=RARE,
    ),
    Mutant(
        "an-active-site-promises",
        "a promise is given only while verified down and claiming nothing",
        "ADR 16: who promises",
        an_active_site_promises,
        tests=(f"{CORE}::test_who_may_not_promise_says_why_and_promises_nothing",),
        why="two sites that are active at once are what every other rule prevents",
    ),
    Mutant(
        "promise-without-drift",
        "a promise lasts D, stretched for both clocks",
        "ADR 16: hold",
        _rewritten(promise.promised, "wait_ns = promise_wait(constants)", "wait_ns = constants.ttl_ns"),
        tests=(f"{CORE}::test_a_promise_lasts_for_d_from_its_receipt_by_both_clocks_and_the_longest_counts",),
        why=RARE,
    ),
    Mutant(
        "twin-takes-holds",
        "the newest round cannot be stale",
        "ADR 16: who asks",
        _rewritten(HoldsTaken.answered, "return ask.number == self.number", "return False"),
        tests=(f"{CORE}::test_the_newest_round_cannot_be_stale",),
        why="no simulated machine is cloned with its memory yet",
    ),
    Mutant(
        "regrant-to-any-claim",
        "what is granted in place is claimed with the former claim",
        "ADR 16: witnesses",
        _rewritten(
            heartbeats._claim_or_renew,
            "if in_place is not None and in_place.claim != entry.claim:",
            "if in_place is not None and in_place.claim == b'nobody':",
        ),
        tests=(f"{MACHINE}::test_a_copy_without_the_former_claim_neither_hears_of_the_grant_nor_claims_it",),
        why="no simulated machine is cloned with its memory yet",
    ),
    Mutant(
        "promiser-is-granted",
        "a site that promises is not granted",
        "ADR 16: witnesses",
        _rewritten(holds_rules.grant_problem, "if report.promising:", "if report is None:"),
        tests=(f"{MACHINE}::test_a_site_that_promises_or_knows_another_configuration_is_not_granted",),
        why="the promiser itself waits, too",
    ),
    Mutant(
        "broken-chain-goes-on",
        "what another site promised contradicts the holder's chain, and it is refused",
        "ADR 16: witnesses",
        _rewritten(holds_rules.contradictions, "if promised.epoch > holding.epoch or forked:", "if promised is None:"),
        tests=(f"{MACHINE}::test_a_chain_that_is_contradicted_is_refused_alarmed_and_its_holder_told",),
        why="the chain is evidence; nobody can be active under a later epoch",
    ),
    Mutant(
        "claim-settles-the-wait",
        "only a renewal that says that it lives by the epoch makes older leases forgotten",
        "ADR 16: cold starts",
        _rewritten(holds_rules.settle, "report.state in LIVING", "report is not None"),
        tests=(f"{MACHINE}::test_what_a_cold_site_waits_for_is_the_longest_lease_that_may_be_lived_on",),
        why="no simulated configuration shortens a lease while its holder goes on by holds",
    ),
)
