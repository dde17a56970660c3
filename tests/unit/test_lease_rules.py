"""Each rule of the lease at apply: what is accepted, and every refusal, which changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import A, B, C, G, Rig, W, config, report, token

from proto.commands import (
    Cause,
    QuarantineCause,
    SetMaintenance,
    SetMode,
    SetQuarantine,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.messages import NoticeKind, ReleaseKind
from proto.units import Claim, Epoch, GroupId, Incarnation
from witness.core.transitions import LeaseInput, Phase

from core_rig import AUTHOR  # isort: skip


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.beat(A)
    made.beat(B)
    return made


# -- grant ------------------------------------------------------------------------------------------------


def test_a_grant_fixes_the_constants_and_gives_no_authority(rig):
    assert rig.one(rig.grant_command()).ok
    assert rig.group.phase is Phase.GRANTED
    assert (rig.lease.epoch, rig.lease.site, rig.lease.renewal, rig.lease.claim) == (2, A, 0, None)
    assert rig.lease.constants == rig.group.config.constants
    assert rig.kinds() == ["granted"]
    assert (A, G, NoticeKind.GRANTED, 2) in rig.changes.notices
    assert rig.changes.counted == {G}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group": GroupId("other")}, Reason.UNKNOWN_GROUP),
        ({"expected_epoch": Epoch(0)}, Reason.EPOCH_CONFLICT),
        ({"epoch": Epoch(1)}, Reason.EPOCH_TOO_LOW),
        ({"site": C}, Reason.UNKNOWN_SITE),
        ({"incarnation": Incarnation(token("i2"))}, Reason.WRONG_INCARNATION),
    ],
)
def test_a_grant_is_compare_and_set(rig, changes, reason):
    assert rig.unchanged(rig.grant_command(**changes)).reason is reason


@pytest.mark.parametrize("phase", [Phase.BARRED, Phase.GRANTED, Phase.HELD, Phase.REVOKING, Phase.OVERDUE])
def test_a_grant_needs_a_vacant_group(phase):
    rig = rig_in(phase)
    assert rig.unchanged(rig.grant_command(B)).reason is Reason.NOT_VACANT


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (report(enforce=False), Reason.NOT_ENFORCING),
        (report(state=SiteState.UNKNOWN), Reason.NOT_VERIFIED_DOWN),
        (report(state=SiteState.ACTIVE), Reason.NOT_VERIFIED_DOWN),
        (report(state=SiteState.FENCING), Reason.NOT_VERIFIED_DOWN),
    ],
)
def test_a_grantee_must_be_down_and_enforcing(rig, said, reason):
    rig.beat(A, said=said)
    assert rig.unchanged(rig.grant_command()).reason is reason


def test_a_site_that_was_never_heard_is_not_granted():
    assert (rig := Rig()).unchanged(rig.grant_command()).reason is Reason.WRONG_INCARNATION


def test_maintenance_quarantine_and_new_sites_are_not_granted(rig):
    rig.one(SetMaintenance(G, A, True, AUTHOR))
    assert rig.unchanged(rig.grant_command()).reason is Reason.IN_MAINTENANCE
    rig.one(SetMaintenance(G, A, False, AUTHOR))
    rig.one(SetQuarantine(G, A, True, (), AUTHOR))
    assert rig.unchanged(rig.grant_command()).reason is Reason.QUARANTINED
    rig.one(SetQuarantine(G, A, False, (), AUTHOR))
    rig.group.sites[A].carried = False
    assert rig.unchanged(rig.grant_command()).reason is Reason.CONFIG_NOT_CARRIED


def test_in_manual_mode_a_move_that_no_operator_asked_for_is_refused_though_it_was_decided_before(rig):
    rig.one(SetMode(G, Mode.MANUAL, AUTHOR))
    assert rig.unchanged(rig.grant_command()).reason is Reason.MODE_FORBIDS
    assert rig.one(rig.grant_command(reason=Reason.OPERATOR_ASKED)).ok
    rig.beat(A, epoch=rig.group.epoch, claim=token("claim"), said=report(epoch_bound=rig.group.epoch))
    assert rig.unchanged(rig.revoke_command(reason=Reason.HOLDER_UNFIT)).reason is Reason.MODE_FORBIDS
    assert rig.one(rig.revoke_command()).ok


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.PAUSED])
def test_modes_that_move_nothing_grant_nothing(rig, mode):
    rig.one(SetMode(G, mode, AUTHOR))
    assert rig.unchanged(rig.grant_command()).reason is Reason.MODE_FORBIDS


def test_an_epoch_goes_above_every_sites_durable_bound(rig):
    rig.beat(B, said=report(epoch_bound=Epoch(9)))
    assert rig.unchanged(rig.grant_command(epoch=Epoch(9))).reason is Reason.EPOCH_TOO_LOW
    assert rig.one(rig.grant_command(epoch=Epoch(10))).ok


# -- release ----------------------------------------------------------------------------------------------


def rig_in(phase: Phase) -> Rig:
    if phase is Phase.BARRED:
        return Rig(vacant=False)
    rig = Rig()
    if phase is Phase.VACANT:
        return rig
    rig.beat(A)
    rig.beat(B)
    assert rig.one(rig.grant_command()).ok
    if phase is Phase.GRANTED:
        return rig
    rig.beat(A, epoch=2, claim=token("claim"))
    if phase is Phase.HELD:
        return rig
    assert rig.one(rig.revoke_command()).ok
    if phase is Phase.OVERDUE:
        for witness in W[:2]:
            rig.vote(witness, epoch=2, number=1, kind=VoteKind.REVOKE_DUE)
    assert rig.group.phase is phase
    return rig


@pytest.mark.parametrize("phase", [Phase.HELD, Phase.REVOKING, Phase.OVERDUE])
def test_a_release_vacates_at_once_and_quarantines_nobody(phase):
    rig = rig_in(phase)
    assert rig.one(rig.release_command()).ok
    assert rig.group.phase is Phase.VACANT
    assert (rig.group.last_end, rig.group.last_holder, rig.group.lease) == (LeaseInput.RELEASE, A, None)
    assert rig.group.sites[A].quarantine == {}
    assert (rig.group.successor is None) == (phase is Phase.HELD)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group": GroupId("other")}, Reason.UNKNOWN_GROUP),
        ({"epoch": Epoch(1)}, Reason.NOT_HOLDER),
        ({"site": B}, Reason.NOT_HOLDER),
        ({"incarnation": Incarnation(token("i2"))}, Reason.WRONG_INCARNATION),
        ({"claim": Claim(token("other"))}, Reason.WRONG_CLAIM),
    ],
)
def test_a_release_must_be_all_the_holders(changes, reason):
    rig = rig_in(Phase.HELD)
    assert rig.unchanged(rig.release_command(**changes)).reason is reason


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (Phase.BARRED, Reason.NOT_HOLDER),
        (Phase.VACANT, Reason.NOT_HOLDER),
        (Phase.GRANTED, Reason.NOT_CLAIMED),
    ],
)
def test_nothing_is_released_that_is_not_held(phase, reason):
    rig = rig_in(phase)
    assert rig.unchanged(rig.release_command()).reason is reason


def test_a_failed_activation_is_quarantined_until_its_back_off():
    rig = rig_in(Phase.HELD)
    assert rig.one(rig.release_command(kind=ReleaseKind.ACTIVATION_FAILED, text="step 2 failed")).ok
    assert rig.group.sites[A].quarantine[QuarantineCause.ACTIVATION_FAILED].text == "step 2 failed"
    assert rig.changes.failed == [(G, A)]
    assert rig.kinds() == ["released", "quarantined"]


# -- revoke -----------------------------------------------------------------------------------------------


def test_a_revoke_begins_a_handover_and_never_vacates():
    rig = rig_in(Phase.HELD)
    assert rig.one(rig.revoke_command()).ok
    assert rig.group.phase is Phase.REVOKING
    assert rig.lease.revocation.successor == B
    assert rig.changes.moved == set()
    assert rig.beat(A, epoch=2, claim=token("claim")).renewal == 2


def test_an_automatic_revoke_counts_as_a_move():
    rig = rig_in(Phase.HELD)
    assert rig.one(rig.revoke_command(reason=Reason.HOLDER_UNFIT)).ok
    assert rig.changes.moved == {G}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"group": GroupId("other")}, Reason.UNKNOWN_GROUP),
        ({"to": C}, Reason.UNKNOWN_SITE),
        ({"to": A}, Reason.ALREADY_THERE),
        ({"epoch": Epoch(1)}, Reason.EPOCH_CONFLICT),
    ],
)
def test_a_revoke_is_compare_and_set(changes, reason):
    rig = rig_in(Phase.HELD)
    assert rig.unchanged(rig.revoke_command(**changes)).reason is reason


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        (Phase.BARRED, Reason.NOT_HOLDER),
        (Phase.VACANT, Reason.NOT_HOLDER),
        (Phase.GRANTED, Reason.NOT_CLAIMED),
        (Phase.REVOKING, Reason.ALREADY_REVOKED),
        (Phase.OVERDUE, Reason.ALREADY_REVOKED),
    ],
)
def test_only_a_held_lease_is_revoked(phase, reason):
    rig = rig_in(phase)
    assert rig.unchanged(rig.revoke_command()).reason is reason


def test_a_revoke_needs_a_successor_that_may_be_granted():
    rig = rig_in(Phase.HELD)
    rig.one(SetMaintenance(G, B, True, AUTHOR))
    assert rig.unchanged(rig.revoke_command()).reason is Reason.IN_MAINTENANCE
    rig.one(SetMaintenance(G, B, False, AUTHOR))
    rig.one(SetQuarantine(G, B, True, (), AUTHOR))
    assert rig.unchanged(rig.revoke_command()).reason is Reason.QUARANTINED
    rig.one(SetQuarantine(G, B, False, (), AUTHOR))
    rig.one(SetMode(G, Mode.PAUSED, AUTHOR))
    assert rig.unchanged(rig.revoke_command()).reason is Reason.MODE_FORBIDS


# -- votes ------------------------------------------------------------------------------------------------


def test_a_minority_expires_nothing_and_the_same_witness_twice_is_one():
    rig = rig_in(Phase.HELD)
    assert rig.vote(W[0], epoch=2, number=1).ok
    assert rig.vote(W[0], epoch=2, number=1).ok
    assert (rig.group.phase, rig.lease.votes) == (Phase.HELD, {W[0]})
    assert rig.vote(W[2], epoch=2, number=1).ok
    assert rig.group.phase is Phase.VACANT
    assert rig.kinds() == ["expired", "quarantined"]
    assert QuarantineCause.UNCLEAN_END in rig.group.sites[A].quarantine


def test_both_votes_may_come_in_one_command_of_one_witness_and_count_once():
    rig = rig_in(Phase.HELD)
    vote = Vote(VoteKind.EXPIRY, G, Epoch(2), 1)
    assert rig.one(Votes(W[0], (vote, vote))).ok
    assert rig.group.phase is Phase.HELD


def test_a_renewal_makes_votes_stale_and_forgets_the_counted_ones():
    rig = rig_in(Phase.HELD)
    rig.vote(W[0], epoch=2, number=1)
    rig.beat(A, epoch=2, claim=token("claim"))
    assert rig.lease.votes == set()
    assert rig.unchanged(Votes(W[1], (Vote(VoteKind.EXPIRY, G, Epoch(2), 1),))).reason is Reason.STALE_VOTE
    assert rig.group.phase is Phase.HELD


@pytest.mark.parametrize(
    "vote",
    [
        Vote(VoteKind.EXPIRY, G, Epoch(2), 0),
        Vote(VoteKind.EXPIRY, G, Epoch(2), 2),
        Vote(VoteKind.EXPIRY, G, Epoch(1), 1),
        Vote(VoteKind.EXPIRY, G, Epoch(3), 1),
        Vote(VoteKind.EXPIRY, GroupId("other"), Epoch(2), 1),
        Vote(VoteKind.REVOKE_DUE, G, Epoch(2), 1),
        Vote(VoteKind.REVOKE_DUE, GroupId("other"), Epoch(2), 1),
    ],
)
def test_a_vote_counts_only_for_exactly_its_lease(vote):
    rig = rig_in(Phase.HELD)
    for witness in W:
        assert rig.unchanged(Votes(witness, (vote,))).reason is Reason.STALE_VOTE


def test_who_is_no_witness_does_not_vote():
    rig = rig_in(Phase.HELD)
    for name in ("w4", "dc-a"):
        command = Votes(replace_id(name), (Vote(VoteKind.EXPIRY, G, Epoch(2), 1),))
        assert rig.unchanged(command).reason is Reason.NOT_A_MEMBER


def replace_id(name):
    return type(W[0])(name)


def test_one_stale_vote_does_not_spoil_the_others():
    rig = rig_in(Phase.HELD)
    rig.vote(W[0], epoch=2, number=1)
    votes = (Vote(VoteKind.EXPIRY, G, Epoch(1), 0), Vote(VoteKind.EXPIRY, G, Epoch(2), 1))
    outcome = rig.one(Votes(W[1], votes))
    assert outcome.reason is Reason.STALE_VOTE
    assert "1 of 2" in outcome.detail
    assert rig.group.phase is Phase.VACANT


def test_an_unclaimed_grant_runs_out_without_a_quarantine():
    rig = rig_in(Phase.GRANTED)
    rig.expire()
    assert rig.group.sites[A].quarantine == {}
    assert rig.group.last_end is LeaseInput.EXPIRY


def test_the_bar_of_a_new_group_ends_by_votes_alone_and_names_no_holder():
    rig = rig_in(Phase.BARRED)
    rig.expire()
    assert (rig.group.last_end, rig.group.last_holder) == (None, None)
    assert rig.kinds() == ["unbarred"]


def test_a_voted_revoke_deadline_ends_renewals_and_still_does_not_vacate():
    rig = rig_in(Phase.REVOKING)
    rig.vote(W[0], epoch=2, number=1, kind=VoteKind.REVOKE_DUE)
    assert rig.group.phase is Phase.REVOKING
    rig.vote(W[1], epoch=2, number=1, kind=VoteKind.REVOKE_DUE)
    assert rig.group.phase is Phase.OVERDUE
    assert rig.beat(A, epoch=2, claim=token("claim")).reason is Reason.REVOKE_DUE
    assert rig.lease.renewal == 1
    rig.expire()
    assert rig.group.successor.site == B
    assert rig.group.successor.cause is Cause.HANDOVER


def test_a_revoke_deadline_of_another_number_is_stale():
    rig = rig_in(Phase.REVOKING)
    stale = Votes(W[0], (Vote(VoteKind.REVOKE_DUE, G, Epoch(2), 2),))
    assert rig.unchanged(stale).reason is Reason.STALE_VOTE


def test_constants_change_with_the_next_epoch_only():
    rig = rig_in(Phase.HELD)
    from proto.commands import ConfigureGroup

    before = rig.lease.constants
    longer = replace(before, ttl_ms=2_000)
    assert rig.one(ConfigureGroup(config(constants=longer), 1, AUTHOR)).ok
    assert rig.lease.constants == before
    assert rig.beat(A, epoch=2, claim=token("claim")).ttl_ms == 1_000
    rig.one(rig.release_command())
    rig.beat(A, said=report(epoch_bound=Epoch(2), finished_epoch=Epoch(2)))
    assert rig.one(rig.grant_command()).ok
    assert rig.lease.constants == longer
