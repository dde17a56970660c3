"""A heartbeat at apply: who counts as the speaker, what is taken in, what is claimed or renewed."""

from __future__ import annotations

import pytest
from core_rig import A, B, G, Rig, entry, frame, report, token

from proto import codec
from proto.commands import HeartbeatFrame, QuarantineCause
from proto.decisions import Reason
from proto.health import DataChecks, SiteState
from proto.messages import LAG_UNKNOWN_MS, Ping, RevokePhase, Verdict
from proto.units import Epoch, GroupId, Nonce
from witness.core.transitions import Phase

CLAIM = token("claim")


def test_what_is_no_heartbeat_is_refused_and_changes_nothing():
    rig = Rig()
    for data in (b"", b"\xc1", codec.AGENT_MESSAGES.encode(Ping(Nonce(token("n"))))):
        assert rig.unchanged(HeartbeatFrame(data)).reason is Reason.MALFORMED


def test_an_unread_report_of_one_group_refuses_that_group_alone():
    rig = Rig()
    outcome = rig.one(frame(A, entry(said=b"rubbish"), entry(GroupId("other"))))
    assert [answer.reason for answer in outcome.answers] == [Reason.MALFORMED, Reason.UNKNOWN_GROUP]
    assert rig.group.sites[A].report is None


def test_a_site_outside_of_the_group_is_told_so():
    answer = Rig().one(frame(type(A)("dc-z"), entry())).answers[0]
    assert (answer.verdict, answer.reason) == (Verdict.UNKNOWN_GROUP, Reason.UNKNOWN_GROUP)


# -- the speaker ------------------------------------------------------------------------------------------


def test_an_older_heartbeat_of_the_same_incarnation_is_stale():
    rig = Rig()
    rig.hold()
    renewal = rig.lease.renewal
    for seq in (1, 0):
        answer = rig.beat(A, seq=seq, epoch=2, claim=CLAIM)
        assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.STALE_HEARTBEAT)
    assert rig.lease.renewal == renewal


def test_a_new_incarnation_takes_over_and_the_old_one_is_told_and_alarmed_once():
    rig = Rig()
    rig.beat(A)
    rig.beat(A, incarnation="i2")
    assert "site-restarted" in rig.kinds()
    for expected in (["second-agent"], []):
        assert rig.beat(A, incarnation="i1").reason is Reason.INCARNATION_SUPERSEDED
        assert rig.kinds() == expected


def test_a_restart_neither_vacates_nor_inherits():
    rig = Rig()
    rig.hold()
    answer = rig.beat(A, incarnation="i2")
    assert (answer.verdict, answer.reason) == (Verdict.DORMANT, Reason.HELD_BY_OTHER_INCARNATION)
    assert rig.beat(A, incarnation="i2", epoch=2, claim=CLAIM).reason is Reason.WRONG_INCARNATION
    assert (rig.group.phase, rig.lease.renewal) == (Phase.HELD, 1)


# -- the lease --------------------------------------------------------------------------------------------


def test_a_granted_site_is_told_and_the_first_claim_wins():
    rig = Rig()
    rig.beat(A)
    rig.beat(B)
    rig.one(rig.grant_command())
    told = rig.beat(A)
    assert (told.verdict, told.epoch, told.renewal) == (Verdict.GRANTED, 2, 0)
    claimed = rig.beat(A, epoch=2, claim=CLAIM)
    assert (claimed.verdict, claimed.epoch, claimed.renewal) == (Verdict.RENEWED, 2, 1)
    assert rig.kinds() == ["claimed"]
    other = rig.beat(A, epoch=2, claim=token("second"))
    assert (other.verdict, other.reason, rig.kinds()) == (
        Verdict.REFUSED,
        Reason.WRONG_CLAIM,
        ["claim-clash"],
    )
    assert rig.beat(A, epoch=2, claim=token("second")).reason is Reason.WRONG_CLAIM
    assert rig.kinds() == []
    assert rig.lease.renewal == 1


def test_renewals_are_numbered_and_restart_timers():
    rig = Rig()
    rig.hold()
    for expected in (2, 3, 4):
        answer = rig.beat(A, epoch=2, claim=CLAIM)
        assert (answer.verdict, answer.renewal) == (Verdict.RENEWED, expected)
        assert rig.changes.counted == {G}


