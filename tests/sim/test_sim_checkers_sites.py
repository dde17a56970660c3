"""The checkers of what runs at the sites, fed with bad traces by hand, and the good one beside each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Court, G, S

from proto.decisions import Reason
from proto.messages import GroupAnswer, RevokePhase, Verdict
from proto.units import Epoch, Nonce, RenewalNo
from witness.sim.checkers.activity import ActivityChecker
from witness.sim.checkers.authority import AuthorityChecker
from witness.sim.checkers.license import LicenseChecker

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
    court.now_ns = 2 * S
    checker.dead(G, A)
    assert (court.kinds(), checker.excused, checker.longest_excuse_ns) == ([], 1, 2 * S)
    checker.thawed(G, A, 2 * S)
    checker.running(G, A)
    court.now_ns = 4 * S + 1
    checker.dead(G, A)
    assert court.kinds() == ["stale"]


def test_a_renewal_ends_the_excuse(court: Court):
    checker = ActivityChecker(court.findings, court.now)
    checker.begun(G, A, Epoch(1))
    checker.thawed(G, A, 2 * S)
    checker.renewed(G, A)
    checker.begun(G, B, Epoch(2))
    assert court.kinds() == ["overlap"]


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


# -- license --------------------------------------------------------------------------------------------------


def test_an_orderly_end_gives_the_license_back_at_once(court: Court):
    checker = LicenseChecker(court.findings, court.now)
    checker.lock_delay(G, S)
    checker.opened(G, A)
    checker.ended(G, A, clean=True)
    checker.opened(G, B)
    assert (court.kinds(), checker.waited) == ([], 0)


@pytest.mark.parametrize(("after_ns", "found"), [(S - 1, ["license"]), (S, [])])
def test_an_unclean_end_keeps_the_session_for_the_lock_delay(court: Court, after_ns: int, found: list[str]):
    checker = LicenseChecker(court.findings, court.now)
    checker.lock_delay(G, S)
    checker.opened(G, A)
    checker.ended(G, A, clean=False)
    court.now_ns = after_ns
    checker.opened(G, B)
    assert (court.kinds(), checker.waited) == (found, 1)


def test_two_activated_instances_are_seen_and_a_frozen_one_is_excused(court: Court):
    checker = LicenseChecker(court.findings, court.now)
    checker.opened(G, A)
    checker.ended(G, A, clean=False)
    checker.went_on(G, A)
    checker.opened(G, B)
    assert court.kinds() == ["license"]
    checker.opened(G, A, excused=True)
    assert court.kinds() == ["license"]
