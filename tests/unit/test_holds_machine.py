"""Holds as the replicated machine keeps them: the former holder, the grant in place, who is not granted."""

from __future__ import annotations

import pytest
from core_rig import AUTHOR, A, B, C, G, Rig, config, report, token

from proto.commands import Cause, ConfigureGroup, DeleteGroup, RaiseFeatureLevel, SetMaintenance, SetMode
from proto.decisions import Reason
from proto.groups import Mode, WitnessLoss
from proto.health import SiteState
from proto.holds import HoldMark
from proto.lease import LeaseConstants
from proto.messages import Verdict
from proto.units import Chain, Epoch
from witness.core.effects import Outcome
from witness.core.transitions import Phase
from witness.http.error_map import outcome_body

CHAIN = Chain(b"k" * 16)
ROUND = 9


def rig(*, sites=(A, B), level: int = 2, loss: WitnessLoss = WitnessLoss.HOLD) -> Rig:
    made = Rig(config(sites=sites))
    if level > 1:
        assert made.one(RaiseFeatureLevel(2)).ok
        if loss is WitnessLoss.HOLD:
            assert made.one(ConfigureGroup(config(sites=sites, witness_loss=loss), 1, AUTHOR)).ok
    return made


def said(**changes):
    return report(**{"group_version": 2, **changes})


def living(epoch: int, *, number: int = ROUND, state: SiteState = SiteState.ACTIVE, **changes):
    return said(state=state, epoch_bound=Epoch(epoch), holding=HoldMark(Epoch(epoch), number, CHAIN), **changes)


def held(made: Rig) -> int:
    """A is active in an epoch, and says so in a renewal."""
    for one in made.group.config.sites:
        made.beat(one, said=said())
    assert made.one(made.grant_command(A)).ok
    epoch = made.group.epoch
    for state in (SiteState.STANDBY, SiteState.ACTIVE):
        made.beat(A, epoch=epoch, claim=token("claim"), said=said(epoch_bound=Epoch(epoch), state=state))
    return epoch


def regrant(made: Rig):
    return made.grant_command(A, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN)


def test_the_former_holder_is_told_to_go_on_and_is_granted_in_place() -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    answer = made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    assert (answer.verdict, answer.reason) == (Verdict.HOLDING, Reason.OK)
    assert "holds-began" in made.kinds()
    assert made.one(regrant(made)).ok
    assert made.kinds() == ["regranted", "quarantine-cleared"]
    assert [notice[2].value for notice in made.changes.notices] == ["changed"]
    told = made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    assert (told.verdict, told.epoch) == (Verdict.GRANTED, epoch + 1)
    claimed = made.beat(A, epoch=epoch + 1, claim=token("claim"), said=living(epoch))
    assert claimed.verdict is Verdict.RENEWED
    assert (
        made.beat(A, epoch=epoch + 1, claim=token("claim"), said=said(state=SiteState.ACTIVE)).verdict
        is claimed.verdict
    )
    assert made.group.former is None
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).reason is Reason.NOT_HOLDER


def test_a_holder_that_never_heard_of_its_claim_in_place_goes_on_by_the_epoch_before() -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    assert made.one(regrant(made)).ok
    made.beat(A, epoch=epoch + 1, claim=token("claim"), said=living(epoch))
    made.expire()
    refused = made.beat(A, epoch=epoch + 1, claim=token("claim"), said=living(epoch))
    assert refused.reason is Reason.NOT_HOLDER
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).verdict is Verdict.HOLDING
    assert made.one(regrant(made)).ok


def test_a_copy_without_the_former_claim_neither_hears_of_the_grant_nor_claims_it() -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    assert made.one(regrant(made)).ok
    assert made.beat(A, said=said()).verdict is Verdict.DORMANT
    refused = made.beat(A, epoch=epoch + 1, claim=token("copy"), said=living(epoch))
    assert (refused.verdict, refused.reason) == (Verdict.REFUSED, Reason.WRONG_CLAIM)
    assert made.lease.claim is None
    assert "claim-clash" in made.kinds()


@pytest.mark.parametrize("what", ["claim", "incarnation", "epoch", "no-holds"])
def test_nobody_but_the_former_holder_goes_on(what: str) -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    answer = made.beat(
        A,
        epoch=epoch - (what == "epoch"),
        claim=token("copy" if what == "claim" else "claim"),
        incarnation="i2" if what == "incarnation" else "i1",
        said=said(state=SiteState.ACTIVE) if what == "no-holds" else living(epoch),
    )
    assert answer.verdict is Verdict.REFUSED


def test_a_site_that_promises_or_knows_another_configuration_is_not_granted() -> None:
    made = rig()
    held(made)
    made.expire()
    made.beat(B, said=said(promising=True))
    assert made.unchanged(made.grant_command(B)).reason is Reason.PROMISE_OUTSTANDING
    made.beat(B, said=said(group_version=1))
    assert made.unchanged(made.grant_command(B)).reason is Reason.CONFIG_NOT_KNOWN
    made.beat(B, said=said())
    assert made.one(made.grant_command(B)).ok


