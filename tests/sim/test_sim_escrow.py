"""Escrow in whole systems: a key that changes at every start and now and then, while sites and networks fail."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sim_broken_rules

from proto.decisions import Reason
from proto.groups import WitnessLoss
from proto.license import EscrowVersion, LicenseSpec, SealedKey
from proto.messages import EscrowPut, EscrowPutAnswer
from proto.units import Claim, Epoch, GroupId, Incarnation, LicenseName, Nonce, SiteId
from witness.sim import run as sim_run
from witness.sim.checkers.escrow import EscrowChecker
from witness.sim.raft.checkers import Findings
from witness.sim.setup import Setup

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


# -- the checker itself ---------------------------------------------------------------------------------------


def put(number: int, key: int) -> EscrowPut:
    sealed = SealedKey(EscrowVersion(Epoch(2), number), "0a1b2c3d", b"n" * 12, b"%016d" % key + b"." * 16)
    return EscrowPut(SiteId("dc-a"), Incarnation(bytes(16)), G, Claim(bytes(16)), KEY, sealed, Nonce(b"%016d" % number))


def answer(one: EscrowPut, reason: Reason = Reason.OK) -> EscrowPutAnswer:
    return EscrowPutAnswer(one.nonce, G, KEY, reason, one.sealed.version, 0)


def test_the_checker_objects_to_a_key_that_is_older_than_an_acknowledged_one():
    findings = Findings(lambda: 0)
    checker = EscrowChecker(findings)
    assert [checker.exchanged(PLACE), checker.exchanged(PLACE)] == [1, 2]
    checker.begins(PLACE, "dc-b", 0)
    for one, reason in ((put(1, 5), Reason.OK), (put(2, 6), Reason.NOT_HOLDER), (put(3, 4), Reason.OK)):
        checker.sent(one)
        checker.answered(answer(one, reason))
    checker.begins(PLACE, "dc-b", 5)
    assert (findings.violations, checker.begun) == ([], 1)
    checker.begins(PLACE, "dc-b", 4)
    assert [one.kind for one in findings.violations] == ["escrow"]
    assert "dc-b begins with key 4 of fingerprint, but 2.1 with key 5 had been acknowledged" in str(
        findings.violations[0]
    )
