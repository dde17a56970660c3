"""Clock rates as the replicated machine keeps them: by majorities, by each group's bound, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G, Rig, W, config, report, token

from proto.clock_rate import ClockState, RateBounds
from proto.commands import Cause, ClockReport, ConfigureGroup, RaiseFeatureLevel
from proto.decisions import DecisionKind, Reason, decision_words
from proto.groups import WitnessLoss
from proto.health import SiteState
from proto.holds import HoldMark
from proto.lease import LeaseConstants
from proto.messages import Verdict
from proto.units import Chain, Epoch, GroupId, Incarnation, InstantNs, SiteId, WitnessId
from witness.core import clock_rules, snapshot
from witness.core.decide import blockers_of, decide
from witness.core.operator_moves import plan_switchover
from witness.core.sight import GroupSight
from witness.core.transitions import Phase

SLOW = RateBounds(969_000, 970_000)
FAST = RateBounds(1_030_000, 1_031_000)
FIT = RateBounds(999_900, 1_000_100)
BLURRED = RateBounds(970_000, 1_010_000)
WORDS = "its clock runs at 0.970000 of the witnesses' at most, drift_max 1 % asks for 0.980198"
NOW = InstantNs(10**12)


def rig(**changes) -> Rig:
    made = Rig(config(**changes))
    assert made.one(RaiseFeatureLevel(2)).ok
    return made


def says(witness: WitnessId, bounds: RateBounds, site: SiteId = A, incarnation: str = "i1") -> ClockReport:
    return ClockReport(witness, site, Incarnation(token(incarnation)), bounds)


def measured(made: Rig, bounds: RateBounds, *witnesses: WitnessId, site: SiteId = A) -> None:
    for witness in witnesses or W[:2]:
        assert made.one(says(witness, bounds, site)).ok


def sight(made: Rig, *heard: SiteId) -> GroupSight:
    return GroupSight(started=InstantNs(0), heard=dict.fromkeys(heard or made.group.config.sites, NOW))


def renew(made: Rig, epoch: int, claim: str = "claim"):
    return made.beat(A, epoch=epoch, claim=token(claim), said=report(epoch_bound=Epoch(epoch), state=SiteState.ACTIVE))


# -- majorities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "state", "event"),
    [(SLOW, ClockState.TOO_SLOW, "clock-too-slow"), (FAST, ClockState.TOO_FAST, "clock-too-fast")],
)
def test_one_witness_changes_nothing_and_the_second_one_does(bounds, state, event):
    made = rig()
    made.beat(A)
    measured(made, bounds, W[0])
    assert made.group.sites[A].clock is None
    assert made.kinds() == []
    measured(made, bounds, W[0])
    assert made.group.sites[A].clock is None
    measured(made, bounds, W[2])
    assert made.group.sites[A].clock.state is state
    assert made.group.sites[A].clock.drift_max_ppm == 10_000
    assert made.kinds() == [event]
    assert G in made.changes.dirty
    assert made.last.events[0].text.endswith("(measured by w1, w3)")
    measured(made, bounds, W[1])
    assert made.kinds() == []


def test_the_event_has_both_numbers_and_the_bound_is_what_a_majority_vouches_for():
    made = rig()
    made.beat(A)
    measured(made, replace_most(900_000), W[0])
    measured(made, replace_most(970_000), W[1])
    assert made.last.events[0].text == f"{WORDS} (measured by w1, w2)"
    measured(made, replace_most(950_000), W[2])
    assert made.group.sites[A].clock.rate_ppm == 950_000


def replace_most(at_most_ppm: int) -> RateBounds:
    return RateBounds(800_000, at_most_ppm)


def test_one_slow_and_one_fast_word_are_no_majority():
    made = rig()
    made.beat(A)
    measured(made, SLOW, W[0])
    measured(made, FAST, W[1])
    assert made.group.sites[A].clock is None


def test_it_is_fit_again_only_when_a_majority_measured_it_so():
    made = rig()
    made.beat(A)
    measured(made, SLOW)
    measured(made, FIT, W[0])
    assert made.group.sites[A].clock is not None
    measured(made, BLURRED, W[1])
    assert made.group.sites[A].clock is not None
    measured(made, FIT, W[2])
    assert made.group.sites[A].clock is None
    assert made.kinds() == ["clock-fit"]
    assert made.machine.state.agents[A].clock == {}


def test_the_word_of_a_witness_that_is_away_makes_no_majority_with_a_later_one():
    made = rig()
    made.beat(A)
    measured(made, SLOW, W[0], W[1])
    measured(made, FIT, W[1], W[2])
    measured(made, SLOW, W[2])
    assert made.group.sites[A].clock is None


def test_a_new_incarnation_keeps_what_is_known_until_it_was_measured_anew():
    made = rig()
    made.beat(A)
    measured(made, SLOW)
    made.beat(A, incarnation="i2")
    assert clock_rules.too_slow(made.group.sites[A])
    assert made.unchanged(says(W[0], FIT)).reason is Reason.WRONG_INCARNATION
    for witness in W[1:]:
        assert made.one(says(witness, FIT, incarnation="i2")).ok
    assert made.group.sites[A].clock is None


def test_what_cannot_be_is_refused_and_changes_nothing():
    made = rig()
    made.beat(A)
    assert made.unchanged(says(WitnessId("w9"), SLOW)).reason is Reason.NOT_A_MEMBER
    assert made.unchanged(says(W[0], SLOW, C)).reason is Reason.UNKNOWN_SITE
    assert made.unchanged(says(W[0], RateBounds(2, 1))).reason is Reason.MALFORMED
    assert made.unchanged(says(W[0], RateBounds(0, 1 << 60))).reason is Reason.MALFORMED


def test_below_its_level_nothing_is_reported():
    made = Rig(config())
    made.beat(A)
    assert made.unchanged(says(W[0], SLOW)).reason is Reason.FEATURE_LEVEL


def test_it_is_in_the_snapshot_and_a_new_agent_record_has_nothing_of_it():
    made = rig()
    made.beat(A)
    measured(made, SLOW)
    state = snapshot.decode_image(made.machine.snapshot())
    assert state.groups[G].sites[A].clock == made.group.sites[A].clock
    assert state.agents[A].clock == {W[0]: SLOW, W[1]: SLOW}
    assert made.machine.state_hash() == snapshot.state_hash(state)


# -- each group's own bound ---------------------------------------------------------------------------------


def test_each_group_judges_by_its_own_bound():
    made = rig()
    wide = replace(config(), group=GroupId("wide"), constants=LeaseConstants(1_000, 50_000, 0))
    assert made.one(ConfigureGroup(wide, 0, AUTHOR)).ok
    made.beat(A)
    measured(made, SLOW)
    assert clock_rules.too_slow(made.group.sites[A])
    assert made.machine.state.groups[GroupId("wide")].sites[A].clock is None
    assert [(event.group, event.kind.value) for event in made.last.events] == [(G, "clock-too-slow")]


def test_a_group_that_is_made_later_knows_it_too():
    made = rig()
    made.beat(A)
    measured(made, SLOW)
    later = replace(config(), group=GroupId("later"))
    assert made.one(ConfigureGroup(later, 0, AUTHOR)).ok
    assert clock_rules.too_slow(made.machine.state.groups[GroupId("later")].sites[A])


def test_a_wider_bound_makes_it_fit_when_a_majority_s_figures_say_so():
    made = rig()
    made.beat(A)
    measured(made, SLOW)
    wide = config(constants=LeaseConstants(1_000, 50_000, 0))
    assert made.one(ConfigureGroup(wide, 1, AUTHOR)).ok
    assert made.group.sites[A].clock is None
    assert "clock-fit" in made.kinds()


def test_the_holder_is_judged_by_the_bound_of_its_lease_until_that_ends():
    made = rig()
    epoch = made.hold()
    wide = config(constants=LeaseConstants(1_000, 50_000, 0))
    assert made.one(ConfigureGroup(wide, 1, AUTHOR)).ok
    measured(made, SLOW)
    assert clock_rules.drift_of(made.group, A) == 10_000
    assert clock_rules.too_slow(made.group.sites[A])
    assert renew(made, epoch).verdict is Verdict.REFUSED
    assert made.one(made.release_command()).ok
    assert made.group.sites[A].clock is None


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bounds", "reason"), [(SLOW, Reason.CLOCK_TOO_SLOW), (FAST, Reason.CLOCK_TOO_FAST)])
def test_an_unfit_clock_is_granted_nothing_and_is_no_successor(bounds, reason):
    made = rig()
    for site in (A, B):
        made.beat(site)
    measured(made, bounds)
    assert made.unchanged(made.grant_command(A)).reason is reason
    assert [one.reason for one in blockers_of(made.group, A, sight(made), NOW)] == [reason]
    assert "drift_max 1 %" in blockers_of(made.group, A, sight(made), NOW)[0].seen
    assert made.one(made.grant_command(B)).ok
    made.beat(B, epoch=made.group.epoch, claim=token("b"), said=report(epoch_bound=made.group.epoch))
    refusal = made.unchanged(made.revoke_command(A))
    assert refusal.reason is reason
    planned = plan_switchover(made.group, sight(made), A, AUTHOR, NOW)
    assert planned.reason is Reason.NO_CANDIDATE
    assert "drift_max 1 %" in planned.detail


def test_a_holder_that_is_too_slow_is_refused_its_renewals_releases_and_the_other_site_is_granted():
    made = rig()
    epoch = made.hold()
    assert renew(made, epoch).verdict is Verdict.RENEWED
    measured(made, SLOW, W[0])
    assert renew(made, epoch).verdict is Verdict.RENEWED
    measured(made, SLOW, W[1])
    before = made.lease.renewal
    answer = renew(made, epoch)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.CLOCK_TOO_SLOW)
    assert made.lease.renewal == before
    assert made.one(made.release_command()).ok
    made.beat(A, said=report(epoch_bound=Epoch(epoch), finished_epoch=Epoch(epoch)))
    made.beat(B, said=report())
    decision = decide(made.group, sight(made), NOW)
    assert (decision.kind, decision.site) == (DecisionKind.GRANT, B)
    assert WORDS in decision_words(decision)


def test_a_grant_of_before_is_not_claimed_by_a_clock_that_is_too_slow():
    made = rig()
    for site in (A, B):
        made.beat(site)
    assert made.one(made.grant_command(A)).ok
    measured(made, SLOW)
    assert made.beat(A).verdict is Verdict.DORMANT
    answer = renew(made, made.group.epoch)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.CLOCK_TOO_SLOW)
    assert made.group.phase is Phase.GRANTED


def test_a_holder_that_is_too_fast_renews_and_is_handed_over():
    made = rig(cooldown_ms=0)
    epoch = made.hold()
    measured(made, FAST)
    assert renew(made, epoch).verdict is Verdict.RENEWED
    made.beat(B)
    decision = decide(made.group, sight(made), NOW)
    assert (decision.kind, decision.site, decision.reason) == (DecisionKind.REVOKE, B, Reason.CLOCK_TOO_FAST)
    measured(made, FAST, site=B)
    decision = decide(made.group, sight(made), NOW)
    assert (decision.kind, decision.reason) == (DecisionKind.NOTHING, Reason.NO_CANDIDATE)
    assert decision.retry_in_ns is not None


# -- beside holds -------------------------------------------------------------------------------------------


def held_on(clock: RateBounds) -> tuple[Rig, int]:
    """A's lease ran out while it goes on by holds; its clock was measured."""
    made = rig()
    hold = config(witness_loss=WitnessLoss.HOLD)
    assert made.one(ConfigureGroup(hold, 1, AUTHOR)).ok
    for site in (A, B):
        made.beat(site, said=report(group_version=2))
    assert made.one(made.grant_command(A)).ok
    epoch = made.group.epoch
    for state in (SiteState.STANDBY, SiteState.ACTIVE):
        said = report(group_version=2, epoch_bound=Epoch(epoch), state=state)
        made.beat(A, epoch=epoch, claim=token("claim"), said=said)
    made.expire()
    measured(made, clock)
    return made, epoch


