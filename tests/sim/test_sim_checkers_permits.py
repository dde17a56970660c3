"""The checker of break-glass permits, fed with bad traces by hand, and the good one beside each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from checker_rig import A, B, Chronicle, Court, G, S

from proto.clock import ClockReading
from proto.events import EventKind
from proto.groups import GroupConfig
from proto.lease import LeaseConstants
from proto.permit import AFTER_MS_MIN, Permit
from proto.units import NS_PER_MS, ClusterId, Epoch, InstantNs, SiteId, WallMs
from witness.sim.checkers.permits import PermitsChecker
from witness.sim.judges import Judges

CONSTANTS = LeaseConstants(3_000, 10_000, 0)
GROUP = replace(
    GroupConfig(G, (SiteId(A), SiteId(B)), CONSTANTS), break_glass_key="ab" * 32, break_glass_after_ms=AFTER_MS_MIN
)
PERMIT = Permit(ClusterId("c" * 32), G, SiteId(A), b"p" * 16, Epoch(100), WallMs(1_000), WallMs(90_000))
ADOPTED = "adopted: it is active under a break-glass permit"


class Trial:
    """The court, and what runs."""

    def __init__(self) -> None:
        self.court = Court()
        self.active: list[str] = []
        self.checker = PermitsChecker(self.court.findings, self.court.now, [GROUP], lambda group: self.active)
        self.ledger = Chronicle()

    def answered(self, at_s: int = 0) -> Trial:
        self.court.now_ns = at_s * S
        self.checker.answered(G, A)
        return self

    def taken(self, at_s: int = 12, host: str = A, permit: Permit = PERMIT) -> Trial:
        self.court.now_ns = at_s * S
        wall_ns = self.court.now_ns
        self.checker.taken(G, host, permit, ClockReading(InstantNs(0), 0, wall_ns))
        return self

    def grant(self, site: str, epoch: int, text: str = ADOPTED) -> Trial:
        self.checker.told(self.ledger.add(EventKind.GRANTED, site, epoch, text))
        return self


def test_a_permit_that_is_taken_by_the_book_and_adopted_is_nothing_to_object_to():
    trial = Trial().answered().taken()
    assert trial.checker.counts(G, A, Epoch(100))
    trial.grant(A, 101)
    trial.checker.over(G, A)
    assert not trial.checker.counts(G, A, Epoch(100))
    assert trial.checker.went_on(G, Epoch(100)) == "permit-adopted"
    assert trial.checker.went_on(G, Epoch(3)) == "regranted-in-place"
    trial.grant(B, 102, "takeover: the holder's lease expired")
    assert trial.court.kinds() == []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"at_s": 9}, "after a witness answered"),
        ({"host": B}, "which is for erp at dc-a"),
        ({"at_s": 91}, "after its time"),
    ],
)
def test_one_that_nobody_may_take_is_found(how: dict[str, int | str], says: str):
    trial = Trial().answered().taken(**how)  # type: ignore[arg-type]  # one of them
    assert trial.court.kinds() == ["permit"]
    assert says in trial.court.words()


def test_one_that_is_taken_twice_is_found_and_so_is_one_beside_something_that_runs():
    trial = Trial().answered().taken().taken(at_s=40)
    assert "which dc-a took before" in trial.court.words()
    other = Trial().answered()
    other.active = [B]
    assert "while it runs at dc-b" in other.taken().court.words()


@pytest.mark.parametrize(
    ("site", "epoch", "text"),
    [
        (B, 101, "takeover: the holder's lease expired"),
        (A, 99, ADOPTED),
        (A, 101, "takeover: the holder's lease expired"),
    ],
)
def test_a_grant_beside_a_permit_is_an_adoption_above_it_or_found(site: str, epoch: int, text: str):
    assert Trial().answered().taken().grant(site, epoch, text).court.kinds() == ["permit"]


def test_what_an_operator_vouches_for_has_ended_or_is_found():
    trial = Trial().answered().taken()
    trial.checker.told(trial.ledger.add(EventKind.RECONCILED, None, 0, "an operator vouches"))
    trial.grant(B, 101, "takeover: the holder's lease expired")
    assert trial.court.kinds() == []
    wrong = Trial().answered().taken()
    wrong.active = [A]
    wrong.checker.told(wrong.ledger.add(EventKind.RECONCILED, None, 0, "an operator vouches"))
    assert "the simulated operator vouches for dc-a" in wrong.court.words()


def test_authority_under_a_permit_lasts_a_lease_from_its_last_extension_and_none_when_it_is_over():
    court = Court()
    judges = Judges(court.findings, court.now, [GROUP])
    court.now_ns = 20 * S
    judges.permits.taken(G, A, PERMIT, ClockReading(InstantNs(0), 0, 20 * S))
    judges.permitted(G, A, Epoch(100), CONSTANTS)
    judges.begun(G, A, Epoch(100))
    court.now_ns += 3 * S
    judges.look(())
    assert court.kinds() == []
    court.now_ns += 40 * NS_PER_MS
    judges.permits.over(G, A)
    judges.permitted(G, A, Epoch(100), CONSTANTS)
    judges.look(())
    assert court.kinds() == ["authority"]
