"""The checker of the vendor's license server, fed with bad traces by hand, and the good one beside each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Court, G, S

from proto.units import Epoch
from witness.sim.checkers.license import LicenseChecker
from witness.sim.judges import Judges


@pytest.fixture
def court() -> Court:
    return Court()


def test_an_orderly_end_gives_the_license_back_at_once(court: Court):
    checker = LicenseChecker(court.findings, court.now)
    checker.lock_delay(G, Epoch(0), S)
    checker.opened(G, A, Epoch(1))
    checker.ended(G, A, clean=True)
    checker.opened(G, B, Epoch(2))
    assert (court.kinds(), checker.waited) == ([], 0)


@pytest.mark.parametrize(("after_ns", "found"), [(S - 1, ["license"]), (S, [])])
def test_an_unclean_end_keeps_the_session_for_the_lock_delay(court: Court, after_ns: int, found: list[str]):
    checker = LicenseChecker(court.findings, court.now)
    checker.lock_delay(G, Epoch(0), S)
    checker.opened(G, A, Epoch(1))
    checker.ended(G, A, clean=False)
    court.now_ns = after_ns
    checker.opened(G, B, Epoch(2))
    assert (court.kinds(), checker.waited) == (found, 1)


@pytest.mark.parametrize(
    ("first", "second", "moved", "after_ns", "found"),
    [
        (S, 0, False, S - 1, ["license"]),
        (0, S, False, 0, []),
        (S, 0, True, S - 1, ["license"]),
        (0, S, True, S - 1, ["license"]),
        (0, S, True, S, []),
    ],
    ids=["shortened", "lengthened", "went-on-shortened", "went-on-lengthened", "waited"],
)
def test_the_delay_of_a_session_is_that_of_its_own_lease_and_the_longest_of_those_it_went_on_under(
    court: Court, first: int, second: int, moved: bool, after_ns: int, found: list[str]
):
    checker = LicenseChecker(court.findings, court.now)
    for epoch, delay_ns in ((0, 0), (1, first), (2, second), (3, second)):
        checker.lock_delay(G, Epoch(epoch), delay_ns)
    checker.opened(G, A, Epoch(1))
    if moved:
        checker.moved(G, A, Epoch(2))
    checker.ended(G, A, clean=False)
    court.now_ns = after_ns
    checker.opened(G, B, Epoch(3))
    assert court.kinds() == found


@pytest.mark.parametrize(("renewed", "found"), [(False, []), (True, ["license"])])
def test_what_outlived_its_lease_by_frozen_clocks_leaves_no_session(court: Court, renewed: bool, found: list[str]):
    judges = Judges(court.findings, court.now, [])
    judges.license.lock_delay(G, Epoch(0), S)
    judges.begun(G, A, Epoch(1))
    judges.stands_still(G, A)
    court.now_ns = 3 * S
    judges.activity.thawed(G, A, S)
    judges.goes_on(G, A)
    if renewed:
        judges.activity.renewed(G, A)
    judges.down(G, A, clean=False)
    judges.license.opened(G, B, Epoch(2))
    assert [kind for kind in court.kinds() if kind == "license"] == found


@pytest.mark.parametrize(("members", "found"), [((), ["license"]), (("dc-a.db",), [])])
def test_a_member_that_begins_again_shares_the_session_that_its_site_took_to_the_next_epoch(
    court: Court, members, found
):
    checker = LicenseChecker(court.findings, court.now)
    checker.lock_delay(G, Epoch(0), S)
    checker.opened(G, A, Epoch(1))
    checker.opened(G, "dc-a.db", Epoch(1))
    checker.moved(G, A, Epoch(2), members)
    checker.ended(G, "dc-a.db", clean=False)
    checker.opened(G, "dc-a.db", Epoch(2))
    assert court.kinds() == found
    checker.opened(G, B, Epoch(3))
    assert court.kinds() == [*found, "license", "license"], "two hosts have it"


def test_hosts_of_one_site_share_its_session_while_they_run(court: Court):
    checker = LicenseChecker(court.findings, court.now, lambda host: host.partition(".")[0])
    checker.opened(G, "dc-a.web", Epoch(1))
    checker.opened(G, "dc-a.db", Epoch(2))
    assert court.kinds() == []
    checker.opened(G, B, Epoch(3))
    assert court.kinds() == ["license", "license"]


def test_two_activated_instances_are_seen_and_a_frozen_one_is_excused(court: Court):
    checker = LicenseChecker(court.findings, court.now)
    checker.opened(G, A, Epoch(1))
    checker.ended(G, A, clean=False)
    checker.went_on(G, A)
    checker.opened(G, B, Epoch(2))
    assert court.kinds() == ["license"]
    checker.opened(G, A, Epoch(3), excused=True)
    assert court.kinds() == ["license"]