def living(made: Rig, epoch: int):
    mark = HoldMark(Epoch(epoch), 3, Chain(b"k" * 16))
    said = report(group_version=2, epoch_bound=Epoch(epoch), state=SiteState.ACTIVE, holding=mark)
    return made.beat(A, epoch=epoch, claim=token("claim"), said=said)


def test_a_former_holder_that_is_too_slow_is_not_told_to_go_on_by_its_holds():
    made, epoch = held_on(SLOW)
    answer = living(made, epoch)
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.CLOCK_TOO_SLOW)
    wish = made.grant_command(A, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN)
    assert made.unchanged(wish).reason is Reason.CLOCK_TOO_SLOW
    decision = decide(made.group, sight(made, A), NOW)
    assert decision.kind is DecisionKind.NOTHING
    assert Reason.CLOCK_TOO_SLOW in {one.reason for one in decision.blockers}


def test_one_that_is_too_fast_is_granted_in_place_and_handed_over_then():
    made, epoch = held_on(FAST)
    assert living(made, epoch).verdict is Verdict.HOLDING
    decision = decide(made.group, sight(made, A), NOW)
    assert (decision.kind, decision.reason) == (DecisionKind.GRANT, Reason.HOLDS_UNBROKEN)
    assert made.one(made.grant_command(A, cause=Cause.REGRANT, reason=Reason.HOLDS_UNBROKEN)).ok


@pytest.mark.parametrize("cause", [Cause.REGRANT, Cause.ADOPTED])
def test_whoever_is_active_already_may_go_on_with_a_clock_that_is_too_fast(cause):
    made = rig()
    made.beat(A)
    wish = made.grant_command(A, cause=cause)
    measured(made, FAST)
    assert clock_rules.against_grant(made.group.sites[A], wish) is None
    measured(made, SLOW)
    assert clock_rules.against_grant(made.group.sites[A], wish) is Reason.CLOCK_TOO_SLOW