@pytest.mark.parametrize(("site", "epoch"), [(B, 2), (A, 1), (A, 3)])
def test_who_does_not_hold_that_epoch_renews_nothing(site, epoch):
    rig = Rig()
    rig.hold()
    answer = rig.beat(site, epoch=epoch, claim=CLAIM)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.NOT_HOLDER)
    assert rig.lease.renewal == 1
    assert rig.changes.counted == set()


def test_an_epoch_that_ended_is_renewed_by_nobody():
    rig = Rig()
    rig.hold()
    rig.expire()
    assert rig.beat(A, epoch=2, claim=CLAIM).reason is Reason.NOT_HOLDER
    assert rig.group.phase is Phase.VACANT


def test_a_handover_is_told_with_every_renewal():
    rig = Rig()
    rig.hold()
    assert rig.beat(A, epoch=2, claim=CLAIM).revoke is RevokePhase.NONE
    rig.one(rig.revoke_command())
    assert rig.beat(A, epoch=2, claim=CLAIM).revoke is RevokePhase.REVOKING


def test_a_renewal_without_a_report_change_is_heard_but_wakes_no_decision():
    rig = Rig()
    rig.hold()
    said = report(state=SiteState.ACTIVE, epoch_bound=Epoch(2))
    rig.beat(A, epoch=2, claim=CLAIM, said=said)
    assert rig.changes.dirty == {G}
    rig.beat(A, epoch=2, claim=CLAIM, said=said)
    assert (rig.changes.dirty, rig.changes.heard) == (set(), [(A, [G], [G])])


# -- reports ----------------------------------------------------------------------------------------------


def test_the_last_known_lag_stays_when_it_is_unknown():
    rig = Rig()
    rig.beat(A, lag_ms=70)
    rig.beat(A, lag_ms=LAG_UNKNOWN_MS)
    assert rig.group.sites[A].lag_ms == 70


def test_another_store_is_quarantined():
    rig = Rig()
    rig.beat(A)
    rig.beat(A, incarnation="i2", said=report(store_id=token("other")))
    assert set(rig.group.sites[A].quarantine) == {QuarantineCause.STORE_CHANGED}
    assert "quarantined" in rig.kinds()


@pytest.mark.parametrize(
    ("said", "lifted"),
    [
        (report(finished_epoch=Epoch(2), epoch_bound=Epoch(2)), True),
        (report(finished_epoch=Epoch(1), epoch_bound=Epoch(2)), False),
        (report(finished_epoch=Epoch(2), epoch_bound=Epoch(2), data_checks=DataChecks.FAILED), False),
        (report(finished_epoch=Epoch(2), epoch_bound=Epoch(2), data_checks=DataChecks.NONE), False),
        (report(finished_epoch=Epoch(2), epoch_bound=Epoch(2), state=SiteState.FENCING), False),
    ],
)
def test_an_unclean_end_is_forgiven_on_proof_only(said, lifted):
    rig = Rig()
    rig.hold()
    rig.expire()
    rig.beat(A, said=said)
    assert (rig.group.sites[A].quarantine == {}) is lifted
    assert ("quarantine-cleared" in rig.kinds()) is lifted


def test_a_proof_that_was_given_before_the_end_lifts_the_quarantine_as_well():
    """The site was suspended for a moment, proved itself down, and has nothing new to say when its lease runs out."""
    rig = Rig()
    rig.hold()
    down = report(finished_epoch=Epoch(2), epoch_bound=Epoch(2))
    rig.beat(A, said=down)
    rig.expire()
    assert set(rig.group.sites[A].quarantine) == {QuarantineCause.UNCLEAN_END}
    rig.beat(A, said=down)
    assert rig.group.sites[A].quarantine == {}
    assert rig.kinds() == ["quarantine-cleared"]
    assert G in rig.last.changes.dirty


def test_states_are_told_when_they_change():
    rig = Rig()
    rig.beat(A)
    assert "site-state" in rig.kinds()
    rig.beat(A, said=report(state=SiteState.FENCED, blockers=("guard lost",)))
    assert rig.last.events[0].text == "standby -> fenced: guard lost"
    rig.beat(A, said=report(state=SiteState.FENCED, blockers=("guard lost",), ready=False))
    assert rig.kinds() == []
