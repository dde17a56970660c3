"""Escrow in whole systems: a key that changes at every start and now and then, while sites and networks fail."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import sim_broken_rules

from agents.core.license_rules import Doing, InPlace
from proto.decisions import Reason
from proto.events import Event, EventKind
from proto.groups import WitnessLoss
from proto.license import EscrowPolicy, EscrowVersion, LicenseSpec, SealedKey
from proto.messages import EscrowPut, EscrowPutAnswer
from proto.units import Claim, Epoch, GroupId, Incarnation, LicenseName, LogIndex, Nonce, SiteId, WallMs
from witness.core.machine import Machine
from witness.core.state import EscrowRecord
from witness.sim import run as sim_run
from witness.sim.campaign.total import Total
from witness.sim.checkers.escrow import EscrowChecker
from witness.sim.checkers.license_story import LicenseStoryChecker
from witness.sim.faults import FAULTS
from witness.sim.kit import KIT
from witness.sim.licenses.draw import with_licenses
from witness.sim.licenses.place import KEY_BYTES_MAX, TAG_BYTES, KeyPlace, key_of, number_of
from witness.sim.raft.checkers import Findings
from witness.sim.setup import Setup, draw

KEY, G = LicenseName("fingerprint"), GroupId("erp")
PLACE = (G, KEY)


def licensed(seed: int, kinds: tuple[str, ...], *, linked: bool) -> Setup:
    plain = sim_broken_rules.Broken("plain", lambda patch: None, kinds, frozenset(), 1)
    setup = sim_broken_rules.setup_for(plain, seed)
    loss = WitnessLoss.HOLD if linked else WitnessLoss.FENCE
    groups = tuple(replace(one, licenses=(LicenseSpec(KEY),), witness_loss=loss) for one in setup.groups)
    return replace(setup, groups=groups, site_link=linked)


@pytest.mark.parametrize(
    ("seed", "kinds", "linked"),
    [
        (0, ("site-power", "cut-site"), True),
        (3, ("site-power", "cut-site"), False),
        (7, ("lose-third", "agent-crash"), True),
    ],
    ids=["power", "power-alone", "third"],
)
def test_nobody_begins_with_a_dead_key_and_the_service_comes_back(seed, kinds, linked):
    result = sim_run.run_schedule(seed, setup=licensed(seed, kinds, linked=linked))
    assert result.violations == []
    for what in ("license-sealed", "license-kept", "license-restored"):
        assert result.faults_hit[what] > 0, what
    if seed == 0:  # this one has a handover
        assert result.faults_hit["license-looked-last"] > 0


# -- drawn schedules ------------------------------------------------------------------------------------------


def test_a_kind_of_fault_of_licenses_brings_them_along_and_no_other_seed_has_one():
    names = sorted(FAULTS)
    kinds = [one for one in names if one.startswith("license-")]
    assert len(kinds) == 6
    for seed in range(40):
        setup = sim_run.drawn(seed, ("license-put",) if seed % 2 else ("site-power",))
        assert all(bool(one.licenses) is bool(seed % 2) for one in setup.groups)
    policies = {
        one.escrow for seed in range(40) for group in with_licenses(drawn_put(seed)).groups for one in group.licenses
    }
    assert policies == {EscrowPolicy.REQUIRED, EscrowPolicy.OPTIONAL}


def drawn_put(seed: int) -> Setup:
    return replace(draw(seed, list(FAULTS)), kinds=("license-put",))


def test_probes_alone_move_nobody_that_began():
    total = Total()
    for seed in range(1, 5):
        total.add(KIT.chosen(("license-probe",))(seed))
    assert total.failed == 0
    assert min(total.faults_hit[f"license-probe-{what}"] for what in ("lies", "fences")) >= 1


# -- the checkers themselves ----------------------------------------------------------------------------------


SITE = SiteId("dc-a")


class Court:
    def __init__(self) -> None:
        self.findings = Findings(lambda: 0)
        self.escrow = EscrowChecker(self.findings)
        self.story = LicenseStoryChecker(self.findings)

    def sealed(self, number: int, key: int, epoch: int = 2, host: str = "dc-a", site: SiteId = SITE) -> EscrowPut:
        version = EscrowVersion(Epoch(epoch), number)
        sealed = SealedKey(version, "0a1b2c3d", b"n%011d" % number, key_of(key) + b"." * TAG_BYTES)
        self.escrow.sealed(PLACE, site, sealed, frozenset(), host)
        nonce = Nonce(b"%016d" % number)
        return EscrowPut(SITE, Incarnation(bytes(16)), G, Claim(bytes(16)), KEY, sealed, nonce)

    def put(self, one: EscrowPut, reason: Reason = Reason.OK) -> None:
        self.escrow.sent(one)
        self.escrow.answered(EscrowPutAnswer(one.nonce, G, KEY, reason, one.sealed.version, 0))

    def told(self, kind: EventKind, text: str, *, epoch: int = 2, site: SiteId = SITE) -> None:
        event = Event(1, LogIndex(1), kind, G, site, Epoch(epoch), "", text, WallMs(0), b"")
        self.escrow.event(event)
        self.story.event(event)

    def kinds(self) -> list[str]:
        return [one.kind for one in self.findings.violations]


def test_the_checker_objects_to_a_key_that_is_older_than_an_acknowledged_one():
    court = Court()
    assert [court.escrow.exchanged(PLACE), court.escrow.exchanged(PLACE)] == [1, 2]
    court.escrow.begins(PLACE, "dc-b", 0, Epoch(3))
    for one, reason in ((court.sealed(1, 5), Reason.OK), (court.sealed(2, 6), Reason.NOT_HOLDER)):
        court.put(one, reason)
    court.escrow.begins(PLACE, "dc-b", 5, Epoch(3))
    court.escrow.begins(PLACE, "dc-b", 4, Epoch(3), required=False)
    assert (court.kinds(), court.escrow.begun) == ([], 1)
    court.escrow.begins(PLACE, "dc-b", 4, Epoch(3))
    assert court.kinds() == ["escrow"]
    assert "dc-b begins with key 4 of fingerprint, but 2.1 with key 5 had been acknowledged" in str(
        court.findings.violations[0]
    )


def test_a_host_that_runs_by_clocks_that_had_been_frozen_cannot_know_of_a_newer_key():
    court = Court()
    court.put(court.sealed(1, 5))
    court.escrow.begins(PLACE, "dc-a", 4, Epoch(2), excused=True)
    assert (court.kinds(), court.escrow.excused) == ([], 1)
    court.escrow.begins(PLACE, "dc-a", 4, Epoch(2))
    assert court.kinds() == ["escrow"]


def test_what_a_copy_of_the_holders_machine_sealed_as_the_same_version_is_as_new():
    court = Court()
    court.sealed(1, 5)
    court.put(court.sealed(1, 6, host="dc-a-twin"))
    court.escrow.begins(PLACE, "dc-a", 5, Epoch(3))
    assert (court.kinds(), court.escrow.forked) == ([], 1)
    court.escrow.begins(PLACE, "dc-a", 4, Epoch(3))
    assert court.kinds() == ["escrow"]


def test_two_sites_that_seal_one_version_are_no_copies_of_each_other():
    court = Court()
    court.sealed(1, 5, host="dc-b", site=SiteId("dc-b"))
    court.put(court.sealed(1, 6))
    court.escrow.begins(PLACE, "dc-b", 5, Epoch(3))
    assert (court.kinds(), court.escrow.forked) == (["escrow"], 0)


def test_what_a_host_sealed_again_as_the_same_version_replaces_what_it_sealed_before():
    court = Court()
    court.sealed(1, 5)
    court.put(court.sealed(1, 6))
    court.escrow.begins(PLACE, "dc-a", 5, Epoch(3))
    assert (court.kinds(), court.escrow.forked) == (["escrow"], 0)


def machine(*numbers: int) -> Machine:
    """Which has applied the storing of these versions' last; of none, no more than the group."""
    kept = {KEY: EscrowRecord(Court().sealed(numbers[-1], 5).sealed, SITE, WallMs(0))} if numbers else {}
    group = SimpleNamespace(escrow=SimpleNamespace(kept=kept))
    return cast("Machine", SimpleNamespace(state=SimpleNamespace(groups={G: group})))


