"""What a next life knows of a permit that the former one lived by: whose lock delay passes, and when it may tell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from core_rig import A, B
from permit_rig import MARK, PermitRig
from test_permit_agent import CONSTANTS, P, PermitAgent
from test_permit_lock_delay import LOCK_MS, LOCK_PASSES_MS, LOCKED, G, under_permit
from test_permit_machine import returned_with_permit

from agents.core.permit_record import PermitRecord
from agents.permit_files import PermitFiles, _digest
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.messages import Verdict

LONG = replace(CONSTANTS, lock_delay_ms=LOCK_MS)
LOWERED = replace(LOCKED, constants=replace(LONG, lock_delay_ms=0))
RAISED = replace(LOCKED, constants=replace(LONG, lock_delay_ms=2 * LOCK_MS))
DAMAGED = PermitRecord(damaged="its checksum is wrong")


def test_the_lease_of_what_runs_under_a_permit_is_kept_with_it():
    rig = under_permit()
    assert rig.group.desk.record.constants == LONG
    rig.hear(ttl_ms=2 * CONSTANTS.ttl_ms, lock_delay_ms=0)
    assert rig.group.desk.record.constants == LONG == rig.group.holder.constants


def test_whoever_lowers_the_lock_delay_under_a_permit_does_not_shorten_what_ran():
    rig = PermitAgent(record=under_permit().group.desk.record, sites=LOWERED)
    rig.hear(lock_delay_ms=0)
    rig.passes(LOCK_PASSES_MS - 1_200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(1_400)
    rig.store()
    assert rig.state is SiteState.STANDBY
    assert (rig.group.desk.record.current, rig.group.desk.record.constants) == (None, None)


def test_of_what_was_kept_and_what_the_group_has_now_the_longer_one_passes():
    rig = PermitAgent(record=PermitRecord((b"p" * 16,), MARK, constants=LONG), sites=RAISED)
    rig.passes(LOCK_PASSES_MS + 200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(LOCK_PASSES_MS)
    assert rig.state is SiteState.STANDBY


def test_what_was_kept_is_waited_for_where_the_group_is_not_known_any_more():
    rig = PermitAgent(record=PermitRecord((b"p" * 16,), MARK, constants=LONG), sites=None)
    rig.passes(LOCK_PASSES_MS - 200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(400)
    assert rig.state is SiteState.STANDBY


def test_the_lease_comes_back_from_disk_and_a_record_from_before_has_none(tmp_path: Path):
    files = PermitFiles(tmp_path, [G])
    record = PermitRecord((b"p" * 16,), MARK, constants=LONG)
    files.store(G, record)
    assert files.load()[G] == record
    files.store(G, replace(record, constants=None))
    assert files.load()[G].constants is None
    fields = json.loads((tmp_path / f"{G}.permits").read_bytes())
    assert "constants" not in fields, "an agent from before reads and writes the same"


@pytest.mark.parametrize("wrong", [[1_000], [1_000, 100, -1], [1_000, 100, True], "1000", [1, 2, 3, 4]])
def test_a_lease_that_cannot_be_one_is_damage(tmp_path: Path, wrong):
    files = PermitFiles(tmp_path, [G])
    odd = PermitRecord((b"p" * 16,), MARK, constants=LONG)
    files.store(G, odd)
    written(tmp_path / f"{G}.permits", wrong)
    assert "constants" in files.load()[G].damaged


def written(path: Path, constants: object) -> None:
    """The file with another lease in it and a checksum that fits."""
    fields = {**json.loads(path.read_bytes()), "constants": constants}
    del fields["sha256"]
    path.write_text(json.dumps({**fields, "sha256": _digest(fields)}))


# -- where nothing is known -----------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [DAMAGED, PermitRecord((b"p" * 16,), MARK)], ids=["damaged", "from-before"])
def test_who_knows_no_lock_delay_is_not_down_before_a_witness_told_it(record):
    rig = PermitAgent(record=record, sites=None)
    rig.passes(3 * LOCK_MS)
    assert rig.state is SiteState.UNKNOWN
    assert "no witness has told" in rig.group.trouble
    rig.hear(Verdict.UNKNOWN_GROUP)
    assert rig.state is SiteState.UNKNOWN, "that answer names no lease"
    rig.hear(lock_delay_ms=6 * LOCK_MS)
    rig.passes(LOCK_PASSES_MS)
    assert rig.state is SiteState.UNKNOWN, "it is counted from the proof"
    assert "lock_delay passes" in rig.group.trouble
    rig.passes(3 * LOCK_MS)
    assert (rig.state, rig.group.trouble) == (SiteState.STANDBY, "")


def test_where_the_lock_delay_has_passed_when_it_is_told_the_site_is_down_at_once():
    rig = PermitAgent(record=DAMAGED, sites=None)
    rig.passes(3 * LOCK_MS)
    rig.hear(lock_delay_ms=LOCK_MS)
    assert rig.state is SiteState.STANDBY


class Unproven(PermitAgent):
    """Its look at what is left does not come to an end."""

    def verified(self) -> PermitAgent:
        return self


def test_what_is_not_proven_down_is_not_made_so_by_a_lock_delay_that_is_told():
    rig = Unproven(record=DAMAGED, sites=None)
    rig.hear(lock_delay_ms=0)
    rig.passes(2 * LOCK_MS)
    assert rig.state is SiteState.UNKNOWN


def test_a_damaged_record_waits_for_the_longest_lease_that_is_known():
    wait = LeaseConstants(CONSTANTS.ttl_ms, CONSTANTS.drift_max_ppm, LOCK_MS)
    rig = PermitAgent(record=DAMAGED, sites=replace(LOWERED, wait=wait))
    rig.passes(LOCK_PASSES_MS - 200)
    assert rig.state is SiteState.UNKNOWN
    rig.passes(400)
    assert rig.state is SiteState.STANDBY


# -- what the witnesses make of it ----------------------------------------------------------------------------


def adopted_and_over() -> PermitRig:
    """The site goes on under the witnesses' epoch, and has said so."""
    rig = returned_with_permit()
    assert rig.one(rig.adoption()).ok
    epoch = rig.group.epoch
    rig.says(B, epoch=epoch, state=SiteState.ACTIVE, permit=MARK, epoch_bound=epoch)
    rig.says(B, epoch=epoch, state=SiteState.ACTIVE, epoch_bound=epoch)
    assert "permit-ended" in rig.kinds()
    return rig


