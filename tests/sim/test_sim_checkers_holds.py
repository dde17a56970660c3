"""What the judges of a simulation make of holds: whose promise is over, and what a copy cannot know."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Court, G, S

from proto.groups import GroupConfig
from proto.holds import NO_CHAIN
from proto.lease import LeaseConstants
from proto.site_messages import HoldAnswer, HoldEnd, HoldRequest, HoldVerdict
from proto.units import Claim, Epoch, Incarnation, Nonce, SiteId
from witness.sim.checkers.activity import ActivityChecker
from witness.sim.checkers.holds import HoldsChecker


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.mark.parametrize(("claim", "number", "found"), [(b"c", 1, []), (b"c", 0, ["promise"]), (b"d", 1, ["promise"])])
def test_a_promise_ends_with_its_holders_own_word_of_the_newest_round(court: Court, claim, number, found):
    holds = HoldsChecker(court.findings, court.now, [])
    me, constants = Incarnation(b"i" * 16), (1_000, 0, 0)
    request = HoldRequest(Nonce(b"n" * 16), G, SiteId(A), me, Epoch(1), Claim(b"c" * 16), *constants, 1, NO_CHAIN, 1)
    holds.asked(A, SiteId(B), request)
    holds.promised(B, A, HoldAnswer(request.nonce, G, Epoch(1), 1, HoldVerdict.HELD))
    holds.end_arrived(B, HoldEnd(Nonce(b"e" * 16), G, SiteId(A), me, Epoch(1), Claim(claim * 16), number))
    holds.begun(G, B)
    assert court.kinds() == found


@pytest.mark.parametrize(("after_ns", "found"), [(0, []), (2 * S, ["overlap"])])
def test_a_copy_of_who_lives_by_holds_knows_nothing_of_them_until_they_are_over(court: Court, after_ns, found):
    config = GroupConfig(group=G, sites=(SiteId(A), SiteId(B)), constants=LeaseConstants(1_000, 10_000, 0))
    holds = HoldsChecker(court.findings, court.now, [config])
    checker = ActivityChecker(court.findings, court.now, bound_by_a_copy=holds.bound_by_a_copy)
    checker.begun(G, A, Epoch(1))
    me, claim, constants = Incarnation(b"i" * 16), Claim(b"c" * 16), (1_000, 10_000, 0)
    request = HoldRequest(Nonce(b"n" * 16), G, SiteId(A), me, Epoch(1), claim, *constants, 1, NO_CHAIN, 1)
    holds.asked(A, SiteId(B), request)
    assert holds.held(A, SiteId(B), HoldAnswer(request.nonce, G, Epoch(1), 1, HoldVerdict.HELD)) is not None
    court.now_ns += after_ns
    checker.begun(G, f"{A}-twin-1", Epoch(2))
    assert court.kinds() == found