def test_a_grant_that_nobody_claimed_leaves_the_former_holder_and_a_claim_ends_it() -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    made.beat(B, said=said())
    assert made.one(made.grant_command(B)).ok
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).verdict is Verdict.HOLDING
    made.expire()
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).verdict is Verdict.HOLDING
    made.beat(B, said=said(epoch_bound=Epoch(made.group.epoch), finished_epoch=Epoch(made.group.epoch)))
    assert made.one(made.grant_command(B)).ok
    made.beat(B, epoch=made.group.epoch, claim=token("b"), said=said(epoch_bound=Epoch(made.group.epoch)))
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).reason is Reason.NOT_HOLDER


@pytest.mark.parametrize("promised", [HoldMark(Epoch(99), 1, CHAIN), "forked"])
def test_a_chain_that_is_contradicted_is_refused_alarmed_and_its_holder_told(promised) -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    mark = HoldMark(Epoch(epoch), ROUND, Chain(b"y" * 16)) if promised == "forked" else promised
    made.beat(B, said=said(promised=mark))
    made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    assert made.one(regrant(made)).reason is Reason.HOLDS_BROKEN
    assert made.kinds() == ["holds-broken"]
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch)).reason is Reason.NOT_HOLDER


@pytest.mark.parametrize(
    ("mode", "ok"), [(Mode.AUTOMATIC, True), (Mode.MANUAL, True), (Mode.PAUSED, True), (Mode.OBSERVE, False)]
)
def test_a_grant_in_place_moves_nothing_so_every_mode_but_observe_has_it(mode: Mode, ok: bool) -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    made.beat(A, epoch=epoch, claim=token("claim"), said=living(epoch))
    if mode is not Mode.AUTOMATIC:
        assert made.one(SetMode(G, mode, AUTHOR)).ok
    assert made.one(regrant(made)).ok is ok


def test_a_group_is_not_deleted_while_its_last_holder_may_live() -> None:
    made = rig()
    epoch = held(made)
    made.expire()
    assert made.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.HOLDER_MAY_LIVE
    made.beat(A, said=said(epoch_bound=Epoch(epoch), finished_epoch=Epoch(epoch)))
    assert made.one(DeleteGroup(G, AUTHOR)).ok


def test_a_group_whose_last_holder_is_gone_for_good_is_deleted_when_an_operator_vouched_for_it() -> None:
    made = rig()
    held(made)
    made.expire()
    assert made.one(SetMaintenance(G, B, True, AUTHOR)).ok
    assert made.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.HOLDER_MAY_LIVE, "that is another site"
    assert "maintenance GROUP SITE on" in outcome_body(Outcome(Reason.HOLDER_MAY_LIVE))["next"]
    assert made.one(SetMaintenance(G, A, True, AUTHOR)).ok
    assert made.one(DeleteGroup(G, AUTHOR)).ok


def test_what_a_cold_site_waits_for_is_the_longest_lease_that_may_be_lived_on() -> None:
    made = rig()
    long, short = LeaseConstants(60_000, 10_000, 0), LeaseConstants(1_000, 10_000, 0)
    assert made.one(ConfigureGroup(config(witness_loss=WitnessLoss.HOLD, constants=long), 2, AUTHOR)).ok
    for one in (A, B):
        made.beat(one, said=said(group_version=3))
    assert made.one(made.grant_command(A)).ok
    made.beat(A, epoch=made.group.epoch, claim=token("a"), said=said(group_version=3))
    assert made.one(ConfigureGroup(config(witness_loss=WitnessLoss.HOLD, constants=short), 3, AUTHOR)).ok
    made.expire()
    made.beat(B, said=said(group_version=4))
    assert made.one(made.grant_command(B)).ok
    epoch = made.group.epoch
    for _ in range(3):
        made.beat(B, epoch=epoch, claim=token("b"), said=said(group_version=4, epoch_bound=Epoch(epoch)))
    assert made.group.hold_wait == long, "a claim that is sent again is no life under the epoch"
    active = said(group_version=4, epoch_bound=Epoch(epoch), state=SiteState.ACTIVE)
    made.beat(B, epoch=epoch, claim=token("b"), said=active)
    assert made.group.hold_wait == short
    assert made.one(ConfigureGroup(config(constants=short), 4, AUTHOR)).ok
    assert made.group.hold_wait == short, "what was allowed once may be lived on"


def test_agents_are_told_the_sites_until_they_report_the_version() -> None:
    made = rig(sites=(A, B, C))
    made.beat(A, said=said(group_version=0))
    told = made.last.outcomes[0].sites
    assert [(one.version, one.sites, one.witness_loss) for one in told] == [(2, (A, B, C), WitnessLoss.HOLD)]
    made.beat(A, said=said())
    assert made.last.outcomes[0].sites == ()


def test_at_the_first_feature_level_nothing_of_it_is_known() -> None:
    made = rig(level=1)
    for one in (A, B):
        made.beat(one)
    assert made.last.outcomes[0].sites == ()
    assert made.one(made.grant_command(A)).ok
    epoch = made.group.epoch
    made.beat(A, epoch=epoch, claim=token("claim"), said=report(epoch_bound=Epoch(epoch)))
    made.expire()
    assert made.group.former is None
    assert made.group.phase is Phase.VACANT
    assert made.beat(A, epoch=epoch, claim=token("claim"), said=report()).reason is Reason.NOT_HOLDER
