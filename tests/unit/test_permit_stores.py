"""Who ends a permit at the witnesses, and who vouches for its site: not an agent that knows nothing of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, config, token
from permit_rig import AFTER_MS, MARK, RECONCILE, P, PermitRig
from test_permit_machine import held_by_a, returned_with_permit

from proto.commands import ConfigureGroup, SetQuarantine
from proto.decisions import Reason
from proto.health import SiteState
from proto.permit import CLEARED_LEAP
from proto.units import Epoch
from witness.core import permits

READMIT = SetQuarantine(G, B, False, (), AUTHOR)
WITHOUT = replace(config(), labels=(("no", "permits"),))


def second_agent(rig: PermitRig, *, store: str = "other", **said) -> None:
    """With dc-b's certificate and a state directory of its own; it is heard, and hears."""
    if rig.group.sites[B].incarnation != token("i2"):
        rig.seq[B], rig.knows[B] = 0, -1
    for _ in range(2):
        rig.says(B, incarnation="i2", store_id=token(store), **said)


def back(rig: PermitRig) -> None:
    """dc-a is heard, and has proven that what it held is over."""
    for _ in range(2):
        rig.says(A, finished_epoch=Epoch(2), epoch_bound=Epoch(2))


def to_a(rig: PermitRig, epoch: int = P + 5):
    return replace(rig.grant_command(A), epoch=Epoch(epoch))


def cleared(rig: PermitRig) -> int:
    return rig.group.epoch + CLEARED_LEAP + 1


@pytest.mark.parametrize("store", ["other", "store"], ids=["a-second-agent", "a-late-word"])
@pytest.mark.parametrize("state", [SiteState.UNKNOWN, SiteState.STANDBY])
def test_who_knows_nothing_of_a_permit_does_not_end_it(state, store):
    """Whoever took it may run on: it was never told, or is cut off."""
    rig = returned_with_permit()
    back(rig)
    second_agent(rig, store=store, state=state)
    second_agent(rig, store=store, ready=False)
    assert rig.unchanged(to_a(rig)).reason is Reason.UNDER_PERMIT
    assert not rig.unchanged(rig.adoption()).ok, "nor is it adopted"
    assert permits.disputed(rig.group, B)
    assert rig.one(RECONCILE).ok, "an operator looked there"
    second_agent(rig, store=store, ready=False)
    if store == "other":
        assert rig.one(READMIT).ok
        second_agent(rig, store=store)
    assert rig.one(to_a(rig, cleared(rig))).ok


def test_who_took_it_ends_it_by_its_word_and_a_next_life_when_it_has_finished_its_epoch():
    rig = returned_with_permit()
    back(rig)
    rig.known(B)
    assert rig.one(to_a(rig)).ok
    rig = returned_with_permit()
    back(rig)
    second_agent(rig, store="store", state=SiteState.UNKNOWN, permit=MARK, epoch_bound=P)
    assert not permits.disputed(rig.group, B), "it is on its way down, and nobody has to look"
    assert rig.unchanged(to_a(rig)).reason is Reason.UNDER_PERMIT
    second_agent(rig, store="store", epoch_bound=P, finished_epoch=P)
    assert rig.one(to_a(rig)).ok


def test_an_agent_with_another_store_does_not_make_its_site_heard():
    """Nobody knows whether a permit was taken there."""
    rig = PermitRig().known()
    rig.lost()
    back(rig)
    second_agent(rig)
    assert rig.away() == [B]
    assert rig.unchanged(to_a(rig)).reason is Reason.RECONCILING
    assert rig.one(RECONCILE).ok
    second_agent(rig)
    rig.lost(AFTER_MS - 1)
    back(rig)
    assert rig.away() == [], "what an operator vouched for is not over by its word either"
    assert rig.one(to_a(rig, cleared(rig))).ok


def test_a_store_that_an_operator_accepted_is_heard_like_any_other():
    rig = PermitRig().known()
    second_agent(rig)
    assert rig.one(READMIT).ok
    rig.lost()
    back(rig)
    second_agent(rig)
    assert rig.away() == []


def test_permits_that_are_no_longer_taken_leave_the_operator_a_way_out_where_one_is_in_use():
    """Every site knows the new terms; the site that runs by the old ones is lost before it is adopted."""
    rig = returned_with_permit()
    assert rig.one(ConfigureGroup(WITHOUT, rig.group.version, AUTHOR)).ok
    back(rig)
    rig.under_permit()
    rig.under_permit()
    rig.lost()
    back(rig)
    assert rig.unchanged(to_a(rig)).reason is Reason.UNDER_PERMIT
    assert rig.away() == [B]
    assert rig.one(RECONCILE).ok
    assert rig.one(to_a(rig, cleared(rig))).ok


def test_they_end_when_the_last_one_that_is_in_use_has_ended():
    rig = held_by_a()
    assert rig.one(ConfigureGroup(WITHOUT, rig.group.version, AUTHOR)).ok
    rig.says(A, epoch=2, state=SiteState.ACTIVE, epoch_bound=Epoch(2))
    rig.under_permit()
    assert rig.group.permits.after_ms == AFTER_MS
    rig.says(B, epoch_bound=MARK.epoch, finished_epoch=MARK.epoch)
    assert rig.group.permits.after_ms == 0