def test_at_the_end_it_asks_for_what_was_acknowledged_a_moment_before():
    """Seed 132313: an acknowledgement in the last millisecond, before two of three had applied what it was for."""
    court = Court()
    court.put(court.sealed(1, 5))
    court.escrow.due()
    court.put(court.sealed(2, 6))
    court.escrow.ends(machine(1))
    court.escrow.ends(machine(1, 2))
    assert court.kinds() == []
    court.escrow.ends(machine())
    assert court.kinds() == ["escrow"]
    court.escrow.due()
    court.escrow.ends(machine(1))
    assert court.kinds() == ["escrow", "escrow"]
    assert "2.2 had been acknowledged, 2.1 is stored" in str(court.findings.violations[1])


def test_under_a_permit_it_objects_to_a_key_that_is_older_than_one_that_the_host_was_handed():
    court = Court()
    for one in (court.sealed(1, 5), court.sealed(2, 6)):
        court.put(one)
    court.escrow.begins_alone(PLACE, "dc-b", 0)
    court.escrow.handed(PLACE, "dc-b", court.sealed(1, 5).sealed)
    court.escrow.begins_alone(PLACE, "dc-b", 5)
    court.escrow.begins_alone(PLACE, "dc-c", 4)
    court.escrow.begins_alone(PLACE, "dc-b", 4, required=False)
    assert court.kinds() == []
    court.escrow.begins_alone(PLACE, "dc-b", 4)
    assert court.kinds() == ["escrow"]
    assert "dc-b begins under a permit with key 4 of fingerprint, but was handed 5" in str(court.findings.violations[0])


