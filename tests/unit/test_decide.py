"""The decision function: every reason with the situation that gives it, and the blockers that stood against."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, CONSTANTS, A, B, C, G, Rig, config, report, token

from proto.commands import Cause, SetMaintenance, SetMode, SetQuarantine
from proto.decisions import REASON_TEXT, DecisionKind, Reason, decision_words
from proto.groups import Failback, Mode
from proto.health import DataChecks, SiteState
from proto.messages import LAG_UNKNOWN_MS, ReleaseKind
from proto.units import NS_PER_MS, Epoch, InstantNs
from witness.core.backoff import backoff_left_ns
from witness.core.decide import blockers_of, decide, grant_cause, last_holder, revoke_cause
from witness.core.sight import GroupSight, heard_max_ns, speaks_now_ns
from witness.core.transitions import Phase

NOW = InstantNs(1_000_000 * NS_PER_MS)
CLAIM = token("claim")


class Scene:
    """A rig, what a witness saw of it, and the present."""

    def __init__(self, **changes) -> None:
        self.rig = Rig(config(**changes))
        self.sight = GroupSight(started=InstantNs(0))
        for site in self.rig.group.config.sites:
            self.rig.beat(site)
            self.sight.heard[site] = NOW

    @property
    def group(self):
        return self.rig.group

    def decide(self, now: int = NOW):
        return decide(self.group, self.sight, InstantNs(now))

    def active(self) -> Scene:
        self.rig.one(self.rig.grant_command())
        self.rig.beat(A, epoch=2, claim=CLAIM, said=report(state=SiteState.ACTIVE, epoch_bound=Epoch(2)))
        return self

    def blockers(self, site=A):
        return [blocker.reason for blocker in blockers_of(self.group, site, self.sight, NOW)]


def test_a_new_group_goes_to_the_preferred_site():
    decision = Scene().decide()
    assert (decision.kind, decision.reason, decision.site) == (DecisionKind.GRANT, Reason.FIRST_ACTIVATION, A)


def test_the_next_in_order_is_taken_and_the_passed_over_are_named():
    scene = Scene()
    scene.rig.beat(A, said=report(ready=False, blockers=("tcp refused",)))
    decision = scene.decide()
    assert (decision.kind, decision.site) == (DecisionKind.GRANT, B)
    assert [(one.site, one.reason, one.seen) for one in decision.blockers] == [(A, Reason.NOT_READY, "tcp refused")]


@pytest.mark.parametrize(("phase", "reason"), [(Phase.BARRED, Reason.BARRED_AFTER_CREATION)])
def test_a_barred_group_waits(phase, reason):
    rig = Rig(vacant=False)
    assert rig.group.phase is phase
    assert decide(rig.group, GroupSight(started=NOW), NOW).reason is reason


def test_a_granted_an_active_and_a_handed_over_group_are_left_alone():
    scene = Scene()
    scene.rig.one(scene.rig.grant_command())
    assert scene.decide().reason is Reason.GRANT_UNCLAIMED
    scene.rig.beat(A, epoch=2, claim=CLAIM)
    assert scene.decide().reason is Reason.HOLDER_ACTIVE
    scene.rig.one(scene.rig.revoke_command())
    assert scene.decide().reason is Reason.HANDOVER_RUNNING


def test_a_silent_holder_is_waited_out():
    scene = Scene().active()
    silent = NOW + heard_max_ns(scene.group) + 1
    decision = scene.decide(silent)
    assert decision.reason is Reason.WAITING_FOR_EXPIRY
    assert decision.retry_in_ns is not None, "it may speak again, with an unchanged report"


def test_after_an_expiry_the_other_site_takes_over():
    scene = Scene().active()
    scene.rig.expire()
    assert scene.decide().kind is DecisionKind.NOTHING, "while it speaks and says that it is active, nobody takes over"
    scene.sight.heard[A] = InstantNs(NOW - speaks_now_ns(scene.group) - 1)
    decision = scene.decide()
    assert (decision.kind, decision.reason, decision.site) == (DecisionKind.GRANT, Reason.HOLDER_EXPIRED, B)
    assert {one.reason for one in decision.blockers} == {Reason.NOT_VERIFIED_DOWN, Reason.QUARANTINED}
    assert grant_cause(scene.group, B) is Cause.TAKEOVER


@pytest.mark.parametrize(
    "said", [report(state=SiteState.FENCING), report(state=SiteState.UNKNOWN), report(enforce=False)]
)
def test_a_site_that_speaks_and_is_not_down_keeps_the_other_from_starting_unless_somebody_vouches(said):
    scene = Scene()
    scene.rig.beat(A, said=said)
    decision = scene.decide()
    assert decision.kind is DecisionKind.NOTHING
    assert Reason.OTHER_SITE_NOT_DOWN in {one.reason for one in decision.blockers if one.site == B}
    scene.group.sites[A].maintenance = True
    assert (scene.decide().kind, scene.decide().site) == (DecisionKind.GRANT, B)


def test_after_a_release_the_preferred_site_may_go_on():
    scene = Scene().active()
    scene.rig.one(scene.rig.release_command())
    scene.rig.beat(A)
    decision = scene.decide()
    assert (decision.kind, decision.reason, decision.site) == (DecisionKind.GRANT, Reason.HOLDER_RELEASED, A)


def test_a_successor_comes_first_with_the_reason_of_its_handover():
    scene = Scene().active()
    scene.rig.one(scene.rig.revoke_command())
    scene.rig.one(scene.rig.release_command())
    scene.rig.beat(A)
    decision = scene.decide()
    assert (decision.site, decision.reason) == (B, Reason.OPERATOR_ASKED)
    assert grant_cause(scene.group, B) is Cause.HANDOVER
    assert grant_cause(scene.group, A) is Cause.TAKEOVER


# -- blockers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (report(enforce=False), Reason.NOT_ENFORCING),
        (report(state=SiteState.DEACTIVATING), Reason.NOT_VERIFIED_DOWN),
        (report(ready=False), Reason.NOT_READY),
    ],
)
def test_a_report_blocks(said, reason):
    scene = Scene()
    scene.rig.beat(A, said=said)
    assert scene.blockers() == [reason]


def test_who_is_not_heard_is_blocked_by_that_alone():
    scene = Scene()
    del scene.sight.heard[A]
    assert scene.blockers() == [Reason.NOT_HEARD]
    scene.sight.heard[A] = InstantNs(NOW - heard_max_ns(scene.group))
    assert scene.blockers() == []
    scene.sight.heard[A] = InstantNs(NOW - heard_max_ns(scene.group) - 1)
    found = blockers_of(scene.group, A, scene.sight, NOW)
    assert [one.seen for one in found] == ["last 1.2 s ago"]


def test_operators_block():
    scene = Scene()
    scene.rig.one(SetMaintenance(G, A, True, AUTHOR))
    scene.rig.one(SetQuarantine(G, A, True, (), AUTHOR))
    scene.group.sites[A].carried = False
    assert scene.blockers() == [Reason.IN_MAINTENANCE, Reason.QUARANTINED, Reason.CONFIG_NOT_CARRIED]


@pytest.mark.parametrize(
    ("lag_ms", "reason"), [(LAG_UNKNOWN_MS, Reason.LAG_UNKNOWN), (1_001, Reason.LAG_TOO_HIGH), (1_000, None)]
)
def test_lag_blocks_all_but_the_last_holder(lag_ms, reason):
    scene = Scene(max_replication_lag_ms=1_000)
    scene.group.sites[A].lag_ms = lag_ms
    assert scene.blockers() == ([] if reason is None else [reason])
    scene.group.last_holder = A
    assert scene.blockers() == []


@pytest.mark.parametrize(
    ("finished", "last"),
    [((3, 2), A), ((2, 3), B), ((3, 3), None), ((0, 0), None), ((3, None), None), ((None, None), None)],
)
def test_after_a_restore_the_last_holder_is_whoever_finished_the_newest_epoch_if_all_have_said(finished, last):
    """Its own lag is never known, since it was the one that others replicate from."""
    scene = Scene(max_replication_lag_ms=1_000)
    for site, epoch in zip((A, B), finished, strict=True):
        record = scene.group.sites[site]
        record.report = None if epoch is None else report(finished_epoch=Epoch(epoch))
    assert last_holder(scene.group) == last


def test_without_a_candidate_everything_that_blocks_is_listed():
    scene = Scene()
    for site in (A, B):
        scene.rig.one(SetMaintenance(G, site, True, AUTHOR))
    decision = scene.decide()
    assert (decision.kind, decision.reason) == (DecisionKind.NOTHING, Reason.NO_CANDIDATE)
    assert [one.site for one in decision.blockers] == [A, B]
    words = decision_words(decision)
    assert all(REASON_TEXT[reason] in words for reason in (Reason.NO_CANDIDATE, Reason.IN_MAINTENANCE))


# -- quarantine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "cleared"),
    [
        (report(finished_epoch=Epoch(2), data_checks=DataChecks.NONE), True),
        (report(finished_epoch=Epoch(1), data_checks=DataChecks.NONE), False),
        (report(finished_epoch=Epoch(2), data_checks=DataChecks.FAILED), False),
        (report(finished_epoch=Epoch(2), data_checks=DataChecks.NONE, ready=False), False),
    ],
)
def test_the_last_resort_is_a_proven_site_with_nothing_failing(said, cleared):
    scene = Scene().active()
    scene.rig.expire()
    scene.rig.one(SetMaintenance(G, B, True, AUTHOR))
    scene.rig.beat(A, said=replace(said, epoch_bound=Epoch(2)))
    decision = scene.decide()
    expected = (
        (DecisionKind.CLEAR_QUARANTINE, Reason.LAST_RESORT, A)
        if cleared
        else (
            DecisionKind.NOTHING,
            Reason.NO_CANDIDATE,
            None,
        )
    )
    assert (decision.kind, decision.reason, decision.site) == expected


def test_the_last_resort_does_not_touch_an_operators_quarantine():
    scene = Scene().active()
    scene.rig.expire()
    scene.rig.one(SetMaintenance(G, B, True, AUTHOR))
    scene.rig.one(SetQuarantine(G, A, True, (), AUTHOR))
    scene.rig.beat(A, said=report(finished_epoch=Epoch(2), data_checks=DataChecks.NONE))
    assert scene.decide().reason is Reason.NO_CANDIDATE


def test_a_failed_activation_is_forgiven_after_its_back_off_counted_in_full():
    scene = Scene(activation_backoff_ms=5_000).active()
    scene.rig.one(scene.rig.release_command(kind=ReleaseKind.ACTIVATION_FAILED))
    assert scene.decide().reason is Reason.HOLDER_RELEASED
    assert backoff_left_ns(scene.group, scene.sight, NOW) == 5_000 * NS_PER_MS
    before = scene.decide(NOW + 5_000 * NS_PER_MS - 1)
    assert before.kind is not DecisionKind.CLEAR_QUARANTINE
    after = scene.decide(NOW + 5_000 * NS_PER_MS)
    assert (after.kind, after.reason, after.site) == (DecisionKind.CLEAR_QUARANTINE, Reason.BACKOFF_OVER, A)


# -- moves away from a running site -----------------------------------------------------------------------


def unfit() -> Scene:
    scene = Scene(unhealthy_for_ms=2_000, cooldown_ms=0).active()
    scene.rig.beat(A, epoch=2, claim=CLAIM, said=report(state=SiteState.ACTIVE, healthy=False))
    scene.sight.unfit_since = InstantNs(NOW - 2_000 * NS_PER_MS)
    return scene


def test_an_unfit_site_hands_over_after_its_time():
    scene = unfit()
    early = scene.decide(NOW - 1)
    assert (early.kind, early.reason, early.retry_in_ns) == (DecisionKind.NOTHING, Reason.HOLDER_UNFIT, 1)
    decision = scene.decide()
    assert (decision.kind, decision.reason, decision.site) == (DecisionKind.REVOKE, Reason.HOLDER_UNFIT, B)
    assert revoke_cause(decision.reason) is Cause.HANDOVER


def test_an_unfit_site_without_an_heir_goes_on_and_is_looked_at_again():
    scene = unfit()
    scene.rig.beat(B, said=report(ready=False))
    decision = scene.decide()
    assert (decision.reason, [one.site for one in decision.blockers]) == (Reason.NO_CANDIDATE, [B])
    assert decision.retry_in_ns is not None


def test_a_third_site_is_the_heir_when_the_second_is_not():
    scene = Scene(unhealthy_for_ms=0, cooldown_ms=0, sites=(A, B, C)).active()
    scene.rig.beat(B, said=report(ready=False))
    scene.sight.unfit_since = NOW
    assert scene.decide().site == C


def test_failback_is_due_when_the_preferred_site_was_fit_for_long_enough():
    scene = Scene(sites=(B, A), failback=Failback.AUTOMATIC, failback_after_ms=3_000, cooldown_ms=0).active()
    assert scene.decide().reason is Reason.HOLDER_ACTIVE
    scene.sight.preferred_fit_since = InstantNs(NOW - 3_000 * NS_PER_MS)
    early = scene.decide(NOW - 1)
    assert (early.reason, early.retry_in_ns) == (Reason.HOLDER_ACTIVE, 1)
    decision = scene.decide()
    assert (decision.kind, decision.reason, decision.site) == (DecisionKind.REVOKE, Reason.FAILBACK_DUE, B)
    assert revoke_cause(decision.reason) is Cause.FAILBACK


@pytest.mark.parametrize("hindrance", ["manual", "blocked", "activating"])
def test_no_failback(hindrance):
    wanted = Failback.MANUAL if hindrance == "manual" else Failback.AUTOMATIC
    scene = Scene(sites=(B, A), failback=wanted, failback_after_ms=0, cooldown_ms=0).active()
    scene.sight.preferred_fit_since = InstantNs(1)
    if hindrance == "blocked":
        del scene.sight.heard[B]
    if hindrance == "activating":
        scene.rig.beat(A, epoch=2, claim=CLAIM, said=report(state=SiteState.ACTIVATING))
    decision = scene.decide()
    assert (decision.kind, decision.reason) == (DecisionKind.NOTHING, Reason.HOLDER_ACTIVE)
    assert (decision.retry_in_ns is not None) is (hindrance == "blocked")


def test_a_cooldown_holds_back_and_counts_down():
    scene = unfit()
    scene.group.config = replace(scene.group.config, cooldown_ms=10_000)
    scene.sight.moves.append(InstantNs(NOW - 4_000 * NS_PER_MS))
    decision = scene.decide()
    assert (decision.reason, decision.would) == (Reason.COOLDOWN, DecisionKind.REVOKE)
    assert decision.retry_in_ns == 6_000 * NS_PER_MS


def test_a_restarted_witness_starts_the_cooldown_in_full():
    scene = unfit()
    scene.group.config = replace(scene.group.config, cooldown_ms=10_000)
    scene.sight.started = NOW
    assert scene.decide().retry_in_ns == 10_000 * NS_PER_MS


def test_too_many_moves_in_the_window_stop_until_it_has_passed():
    scene = unfit()
    scene.group.config = replace(scene.group.config, moves_max=2, moves_window_ms=60_000)
    scene.sight.moves.extend(InstantNs(NOW - ago * NS_PER_MS) for ago in (70_000, 50_000, 10_000))
    decision = scene.decide()
    assert (decision.reason, decision.retry_in_ns) == (Reason.MOVES_EXHAUSTED, 10_000 * NS_PER_MS)
    over = InstantNs(NOW + 10_001 * NS_PER_MS)
    scene.sight.heard = dict.fromkeys((A, B), over)
    assert scene.decide(over).kind is DecisionKind.REVOKE


def test_a_cooldown_never_blocks_recovery():
    scene = Scene(cooldown_ms=60_000, moves_max=1).active()
    scene.sight.moves.append(NOW)
    scene.rig.expire()
    del scene.sight.heard[A]
    assert scene.decide().kind is DecisionKind.GRANT


# -- modes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (Mode.MANUAL, Reason.MODE_MANUAL),
        (Mode.PAUSED, Reason.MODE_PAUSED),
        (Mode.OBSERVE, Reason.MODE_OBSERVE),
    ],
)
def test_other_modes_say_what_automatic_would_do(mode, reason):
    scene = Scene()
    scene.rig.one(SetMode(G, mode, AUTHOR))
    decision = scene.decide()
    assert (decision.kind, decision.reason, decision.would) == (DecisionKind.NOTHING, reason, DecisionKind.GRANT)
    assert "automatic mode would" in decision_words(decision)


def test_in_manual_a_handover_that_an_operator_began_is_finished():
    scene = Scene().active()
    scene.rig.one(SetMode(G, Mode.MANUAL, AUTHOR))
    scene.rig.one(scene.rig.revoke_command())
    scene.rig.one(scene.rig.release_command())
    assert (scene.decide().kind, scene.decide().site) == (DecisionKind.GRANT, B)


def test_every_reason_has_words():
    assert set(REASON_TEXT) == set(Reason)
    assert Scene().group.config.constants == CONSTANTS
