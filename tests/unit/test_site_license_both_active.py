"""A license that is seen activated where nothing may run: told, fenced at once, and not forgotten by a fast fence."""

from __future__ import annotations

from site_license_core_rig import LicenseRig, holder, stopping

from agents.core.effects import Fence
from agents.core.license import ACTIVE_WHILE_DORMANT, Look
from proto.health import SiteState
from proto.messages import Verdict
from proto.units import Epoch


def test_a_dormant_site_with_an_activated_license_tells_it_and_fences_at_once():
    rig = LicenseRig().standby()
    rig.probed(True)
    assert rig.state is SiteState.FENCING
    assert rig.fences() == 1
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.state) == (
        True,
        ACTIVE_WHILE_DORMANT,
        SiteState.FENCING,
    )


def test_the_alarm_is_in_a_heartbeat_however_fast_the_fence_is():
    rig = LicenseRig().standby()
    rig.fresh_beat()
    rig.probed(True)
    rig.fenced()
    rig.stored()
    rig.fresh_beat()
    assert (rig.state, rig.said.activated) == (SiteState.FENCED, True)
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.ready) == (None, ACTIVE_WHILE_DORMANT, False)
    rig.probed(False)
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.ready) == (False, "", True)


def test_what_is_found_again_is_fenced_again():
    rig = LicenseRig().standby()
    for count in (1, 2):
        rig.probed(True)
        rig.fenced()
        rig.stored()
        assert rig.fences() == count


def test_a_claim_on_its_way_is_dropped_and_its_answer_begins_nothing():
    rig = LicenseRig()
    rig.claiming()
    beat = rig.beat
    rig.probed(True)
    assert rig.state is SiteState.FENCING
    rig.renewed(beat)
    rig.fenced()
    rig.stored()
    assert (rig.state, rig.group.holder.epoch, rig.group.holder.finished) == (SiteState.FENCED, 0, 2)


def test_a_bound_that_is_being_stored_is_over_after_the_fence():
    rig = LicenseRig().standby()
    rig.fresh_beat()
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(2))
    rig.probed(True)
    rig.stored()
    rig.fenced()
    rig.stored()
    assert (rig.state, rig.group.holder.bound, rig.group.holder.finished) == (SiteState.FENCED, 2, 2)


def test_a_release_that_is_still_to_be_told_is_told_no_more():
    """It says "verified down", and the next site begins at once."""
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    stopping(rig)
    assert rig.state is SiteState.STANDBY
    assert rig.group.end.release is not None, "it waits for the key to be put"
    rig.probed(True)
    rig.fenced()
    rig.stored()
    rig.fresh_beat()
    rig.passes(3_000)
    assert (rig.state, rig.group.end.release, rig.releases()) == (SiteState.FENCED, None, [])


def test_an_active_site_has_its_license_activated_and_nothing_happens():
    rig = holder()
    rig.probed(True)
    rig.fresh_beat()
    assert (rig.state, rig.said.activated, rig.all_of(Fence)) == (SiteState.ACTIVE, True, [])


def test_what_a_probe_saw_before_the_role_changed_is_not_said_after_it():
    rig = holder()
    rig.probed(True)
    role = rig.group.licenses.role
    stopping(rig)
    assert rig.said.activated is None
    assert rig.group.licenses.role > role


def test_a_watching_agent_tells_and_stops_nothing():
    rig = LicenseRig(enforce=False)
    rig.probed(True)
    assert rig.fences() == 0


def test_a_probe_without_an_answer_is_a_problem_and_no_alarm():
    rig = LicenseRig().standby()
    rig.probed(None, "probe-failed")
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.fences()) == (None, "probe-failed", 0)