@pytest.mark.parametrize(
    ("claimed", "given_up", "found"), [(3, "2.1", []), (4, "2.1", ["escrow"]), (3, "1.1", ["escrow"])]
)
def test_what_an_operator_gave_up_lets_one_claim_begin_with_an_older_key(claimed: int, given_up: str, found: list[str]):
    court = Court()
    court.put(court.sealed(1, 5))
    court.told(EventKind.ESCROW_WAIVED, f"fingerprint: {given_up} is given up for dc-b (a reason)")
    court.told(EventKind.CLAIMED, "authority begins", epoch=claimed)
    court.escrow.begins(PLACE, "dc-b", 4, Epoch(3))
    assert court.kinds() == found


def test_a_put_ends_what_was_given_up():
    court = Court()
    court.put(court.sealed(1, 5))
    court.told(EventKind.ESCROW_WAIVED, "fingerprint: 2.1 is given up for dc-b (a reason)")
    court.told(EventKind.ESCROW_STORED, "fingerprint: version 2.1, sealed with key 0a1b2c3d")
    court.told(EventKind.CLAIMED, "authority begins", epoch=3)
    court.escrow.begins(PLACE, "dc-b", 4, Epoch(3))
    assert court.kinds() == ["escrow"]


@pytest.mark.parametrize(
    ("text", "epoch", "site"),
    [("2.1", 3, "dc-a"), ("2.1", 2, "dc-b"), ("2.7", 2, "dc-a")],
    ids=["epoch", "site", "never-sealed"],
)
def test_what_the_ledger_says_was_stored_was_sealed_there_and_then(text: str, epoch: int, site: str):
    court = Court()
    court.put(court.sealed(1, 5))
    court.told(EventKind.ESCROW_STORED, "fingerprint: version 2.1, sealed with key 0a1b2c3d")
    assert court.kinds() == []
    court.told(
        EventKind.ESCROW_STORED, f"fingerprint: version {text}, sealed with key x", epoch=epoch, site=SiteId(site)
    )
    assert court.kinds() == ["escrow"]


def test_what_is_told_of_probes_was_said_by_one_and_what_a_site_holds_is_on_its_disk():
    court = Court()
    for _ in range(2):
        court.told(EventKind.BOTH_ACTIVE, "fingerprint: its probe sees it activated, while dc-b is granted")
        court.told(EventKind.LICENSE_CURRENT, "fingerprint: it holds 2.4")
        court.story.probed(G, SITE, KEY, activated=True)
        court.story.kept(G, SITE, KEY, EscrowVersion(Epoch(2), 4))
    assert court.kinds() == ["license-story"] * 2


def test_where_nothing_but_probes_is_wrong_nobody_who_began_is_moved():
    court = Court()
    court.story.alone = True
    court.told(EventKind.EXPIRED, "renewal 0 ran out")
    court.story.begun(G, Epoch(2))
    court.told(EventKind.REVOKED, "failback to dc-b: the preferred site is fit again")
    court.told(EventKind.RELEASED, "verified down")
    assert court.kinds() == []
    court.told(EventKind.RELEASED, "verified down")
    court.told(EventKind.REVOKED, "handover to dc-b: unfit")
    assert court.kinds() == ["license-story"] * 2


# -- a key's place --------------------------------------------------------------------------------------------


def test_a_place_knows_newest_former_and_unknown_keys():
    at = KeyPlace()
    assert (at.compare(), at.judge(Doing.REFUSE, required=True).doing) == (InPlace.UNKNOWN, Doing.KEEP)
    court = Court()
    at.saw()
    at.key, newest = key_of(7), court.sealed(1, 7).sealed
    at.keep(newest, at.before())
    at.key = key_of(0)
    assert (at.compare(), at.trouble()) == (InPlace.OLDER, "old-key")
    assert at.judge(Doing.REFUSE, required=True).doing is Doing.RESTORE
    at.key = key_of(7)
    at.saw()
    assert (at.compare(), at.seen) == (InPlace.NEWEST, newest.version)
    at.key = key_of(8)
    assert at.judge(Doing.REFUSE, required=True).doing is Doing.KEEP
    at.key = None
    at.saw()
    assert (at.trouble(), at.seen) == ("no-key", None)
    at.key = key_of(9)
    assert at.judge(Doing.REFUSE, required=True).doing is Doing.REFUSE
    at.key = key_of(9, KEY_BYTES_MAX + 1)
    assert (at.compare(), at.trouble(), number_of(at.key)) == (InPlace.ABSENT, "source-bad-value", 9)
    at.keep(court.sealed(1, 6, epoch=1).sealed, frozenset())
    assert at.sealed == newest
