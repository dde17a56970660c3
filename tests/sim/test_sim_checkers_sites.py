"""The checkers of what runs at the sites, fed with bad traces by hand, and the good one beside each."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Court, G, S

from proto.decisions import Reason
from proto.holds import NO_CHAIN
from proto.messages import GroupAnswer, RevokePhase, Verdict
from proto.site_messages import HoldAnswer, HoldRequest, HoldVerdict
from proto.units import Claim, Epoch, GroupId, Incarnation, Nonce, RenewalNo, SiteId
from witness.sim.checkers.activity import ActivityChecker
from witness.sim.checkers.authority import AuthorityChecker
from witness.sim.checkers.effects import EffectChecker
from witness.sim.checkers.held import HeldChecker
from witness.sim.checkers.holds import HoldsChecker
from witness.sim.clock import Events
from witness.sim.resource import Resource

TWIN = f"{B}-twin-2"

NONCE = Nonce(b"n" * 16)


@pytest.fixture
def court() -> Court:
    return Court()


# -- activity -------------------------------------------------------------------------------------------------


def test_two_active_sites_are_an_overlap_and_one_after_the_other_is_not(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.dead(G, A)
    checker.begun(G, B, Epoch(2))
    assert court.kinds() == []
    checker.begun(G, A, Epoch(3))
    assert court.kinds() == ["overlap"]
    assert "dc-a runs erp while dc-b runs it too" in court.words()


@pytest.mark.parametrize("second", [1, 2])
def test_an_epoch_is_begun_once_and_never_a_lower_one(court: Court, second: int):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(2))
    checker.dead(G, A)
    checker.begun(G, A, Epoch(second))
    assert court.kinds() == ["epoch"]


def test_what_stands_still_is_not_active_and_overlaps_when_it_goes_on(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.stands_still(G, A)
    checker.begun(G, B, Epoch(2))
    assert court.kinds() == []
    checker.running(G, A)
    assert court.kinds() == ["overlap"]


def test_a_thawed_site_is_excused_within_its_bound_and_no_longer(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.stands_still(G, A)
    checker.begun(G, B, Epoch(2))
    checker.thawed(G, A, 2 * S)
    checker.running(G, A)
    assert checker.thawing(G)
    court.now_ns = 2 * S
    checker.dead(G, A)
    assert (court.kinds(), checker.windows, checker.window_ns_max) == ([], 1, 2 * S)
    assert not checker.thawing(G)
    checker.thawed(G, A, 2 * S)
    checker.running(G, A)
    court.now_ns = 4 * S + 2_000
    checker.dead(G, A)
    assert court.kinds() == ["stale"]


def test_a_window_lasts_until_one_of_the_two_stands_still_or_ends(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.thawed(G, A, 2 * S)
    court.now_ns = S
    checker.begun(G, B, Epoch(2))
    court.now_ns = 3 * S // 2
    checker.stands_still(G, B)
    court.now_ns = 2 * S
    checker.dead(G, A)
    assert (court.kinds(), checker.windows, checker.window_ns_max) == ([], 1, S // 2)


@pytest.mark.parametrize(("after_ns", "found"), [(2 * S, []), (2 * S + 2_000, ["epoch"])])
def test_a_thawed_site_may_begin_an_older_epoch_within_its_bound_but_none_twice(
    court: Court, after_ns: int, found: list[str]
):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, B, Epoch(2))
    checker.dead(G, B)
    checker.thawed(G, A, 2 * S)
    court.now_ns = after_ns
    checker.begun(G, A, Epoch(1))
    assert court.kinds() == found
    checker.dead(G, A)
    court.findings.violations.clear()
    checker.thawed(G, A, 2 * S)
    checker.begun(G, A, Epoch(1))
    assert court.kinds() == ["epoch"]


def test_what_begins_long_after_a_thaw_is_an_overlap(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.thawed(G, A, 2 * S)
    court.now_ns = 3 * S
    checker.begun(G, A, Epoch(1))
    checker.begun(G, B, Epoch(2))
    assert court.kinds() == ["overlap"]


def test_a_renewal_ends_the_excuse(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.thawed(G, A, 2 * S)
    checker.renewed(G, A)
    checker.begun(G, B, Epoch(2))
    assert court.kinds() == ["overlap"]


@pytest.mark.parametrize(
    ("copy", "after_ns", "found"), [(TWIN, 0, []), (TWIN, 2 * S, ["overlap"]), (B, 0, ["overlap"])]
)
def test_a_promise_of_another_copy_explains_a_beginning_and_no_other_promise_does(
    court: Court, copy: str, after_ns: int, found: list[str]
):
    """B promises A; its copy begins beside A. What B itself begins is its own breach, and a promise has an end."""
    holds = HoldsChecker(court.findings, court.now, [])
    checker = ActivityChecker(court.findings, court.now, bound_by_a_copy=holds.bound_by_a_copy)
    checker.begun(G, A, Epoch(1))
    me, claim, constants = Incarnation(b"i" * 16), Claim(b"c" * 16), (1_000, 0, 0)
    request = HoldRequest(Nonce(b"n" * 16), G, SiteId(A), me, Epoch(1), claim, *constants, 1, NO_CHAIN, 1)
    holds.asked(A, SiteId(B), request)
    holds.promised(B, A, HoldAnswer(request.nonce, G, Epoch(1), 1, HoldVerdict.HELD))
    court.now_ns += after_ns
    checker.begun(G, copy, Epoch(2))
    assert court.kinds() == found


# -- authority ------------------------------------------------------------------------------------------------


def renewed(epoch: int = 1, verdict: Verdict = Verdict.RENEWED) -> GroupAnswer:
    """A ttl of a second and a drift of one per cent: authority for at most 1.0101 s of true time."""
    return GroupAnswer(G, verdict, Epoch(epoch), RenewalNo(1), 1_000, 10_000, 0, RevokePhase.NONE, 1, Reason.OK)


def running(court: Court) -> AuthorityChecker:
    checker = AuthorityChecker(court.findings, court.now)
    checker.sent(A, NONCE)
    court.now_ns = S // 2
    checker.answered(A, NONCE, [renewed()])
    checker.begun(G, A, Epoch(1))
    return checker


def test_authority_ends_with_the_lease_counted_from_before_the_attempt(court: Court):
    checker = running(court)
    court.now_ns = 1_010_000_000
    checker.dead(G, A)
    assert court.kinds() == []


@pytest.mark.parametrize("look", ["dead", "look"])
def test_what_outlives_its_authority_is_seen(court: Court, look: str):
    checker = running(court)
    court.now_ns = 1_010_200_000
    if look == "dead":
        checker.dead(G, A)
    else:
        checker.look()
    assert court.kinds() == ["authority"]
    assert "0.000099 s after its authority ended" in court.words()


@pytest.mark.parametrize(
    ("answer", "host"), [(renewed(verdict=Verdict.GRANTED), A), (renewed(epoch=2), A), (renewed(), B)]
)
def test_without_a_positive_answer_for_that_epoch_nothing_may_begin(court: Court, answer: GroupAnswer, host: str):
    checker = AuthorityChecker(court.findings, court.now)
    checker.sent(A, NONCE)
    checker.answered(host, NONCE, [answer])
    checker.begun(G, A, Epoch(1))
    assert court.kinds() == ["authority"]


def test_a_machine_that_stands_still_ends_nothing_late_and_goes_on_late(court: Court):
    checker = running(court)
    checker.stands_still(G, A)
    court.now_ns = 5 * S
    checker.dead(G, A)
    assert court.kinds() == []
    checker = running(court)
    checker.sent(B, NONCE)
    checker.stands_still(G, A)
    court.now_ns = 20 * S
    checker.goes_on(G, A)
    assert court.kinds() == ["authority"]


def test_frozen_clocks_prolong_what_they_cannot_count(court: Court):
    checker = running(court)
    checker.frozen(A, S)
    court.now_ns = 2 * S
    checker.dead(G, A)
    assert court.kinds() == []
    assert checker.longest_ns(G, A) == 1_010_101_010
    assert checker.longest_ns(G, B) == 0


def test_an_answer_that_waited_for_a_frozen_machine_counts_from_its_own_sending(court: Court):
    checker = AuthorityChecker(court.findings, court.now)
    checker.sent(A, NONCE)
    court.now_ns = 5 * S
    checker.frozen(A, 5 * S)
    assert checker.answered(A, NONCE, [renewed()], since_ns=5 * S) == []
    checker.begun(G, A, Epoch(1))
    court.now_ns = 6 * S
    checker.dead(G, A)
    assert court.kinds() == []


# -- effects --------------------------------------------------------------------------------------------------


def test_no_effect_of_an_older_epoch_is_accepted_after_a_newer_one(court: Court):
    checker = EffectChecker(court.findings)
    for host, epoch in ((A, 1), (B, 2), (B, 2), (A, 3)):
        checker.accepted(G, host, Epoch(epoch))
    assert (court.kinds(), checker.effects) == ([], 4)
    checker.accepted(G, B, Epoch(2))
    assert court.kinds() == ["effect"]
    assert "dc-b works on erp under epoch 2, dc-a did under 3 before" in court.words()


def test_a_resource_refuses_older_epochs_of_each_group(court: Court):
    events, hits, checker = Events(), Counter(), EffectChecker(court.findings)
    resource = Resource(events, random.Random(1), lambda kind: hits.update([kind]), print, checker)
    for group, host, epoch in ((G, A, 1), (G, B, 2), (G, A, 1), (GroupId("mail"), A, 1)):
        resource.effect(group, host, Epoch(epoch))
        events.run_until(events.now_ns + S)
    assert (checker.effects, hits) == (3, {"resource-refused": 1})


# -- what is no process ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone_s", "slept_s", "kinds"), [(5, 0, []), (6, 0, ["resource"]), (6, 1, [])])
def test_a_resource_is_gone_when_the_authority_ends_but_for_a_suspend(court: Court, gone_s, slept_s, kinds):
    checker = HeldChecker(court.findings, court.now, lambda group, host: 5 * S)
    checker.there(G, A, "ports")
    checker.slept(G, A, slept_s * S)
    court.now_ns = gone_s * S
    checker.look(G, A)
    assert court.kinds() == kinds
    court.now_ns = 9 * S
    checker.look(G, A)
    assert court.kinds() == kinds, "it is gone once"


@pytest.mark.parametrize(("resets_s", "kinds"), [(5, []), (6, ["watchdog"])])
def test_a_watchdog_resets_before_the_authority_ends(court: Court, resets_s, kinds):
    HeldChecker(court.findings, court.now, lambda group, host: 5 * S).fed(G, A, resets_s * S)
    assert court.kinds() == kinds


def test_nothing_begins_unwatched_and_no_site_says_down_over_a_component(court: Court):
    checker = HeldChecker(court.findings, court.now, lambda group, host: 5 * S)
    checker.begun(G, A, unwatched=False)
    checker.said_down(G, A, active=False)
    assert court.kinds() == []
    checker.begun(G, A, unwatched=True)
    checker.said_down(G, A, active=True)
    checker.unheeded(G, A)
    assert court.kinds() == ["watchdog", "component", "component"]


def test_a_site_that_says_down_has_no_resource_and_its_guard_alone_may_not_know(court: Court):
    checker = HeldChecker(court.findings, court.now, lambda group, host: 5 * S)
    checker.there(G, A, "ports")
    checker.proven(G, A, active=False)
    checker.said_down(G, B, active=False)
    assert court.kinds() == []
    checker.said_down(G, A, active=False)
    assert court.kinds() == ["resource"]
