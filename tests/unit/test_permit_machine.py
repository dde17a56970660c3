"""B3 and B4 in the replicated machine: who is away, what is withheld meanwhile, who is adopted, what is a clash."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G, config, token
from permit_rig import AFTER_MS, KEY, MARK, OTHER, RECONCILE, P, PermitRig

from proto.commands import Author, ConfigureGroup, DeleteGroup, Reconcile, SetMode
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.lease import LeaseConstants
from proto.messages import Verdict
from proto.permit import AFTER_MS_MAX, CLEARED_LEAP
from proto.units import Epoch
from witness.core.machine import Machine
from witness.core.restore import new_lineage, restore
from witness.core.snapshot import decode_image
from witness.core.transitions import Phase

ACTIVE = {"state": SiteState.ACTIVE}


def held_by_a() -> PermitRig:
    """dc-a holds the lease; both sites are known."""
    rig = PermitRig().known()
    assert rig.one(rig.grant_command(A)).ok
    assert rig.says(A, epoch=2).verdict is Verdict.RENEWED
    assert rig.says(A, epoch=2, epoch_bound=Epoch(2), **ACTIVE).verdict is Verdict.RENEWED
    return rig


# -- who is away ------------------------------------------------------------------------------------------


def test_a_site_is_known_for_as_long_as_a_permit_cannot_be_taken_there():
    rig = PermitRig().known()
    assert rig.away() == []
    rig.lost(AFTER_MS - 1)
    assert rig.away() == []
    rig.lost(1)
    assert rig.away() == [A, B]


def test_a_heartbeat_alone_proves_nothing_its_answer_must_have_arrived():
    rig = PermitRig().known().lost()
    rig.says(A, answered=False)
    rig.says(A, answered=False)
    assert rig.away() == [A, B], "its answers are lost: it may take a permit at any moment"
    rig.says(A)
    assert rig.away() == [A, B], "the answer arrived, and nobody knows yet"
    rig.says(A)
    assert rig.away() == [B]


def test_an_answer_from_before_the_outage_does_not_count_after_it():
    rig = PermitRig().known()
    rig.says(B)
    rig.lost()
    rig.says(B, answered=False)
    assert B in rig.away()


def test_a_site_that_was_never_heard_in_a_new_group_knows_of_no_permits():
    rig = PermitRig()
    rig.known(A)
    rig.lost(AFTER_MS_MAX)
    rig.known(A)
    assert rig.away() == []
    more = replace(rig.group.config, sites=(A, B, C))
    assert rig.one(ConfigureGroup(more, rig.group.version, AUTHOR)).ok
    assert C in rig.away(), "one that is added may have been a site before"


def test_without_permits_nobody_is_ever_away():
    rig = PermitRig().known()
    plain = replace(config(), labels=(("no", "permits"),))
    assert rig.one(ConfigureGroup(plain, rig.group.version, AUTHOR)).ok
    rig.lost()
    assert rig.away() == [A, B], "they may not have heard of it yet"
    rig.known()
    rig.lost(AFTER_MS_MAX)
    assert rig.away() == []


def test_shorter_terms_count_at_once_and_longer_ones_when_every_site_knows_them():
    rig = PermitRig().known()
    longer = replace(rig.group.config, break_glass_after_ms=3 * AFTER_MS)
    assert rig.one(ConfigureGroup(longer, rig.group.version, AUTHOR)).ok
    assert rig.group.permits.after_ms == AFTER_MS
    rig.known(A)
    assert rig.group.permits.after_ms == AFTER_MS
    rig.known(B)
    assert rig.group.permits.after_ms == 3 * AFTER_MS
    shorter = replace(longer, break_glass_after_ms=2 * AFTER_MS)
    assert rig.one(ConfigureGroup(shorter, rig.group.version, AUTHOR)).ok
    assert rig.group.permits.after_ms == 2 * AFTER_MS


def test_a_new_incarnation_knows_nothing_yet():
    rig = PermitRig().known().lost()
    rig.known(A)
    rig.seq[B], rig.knows[B] = 0, -1
    rig.says(B, incarnation="i2")
    assert rig.away() == [B]
    rig.says(B, incarnation="i2")
    assert rig.away() == []


# -- what is withheld -------------------------------------------------------------------------------------


def test_while_a_site_is_away_nothing_is_granted_and_no_handover_begins():
    rig = held_by_a()
    for _ in range(3):
        rig.lost(AFTER_MS // 2)
        assert rig.says(A, epoch=2, epoch_bound=Epoch(2), **ACTIVE).verdict is Verdict.RENEWED, "a silent standby"
    assert rig.away() == [B]
    assert rig.unchanged(rig.revoke_command(B)).reason is Reason.RECONCILING
    rig.expire()
    assert rig.unchanged(rig.grant_command(A)).reason is Reason.RECONCILING
    rig.known(B)
    assert rig.one(rig.grant_command(B)).ok


def test_after_an_outage_a_grant_from_before_it_is_not_claimed_until_everybody_was_heard():
    rig = PermitRig().known()
    assert rig.one(rig.grant_command(A)).ok
    rig.lost()
    rig.known(A)
    told = rig.says(A)
    assert told.verdict is Verdict.DORMANT, "not even told of it"
    refused = rig.says(A, epoch=2)
    assert (refused.verdict, refused.reason) == (Verdict.REFUSED, Reason.NOT_CLAIMED)
    assert rig.lease.claim is None
    rig.known(B)
    assert rig.says(A).verdict is Verdict.GRANTED
    assert rig.says(A, epoch=2).verdict is Verdict.RENEWED


def test_a_claim_whose_answer_was_lost_in_the_outage_gives_no_authority_after_it():
    rig = PermitRig().known()
    assert rig.one(rig.grant_command(A)).ok
    assert rig.says(A, epoch=2, answered=False).verdict is Verdict.RENEWED
    rig.lost()
    assert rig.says(A, epoch=2).verdict is Verdict.REFUSED, "it is dormant: this answer would be its first"
    assert rig.says(A, epoch=2, epoch_bound=Epoch(2), **ACTIVE).verdict is Verdict.RENEWED, "one that is active goes on"


def test_an_operator_vouches_for_what_is_silent_until_it_speaks_again():
    rig = held_by_a()
    rig.lost()
    rig.says(A, epoch=2, epoch_bound=Epoch(2), **ACTIVE)
    rig.says(A, epoch=2, epoch_bound=Epoch(2), **ACTIVE)
    assert rig.unchanged(Reconcile(G, Author("ann", " "))).reason is Reason.REASON_REQUIRED
    assert rig.one(RECONCILE).ok
    assert rig.kinds() == ["reconciled"]
    assert rig.away() == []
    rig.lost(AFTER_MS - 1)
    rig.known(A)
    assert rig.away() == [], "for as long as it is silent"
    rig.expire()
    rig.says(A, finished_epoch=Epoch(2), epoch_bound=Epoch(2))
    grant = rig.grant_command(A)
    assert rig.unchanged(grant).reason is Reason.EPOCH_TOO_LOW, "it may have used permits that nobody told of"
    assert rig.one(replace(grant, epoch=Epoch(2 + CLEARED_LEAP + 1))).ok
    rig.says(B)
    rig.lost()
    assert B in rig.away(), "it spoke: what was vouched for is over"


def test_vouching_without_need_is_refused():
    assert PermitRig().known().unchanged(RECONCILE).reason is Reason.ALREADY_SO


# -- under a permit ---------------------------------------------------------------------------------------


def returned_with_permit() -> PermitRig:
    """dc-a held the lease, the witnesses were lost, dc-b is active under a permit; they are back, dc-a is off."""
    rig = held_by_a()
    rig.lost(10 * AFTER_MS)
    rig.under_permit()
    rig.expire()
    return rig


def test_a_site_under_permit_is_adopted_in_place_without_waiting_for_the_others():
    rig = returned_with_permit()
    assert A in rig.away()
    assert "permit-used" in [event.kind.value for event in rig.machine.state.ledger.recent]
    assert rig.one(rig.adoption()).ok
    epoch = rig.group.epoch
    assert epoch > P
    assert rig.under_permit().verdict is Verdict.GRANTED
    said = {"state": SiteState.ACTIVE, "permit": MARK, "epoch_bound": epoch}
    assert rig.says(B, epoch=epoch, **said).verdict is Verdict.RENEWED
    assert rig.group.phase is Phase.HELD
    assert rig.says(B, epoch=epoch, state=SiteState.ACTIVE, epoch_bound=epoch).verdict is Verdict.RENEWED
    assert rig.kinds() == ["permit-ended"]


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.MANUAL, Mode.PAUSED])
def test_it_is_adopted_in_every_mode_that_keeps_leases(mode):
    rig = returned_with_permit()
    if mode is not Mode.AUTOMATIC:
        assert rig.one(SetMode(G, mode, AUTHOR)).ok
    assert rig.one(rig.adoption()).ok


def test_nobody_else_is_granted_while_a_site_said_that_it_is_under_a_permit_however_long_ago():
    rig = returned_with_permit()
    rig.known(A)
    to_a = replace(rig.grant_command(A), epoch=Epoch(P + 5))
    assert rig.unchanged(to_a).reason is Reason.UNDER_PERMIT
    assert rig.one(rig.adoption()).ok
    rig.expire()  # nobody claimed it: dc-b is cut off again, and active
    assert rig.unchanged(replace(to_a, expected_epoch=rig.group.epoch)).reason is Reason.UNDER_PERMIT
    assert rig.one(replace(rig.adoption(), epoch=Epoch(rig.group.epoch + 1))).ok


def test_an_adopted_lease_that_ran_out_does_not_give_the_group_away_when_only_the_answer_was_lost():
    rig = returned_with_permit()
    assert rig.one(rig.adoption()).ok
    said = {"state": SiteState.ACTIVE, "permit": MARK, "epoch_bound": rig.group.epoch}
    assert rig.says(B, epoch=rig.group.epoch, answered=False, **said).verdict is Verdict.RENEWED
    rig.expire()
    rig.known(A)
    to_a = replace(rig.grant_command(A), epoch=Epoch(rig.group.epoch + 1))
    assert rig.unchanged(to_a).reason is Reason.UNDER_PERMIT


def test_a_site_that_went_down_meanwhile_does_not_begin_by_the_adoption():
    rig = returned_with_permit()
    assert rig.one(rig.adoption()).ok
    down = {"epoch_bound": P, "finished_epoch": P}
    assert rig.says(B, **down).verdict is Verdict.DORMANT, "dc-a is away: it may have a permit of its own by now"
    assert rig.says(B, epoch=rig.group.epoch, **down).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    "changes",
    [
        {"state": SiteState.STANDBY},
        {"state": SiteState.FENCING},
        {"enforce": False},
    ],
    ids=["down", "fencing", "watching"],
)
def test_only_a_site_that_is_active_is_adopted(changes):
    rig = returned_with_permit()
    rig.under_permit(**changes)
    assert not rig.unchanged(rig.adoption()).ok


def test_a_permit_of_nobody_adopts_nobody():
    rig = PermitRig().known()
    assert rig.unchanged(rig.adoption()).reason is Reason.NOT_HOLDER


def test_two_that_say_they_are_active_are_a_clash_and_nobody_is_adopted():
    rig = returned_with_permit()
    rig.says(A, **ACTIVE)
    rig.says(A, **ACTIVE)
    assert rig.unchanged(rig.adoption()).reason is Reason.PERMIT_CLASH
    rig.says(A)
    assert rig.one(rig.adoption()).ok


def test_two_permits_at_once_are_a_clash_also_when_one_of_them_is_silent_now():
    rig = returned_with_permit()
    rig.under_permit(A, OTHER)
    for site in (A, B):
        wish = replace(rig.adoption(site), epoch=Epoch(OTHER.epoch + 1))
        assert rig.unchanged(wish).reason is Reason.PERMIT_CLASH
    rig.lost()
    rig.known(B)
    rig.under_permit()
    assert rig.unchanged(replace(rig.adoption(), epoch=Epoch(OTHER.epoch + 1))).reason is Reason.PERMIT_CLASH
    assert rig.one(RECONCILE).ok
    assert rig.one(replace(rig.adoption(), epoch=Epoch(2 + CLEARED_LEAP + 1))).ok


def test_a_permit_that_is_used_a_second_time_is_alarmed_and_not_adopted():
    rig = returned_with_permit()
    rig.says(B)
    rig.seq[B], rig.knows[B] = 0, -1
    rig.under_permit(incarnation="i2")
    assert "permit-clash" in rig.kinds()
    wish = replace(rig.adoption(), incarnation=token("i2"))
    assert rig.unchanged(wish).reason is Reason.PERMIT_CLASH
    rig.under_permit(A)
    assert "permit-clash" not in rig.kinds(), "told once"


def test_a_site_under_permit_is_told_when_another_one_holds_a_higher_epoch():
    rig = returned_with_permit()
    rig.lost()
    for _ in range(2):
        rig.says(A, finished_epoch=Epoch(2), epoch_bound=Epoch(2))
    assert rig.one(RECONCILE).ok
    epoch = Epoch(2 + CLEARED_LEAP + 1)
    assert rig.one(replace(rig.grant_command(A), epoch=epoch)).ok
    assert rig.says(A, epoch=epoch).verdict is Verdict.RENEWED
    told = rig.under_permit()
    assert (told.verdict, told.reason) == (Verdict.DORMANT, Reason.PERMIT_OVERRULED)


def test_a_site_that_is_back_under_its_permit_keeps_a_grant_from_being_claimed():
    rig = returned_with_permit()
    rig.lost()
    for _ in range(2):
        rig.says(A, finished_epoch=Epoch(2), epoch_bound=Epoch(2))
    assert rig.one(RECONCILE).ok
    epoch = Epoch(2 + CLEARED_LEAP + 1)
    assert rig.one(replace(rig.grant_command(A), epoch=epoch)).ok
    assert rig.under_permit().reason is Reason.OK, "what the operator vouched for was wrong, and nobody claimed yet"
    assert rig.says(A, epoch=epoch).verdict is Verdict.REFUSED


# -- configuration and restore ----------------------------------------------------------------------------


def test_a_site_that_may_be_under_a_permit_is_not_removed():
    rig = PermitRig().known()
    more = replace(rig.group.config, sites=(A, B, C))
    assert rig.one(ConfigureGroup(more, rig.group.version, AUTHOR)).ok
    rig.known(A, B)
    rig.lost()
    rig.known(A, B)
    assert rig.away() == [C]
    fewer = ConfigureGroup(replace(more, sites=(A, B)), rig.group.version, AUTHOR)
    assert rig.unchanged(fewer).reason is Reason.RECONCILING
    assert rig.one(RECONCILE).ok
    assert rig.one(fewer).ok


def test_a_group_that_is_made_again_hears_every_site_first():
    rig = PermitRig().known()
    assert rig.one(DeleteGroup(G, AUTHOR)).ok
    again = replace(config(), break_glass_key=KEY, break_glass_after_ms=AFTER_MS)
    assert rig.one(ConfigureGroup(again, 0, AUTHOR)).ok
    assert rig.away() == [A, B]
    rig.known()
    assert rig.away() == []


def test_after_a_restore_every_site_is_heard_first():
    rig = held_by_a()
    lineage = new_lineage(rig.wall_ms, b"r" * 12)
    made = restore(rig.machine.state, lineage, LeaseConstants(1_000, 10_000, 0), 2).state
    machine = Machine()
    machine.restore(_image(made))
    rig.machine, rig.index = machine, made.applied_index
    assert rig.away() == [A, B]
    rig.passes(1_000)
    rig.known()
    assert rig.away() == []


def _image(state) -> bytes:
    from witness.core.snapshot import encode_image

    return encode_image(state)


def test_the_calendar_begins_with_the_level_and_is_part_of_the_state():
    rig = PermitRig().known()
    kept = decode_image(rig.machine.snapshot())
    assert kept.calendar == rig.machine.state.calendar
    assert kept.agents[A].marks == rig.machine.state.agents[A].marks
    again = Machine()
    for index, data in enumerate(rig.log, start=1):
        again.apply(index, data)
    assert again.snapshot() == rig.machine.snapshot()


def test_terms_that_break_a_rule_are_refused():
    rig = PermitRig().known()
    for bad in (replace(rig.group.config, break_glass_key="x"), replace(rig.group.config, break_glass_after_ms=1)):
        assert rig.one(ConfigureGroup(bad, rig.group.version, AUTHOR)).reason is Reason.BAD_CONFIGURATION


def test_the_number_of_kept_permits_is_bounded():
    rig = returned_with_permit()
    for number in range(100):
        rig.says(B)
        mark = replace(MARK, epoch=Epoch(P + number), permit=number.to_bytes(16, "big"))
        rig.under_permit(B, mark)
    assert len(rig.group.permits.used) == 64