def test_a_life_that_knows_nothing_of_the_adoption_is_no_second_use():
    """The agent ended before its disk said that the permit was over."""
    rig = adopted_and_over()
    rig.says(B, incarnation="i2", state=SiteState.UNKNOWN, permit=MARK, epoch_bound=rig.group.epoch)
    assert "permit-clash" not in kinds(rig)
    rig.says(B, incarnation="i2", state=SiteState.STANDBY, epoch_bound=rig.group.epoch)
    assert "permit-clash" not in kinds(rig)


@pytest.mark.parametrize("state", [SiteState.ACTIVATING, SiteState.ACTIVE])
def test_a_second_use_is_told_also_when_nothing_was_said_in_between(state):
    for rig in (adopted_and_over(), returned_with_permit()):
        rig.says(B, incarnation="i2", state=SiteState.UNKNOWN, permit=MARK, epoch_bound=P)
        assert "permit-clash" not in kinds(rig)
        rig.says(B, incarnation="i3", state=state, permit=MARK, epoch_bound=P)
        assert kinds(rig).count("permit-clash") == 1


def test_the_clocks_of_who_is_stopped_may_part_without_a_second_use():
    rig = returned_with_permit()
    rig.says(B, incarnation="i2", state=SiteState.FENCING, permit=MARK, epoch_bound=P)
    assert "permit-clash" not in kinds(rig)


@pytest.mark.parametrize("state", [SiteState.UNKNOWN, SiteState.ACTIVE])
def test_another_site_that_names_the_permit_has_it_from_a_copy(state):
    rig = adopted_and_over()
    rig.says(A, state=state, permit=MARK, epoch_bound=P)
    assert "permit-clash" in kinds(rig)


def kinds(rig: PermitRig) -> list[str]:
    """Of all that was told so far."""
    return [event.kind.value for event in rig.machine.state.ledger.recent]
