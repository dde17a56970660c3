"""Modes beside a permit: observe adopts nothing, and is left beside a site that is active under one."""

from __future__ import annotations

from core_rig import AUTHOR, A, G
from test_permit_machine import returned_with_permit

from proto.commands import SetMode
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState


def test_observe_adopts_nothing():
    rig = returned_with_permit()
    assert rig.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
    assert rig.unchanged(rig.adoption()).reason is Reason.MODE_FORBIDS


def test_observe_is_left_beside_a_site_under_a_permit_which_is_adopted_then_and_not_beside_another_that_runs():
    rig = returned_with_permit()
    rig.known(A)
    assert rig.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
    rig.says(A, state=SiteState.ACTIVE)
    assert rig.unchanged(SetMode(G, Mode.AUTOMATIC, AUTHOR)).reason is Reason.SITES_NOT_DOWN
    rig.says(A)
    assert rig.one(SetMode(G, Mode.AUTOMATIC, AUTHOR)).ok
    assert rig.one(rig.adoption()).ok
