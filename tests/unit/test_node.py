"""The witness node: what leads to a proposal, who may decide, what is resolved when, without any I/O."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, CLUSTER, A, B, G, W, config, entry, frame, report, token
from node_rig import CREATE, FOUND, NodeRig, vote_for

from proto import limits
from proto.clock import ManualClock
from proto.commands import (
    FoundCluster,
    Grant,
    HeartbeatFrame,
    Revoke,
    SetMode,
    SetQuarantine,
    Votes,
)
from proto.decisions import DecisionKind, Reason
from proto.groups import Mode
from proto.health import DataChecks, SiteState
from proto.invariants import InvariantViolation
from proto.lease import witness_wait
from proto.messages import NoticeKind, Verdict
from proto.units import NS_PER_MS, Epoch, InstantNs, WallMs, WitnessId
from witness.core.effects import Outcome
from witness.core.founding import WrongCluster
from witness.core.snapshot import ImageRefused
from witness.core.transitions import Phase
from witness.raft.port import SnapshotRefused
from witness.runtime.driver import Driver

# -- founding and group commit ----------------------------------------------------------------------------


def test_a_leader_with_quorum_founds_the_cluster_once():
    rig = NodeRig()
    assert rig.commands() == [FOUND]
    rig.passes(3 * limits.PING_INTERVAL_NS)
    assert rig.commands().count(FOUND) == 1
    rig.commit_all()
    assert rig.node.machine.state.cluster == CLUSTER
    assert rig.resolved == {}


@pytest.mark.parametrize("place", [{"leading": False}, {"quorum": False}, {"caught_up": False}])
def test_only_a_caught_up_leader_with_quorum_decides(place):
    rig = NodeRig(**place).vacant().heard(A, B)
    assert [one for one in rig.commands() if isinstance(one, Grant)] == []
    rig.place()
    assert [one.site for one in rig.commands() if isinstance(one, Grant)] == [A]


def test_one_entry_is_in_flight_and_the_rest_waits_for_the_next():
    rig = NodeRig(leading=False)
    first = rig.node.submit(CREATE, InstantNs(rig.now))
    others = [rig.node.submit(CREATE, InstantNs(rig.now)) for _ in range(3)]
    rig.take()
    assert len(rig.proposed) == 1
    rig.commit(rig.proposed.pop())
    assert rig.resolved[first].ok
    assert len(rig.proposed) == 1
    rig.commit_all()
    assert [rig.resolved[one].reason for one in others] == [Reason.VERSION_CONFLICT] * 3


def test_a_lost_entry_is_not_waited_for_after_a_change_of_leader_and_resolves_when_it_turns_up():
    rig = NodeRig(leading=False)
    first = rig.node.submit(CREATE, InstantNs(rig.now))
    rig.take()
    lost = rig.proposed.pop()
    second = rig.node.submit(CREATE, InstantNs(rig.now))
    rig.place(leading=False, leader=W[1])
    assert len(rig.proposed) == 1
    rig.commit(rig.proposed.pop())
    rig.commit(lost)
    assert (rig.resolved[second].reason, rig.resolved[first].reason) == (Reason.OK, Reason.VERSION_CONFLICT)


@pytest.mark.parametrize("quorum", [True, False])
def test_what_was_proposed_and_not_seen_has_an_unknown_outcome(quorum):
    rig = NodeRig(leading=False, quorum=quorum)
    proposed = rig.node.submit(CREATE, InstantNs(rig.now))
    rig.take()
    rig.passes(limits.PROPOSAL_TIMEOUT_NS)
    assert rig.resolved[proposed].reason is Reason.OUTCOME_UNKNOWN


def test_what_never_left_without_a_quorum_was_certainly_not_done():
    rig = NodeRig(leading=False, quorum=False)
    rig.node.submit(CREATE, InstantNs(rig.now))
    wordy = SetMode(G, Mode.MANUAL, replace(AUTHOR, reason="x" * 500))
    waiting = [rig.node.submit(wordy, InstantNs(rig.now)) for _ in range(limits.COMMANDS_PENDING_MAX)]
    rig.take()
    rig.passes(limits.PROPOSAL_TIMEOUT_NS)
    assert rig.resolved[waiting[-1]].reason is Reason.NO_QUORUM


def test_time_does_not_go_back():
    rig = NodeRig()
    with pytest.raises(InvariantViolation):
        rig.node.tick(InstantNs(rig.now - 1), WallMs(1))


# -- heartbeats -------------------------------------------------------------------------------------------


def test_a_heartbeat_is_answered_from_the_very_entry_that_was_committed():
    rig = NodeRig(leading=False).vacant()
    request = rig.node.heartbeat(frame(A, entry()).frame, InstantNs(rig.now))
    rig.take()
    assert request not in rig.resolved
    rig.commit_all()
    answers = rig.resolved[request].answers
    assert [(answer.group, answer.verdict) for answer in answers] == [(G, Verdict.DORMANT)]


def test_without_a_leader_nothing_is_proposed_and_a_heartbeat_can_be_taken_back():
    """Or the last word of an agent that ended comes after the first one of the agent that follows it."""
    rig = NodeRig(leading=False).vacant()
    seen = rig.node.consensus
    known = {"leading": False, "has_quorum": False, "caught_up": seen.caught_up, "now": InstantNs(rig.now)}
    rig.node.consensus_changed(leader=None, **known)
    rig.take()
    gone = rig.node.heartbeat(frame(A, entry()).frame, InstantNs(rig.now))
    stays = rig.node.heartbeat(frame(B, entry()).frame, InstantNs(rig.now))
    assert rig.node.withdraw(gone)
    rig.take()
    rig.commit_all()
    assert rig.resolved == {}
    rig.node.consensus_changed(leader=WitnessId("w2"), **known)
    rig.take()
    rig.commit_all()
    assert list(rig.resolved) == [stays]


def test_the_same_entry_by_another_witness_resolves_nothing_here():
    rig = NodeRig(leading=False).vacant().heard(A)
    assert rig.resolved == {}


# -- decisions --------------------------------------------------------------------------------------------


def test_a_vacant_group_is_granted_as_soon_as_a_site_is_heard():
    rig = NodeRig().vacant().heard(A)
    grants = [one for one in rig.commands() if isinstance(one, Grant)]
    assert [(one.site, one.epoch, one.expected_epoch, one.reason) for one in grants] == [
        (A, 2, 1, Reason.FIRST_ACTIVATION)
    ]
    rig.commit_all()
    assert rig.group.phase is Phase.GRANTED
    assert [(one.site, one.notice.kind) for one in rig.pushed if one.notice.kind is NoticeKind.GRANTED] == [
        (A, NoticeKind.GRANTED)
    ]


def test_what_was_replayed_makes_nobody_fresh():
    rig = NodeRig().vacant().heard(A, B, age_ns=None)
    assert [one for one in rig.commands() if isinstance(one, Grant)] == []
    rig.heard(A, age_ns=limits.FRESH_AGE_MAX_NS + 1, seq=2)
    assert [one for one in rig.commands() if isinstance(one, Grant)] == []
    rig.heard(A, age_ns=limits.FRESH_AGE_MAX_NS, seq=3)
    assert len([one for one in rig.commands() if isinstance(one, Grant)]) == 1


def test_a_decision_under_way_is_not_proposed_twice():
    rig = NodeRig().vacant().heard(A)
    for seq in range(2, 8):
        rig.heard(A, B, seq=seq)
        rig.passes(20 * NS_PER_MS)
    assert len([one for one in rig.commands() if isinstance(one, Grant)]) == 1


def test_a_new_leader_decides_with_what_it_saw_as_a_follower():
    rig = NodeRig(leading=False).vacant().heard(A, B)
    rig.place()
    assert [one.site for one in rig.commands() if isinstance(one, Grant)] == [A]


def test_a_refused_decision_is_taken_again_on_the_new_state():
    rig = NodeRig().vacant().heard(A, B)
    stale = rig.proposed.pop()
    rig.foreign(SetMode(G, Mode.PAUSED, AUTHOR))
    rig.commit(stale)
    assert rig.group.phase is Phase.VACANT
    rig.foreign(SetMode(G, Mode.AUTOMATIC, AUTHOR))
    assert [one.site for one in rig.commands() if isinstance(one, Grant)] == [A]


def hold(rig: NodeRig, **said) -> None:
    rig.heard(A, B)
    rig.commit_all()
    said_now = report(state=SiteState.ACTIVE, epoch_bound=Epoch(2), **said)
    rig.foreign(frame(A, entry(epoch=2, claim=token("claim"), said=said_now), seq=50))
    assert rig.group.phase is Phase.HELD


def test_an_unfit_site_is_handed_over_after_its_time():
    rig = NodeRig()
    rig.foreign(FOUND, replace(CREATE, config=config(unhealthy_for_ms=500, cooldown_ms=0)))
    for witness in W[1:]:
        rig.foreign(Votes(witness, (vote_for(Epoch(1), 0),)))
    rig.proposed.clear()
    rig.node.proposal_refused(InstantNs(rig.now))
    hold(rig, healthy=False)
    rig.passes(499 * NS_PER_MS)
    assert [one for one in rig.commands() if isinstance(one, Revoke)] == []
    rig.passes(60 * NS_PER_MS)
    assert [one.successor for one in rig.commands() if isinstance(one, Revoke)] == [B]


def test_the_last_resort_is_proposed_and_then_granted():
    rig = NodeRig().vacant()
    hold(rig)
    for witness in W[1:]:
        rig.foreign(Votes(witness, (vote_for(Epoch(2), 1),)))
    rig.proposed.clear()
    rig.node.proposal_refused(InstantNs(rig.now))
    rig.place(leading=False, leader=W[1])
    rig.foreign(frame(B, entry(said=report(ready=False)), seq=60))
    down = report(finished_epoch=Epoch(2), epoch_bound=Epoch(2), data_checks=DataChecks.NONE)
    rig.foreign(frame(A, entry(said=down), seq=60))
    rig.place()
    assert any(isinstance(one, SetQuarantine) for one in rig.commands())
    rig.commit_all()
    assert (rig.group.phase, rig.group.lease.site) == (Phase.GRANTED, A)


# -- votes ------------------------------------------------------------------------------------------------


def test_every_witness_votes_after_its_own_wait_leader_or_not():
    for leading in (True, False):
        rig = NodeRig(leading=leading, quorum=leading)
        rig.foreign(FOUND, CREATE)
        rig.proposed.clear()
        rig.node.proposal_refused(InstantNs(rig.now))
        wait = witness_wait(config().constants)
        rig.passes(wait - 1)
        assert [one for one in rig.commands() if isinstance(one, Votes)] == []
        rig.passes(limits.TIMER_WAKE_NS)
        assert [one.votes for one in rig.commands() if isinstance(one, Votes)] == [(vote_for(Epoch(1), 0),)]


def test_a_restored_node_starts_every_timer_in_full_and_knows_nobody():
    rig = NodeRig().vacant().heard(A, B)
    rig.commit_all()
    rig.passes(900 * NS_PER_MS)
    fresh = NodeRig(leading=False)
    fresh.node.restore(rig.node.snapshot(), InstantNs(fresh.now))
    fresh.take()
    assert fresh.recorded > 0
    wait = witness_wait(config().constants)
    fresh.passes(wait - 1)
    assert [one for one in fresh.commands() if isinstance(one, Votes)] == []
    fresh.passes(limits.TIMER_WAKE_NS)
    assert [one for one in fresh.commands() if isinstance(one, Votes)] != []


def test_after_an_image_nobody_counts_as_heard():
    rig = NodeRig().vacant().heard(A, B)
    assert rig.node.sight(G, InstantNs(rig.now)).heard != {}
    rig.node.restore(rig.node.snapshot(), InstantNs(rig.now))
    assert rig.node.sight(G, InstantNs(rig.now)).heard == {}


def test_armed_timers_are_woken_often_enough_to_count():
    rig = NodeRig(leading=False)
    rig.foreign(FOUND, CREATE)
    assert rig.node.next_deadline() - rig.now <= limits.TIMER_WAKE_NS
    assert rig.node.armed() == 1


# -- identity, operators, reads ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [FoundCluster("d" * 32, W), FoundCluster(CLUSTER, W[:2])])
def test_a_log_of_another_cluster_ends_the_process(wrong):
    rig = NodeRig(leading=False)
    with pytest.raises(WrongCluster, match="configured for"):
        rig.foreign(wrong)


def test_a_bad_image_changes_nothing():
    rig = NodeRig().vacant()
    before = rig.node.machine.state_hash()
    with pytest.raises(ImageRefused):
        rig.node.restore(b"rubbish", InstantNs(rig.now))
    assert rig.node.machine.state_hash() == before


@pytest.mark.parametrize(("beyond", "taken"), [(-3, True), (0, True), (1, False), (2, False)])
def test_an_image_beyond_the_end_of_its_snapshot_is_refused(beyond, taken):
    """Entries without commands may follow its last one; but the one after the snapshot must not be applied twice."""
    given = NodeRig().vacant()
    last = given.node.machine.state.applied_index - beyond
    rig = NodeRig(leading=False)
    clock = ManualClock()
    driver = Driver(node=rig.node, clock=clock, fatal=_dies, shell=None)
    before = rig.node.machine.state_hash()
    if taken:
        driver.restore(given.node.snapshot(), last)
        assert rig.node.machine.state_hash() == given.node.machine.state_hash()
        rig.node.apply(last + 1, b"", None, clock.now())
    else:
        with pytest.raises(SnapshotRefused, match=f"ends at {last}"):
            driver.restore(given.node.snapshot(), last)
        assert rig.node.machine.state_hash() == before
        assert rig.node.take_effects() == []


def _dies(error):
    raise error


@pytest.mark.parametrize(
    ("group", "to", "reason", "why"),
    [
        ("other", A, "because", Reason.UNKNOWN_GROUP),
        (G, B, " ", Reason.REASON_REQUIRED),
        (G, "dc-z", "because", Reason.UNKNOWN_SITE),
        (G, A, "because", Reason.ALREADY_THERE),
    ],
)
def test_a_switchover_that_makes_no_sense_is_refused(group, to, reason, why):
    rig = NodeRig().vacant()
    hold(rig)
    planned = rig.node.plan_switchover(group, to, replace(AUTHOR, reason=reason), InstantNs(rig.now))
    assert isinstance(planned, Outcome)
    assert planned.reason is why


def test_a_switchover_is_a_revoke_of_a_running_site_and_a_grant_of_a_vacant_group():
    rig = NodeRig(leading=False).vacant().heard(A, B)
    planned = rig.node.plan_switchover(G, B, AUTHOR, InstantNs(rig.now))
    assert isinstance(planned, Grant)
    assert (planned.site, planned.reason) == (B, Reason.OPERATOR_ASKED)
    leading = NodeRig().vacant()
    hold(leading)
    planned = leading.node.plan_switchover(G, B, AUTHOR, InstantNs(leading.now))
    assert isinstance(planned, Revoke)
    assert planned.successor == B


def test_an_operator_does_not_override_safety_or_a_mode():
    rig = NodeRig(leading=False).vacant().heard(A)
    blocked = rig.node.plan_switchover(G, B, AUTHOR, InstantNs(rig.now))
    assert isinstance(blocked, Outcome)
    assert blocked.reason is Reason.NO_CANDIDATE
    rig.foreign(SetMode(G, Mode.PAUSED, AUTHOR))
    paused = rig.node.plan_switchover(G, A, AUTHOR, InstantNs(rig.now))
    assert isinstance(paused, Outcome)
    assert paused.reason is Reason.MODE_FORBIDS


def test_a_barred_group_says_that_one_lease_must_pass():
    rig = NodeRig(leading=False)
    rig.foreign(FOUND, CREATE)
    refused = rig.node.plan_switchover(G, A, AUTHOR, InstantNs(rig.now))
    assert isinstance(refused, Outcome)
    assert refused.reason is Reason.BARRED_AFTER_CREATION


def test_the_status_explains_itself():
    rig = NodeRig(leading=False).vacant().heard(A)
    status = rig.node.status(InstantNs(rig.now))
    group = status["groups"][0]
    assert (group["phase"], group["decision"]["kind"]) == ("vacant", DecisionKind.GRANT.value)
    sites = {site["site"]: site["heard_ms_ago"] for site in group["sites"]}
    assert sites == {A: 0, B: None}
    assert rig.node.group_status("other", InstantNs(rig.now)) is None
    assert isinstance(rig.node.events.recent(0, 5), list)
    assert HeartbeatFrame(b"").frame == b""
