"""E6 to E13: who is current, what an operator may give up, who must not be active, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, G, token
from escrow_rig import KEY, EscrowRig, licensed, sealed, version
from restore_rig import restored, unbarred

from proto.commands import Cause, ConfigureGroup, SetMaintenance, SetMode
from proto.decisions import DecisionKind, Reason
from proto.groups import Mode, WitnessLoss
from proto.health import SiteState
from proto.holds import NO_CHAIN, HoldMark
from proto.license import NO_VERSION, EscrowPolicy
from proto.messages import Verdict
from proto.permit import PermitMark
from proto.units import NS_PER_MS, Epoch, InstantNs
from witness.core import licenses
from witness.core.decide import blockers_of, decide
from witness.core.holds_rules import may_live
from witness.core.sight import GroupSight
from witness.core.state import Former, PermitNote

NOW = InstantNs(1_000_000 * NS_PER_MS)
NOT_CURRENT, ELSEWHERE = Reason.LICENSE_NOT_CURRENT, Reason.LICENSE_ACTIVE_ELSEWHERE


def sight(rig: EscrowRig) -> GroupSight:
    return GroupSight(started=InstantNs(0), heard=dict.fromkeys(rig.group.config.sites, NOW))


def against(rig: EscrowRig, site=B) -> list[tuple[Reason, str]]:
    found = blockers_of(rig.group, site, sight(rig), NOW)
    return [(one.reason, one.seen) for one in found if one.reason in (NOT_CURRENT, ELSEWHERE)]


def vacant(policy: EscrowPolicy = EscrowPolicy.REQUIRED, *sites) -> EscrowRig:
    """A put version 1, holds it, and released; the others hold nothing yet."""
    rig = EscrowRig(policy, *sites)
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.held[A] = version(rig.epoch, 1)
    rig.say(A, epoch=rig.epoch)
    rig.end()
    rig.say(A)
    return rig


# -- who may be activated -------------------------------------------------------------------------------------


def test_a_site_without_the_newest_key_is_no_candidate_and_the_decision_says_who_has_it():
    rig = vacant()
    seen = f"fingerprint: it holds none, the newest is {rig.epoch}.1 (stored here, dc-a)"
    assert against(rig) == [(NOT_CURRENT, seen)]
    rig.held[B] = version(rig.epoch, 1)
    rig.say(B)
    assert against(rig) == []


def test_nothing_was_ever_sealed_so_every_site_is_current():
    rig = EscrowRig(hold=False)
    assert against(rig, A) == []
    assert rig.one(rig.grant_command(A)).ok


@pytest.mark.parametrize("policy", [EscrowPolicy.OPTIONAL, EscrowPolicy.NONE])
def test_only_a_required_license_blocks(policy):
    rig = EscrowRig(policy)
    rig.held[A] = version(rig.epoch, 1)
    rig.say(A, epoch=rig.epoch)
    rig.end()
    rig.say(A)
    assert against(rig) == []


def test_an_agent_that_does_not_know_a_required_license_is_no_candidate():
    rig = vacant()
    rig.beat(B, said=rig.said(B, licenses=(), finished_epoch=Epoch(rig.epoch)))
    assert against(rig) == [(NOT_CURRENT, "fingerprint: its agent is not configured for this license")]
    assert rig.unchanged(rig.grant_command(B)).reason is NOT_CURRENT


def test_what_the_holder_sealed_and_could_not_put_any_more_is_the_newest_all_the_same():
    """The key changed seconds before the kill: the other site's would be dead at the vendor's server."""
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.held = {A: version(rig.epoch, 2), B: version(rig.epoch, 1)}
    rig.say(A, epoch=rig.epoch)
    rig.say(B)
    rig.expire()
    assert against(rig) == [(NOT_CURRENT, f"fingerprint: it holds {rig.epoch}.1, the newest is {rig.epoch}.2 (dc-a)")]
    rig.held[B] = version(rig.epoch, 2)
    rig.say(B)
    assert against(rig) == [], "by a hold it may hold what the witnesses never saw"


def test_the_decision_takes_the_site_that_has_the_key_before_the_preferred_one():
    rig = vacant(EscrowPolicy.REQUIRED, B, A)
    found = decide(rig.group, sight(rig), NOW)
    assert (found.kind, found.site) == (DecisionKind.GRANT, A)
    assert [(one.site, one.reason) for one in found.blockers] == [(B, NOT_CURRENT)]


def test_a_put_that_comes_between_the_decision_and_its_grant_refuses_the_grant():
    rig = EscrowRig()
    assert rig.one(rig.revoke_command(B)).ok
    first = rig.put_command(sealed(rig.epoch, 1))
    release = rig.release_command(claim=first.claim)
    rig.run(first, release, rig.grant_command(B))
    assert [one.reason for one in rig.last.outcomes] == [Reason.OK, Reason.OK, NOT_CURRENT]
    rig.held[B] = first.sealed.version
    rig.say(B)
    assert rig.one(rig.grant_command(B)).ok


def test_who_is_active_already_goes_on_with_the_key_that_it_has():
    rig = vacant()
    for cause in (Cause.REGRANT, Cause.ADOPTED):
        assert licenses.against_grant(rig.group, rig.grant_command(B, cause=cause)) is None
    assert licenses.against_grant(rig.group, rig.grant_command(B)) is NOT_CURRENT


# -- a restore ------------------------------------------------------------------------------------------------


def test_after_a_restore_every_site_is_heard_before_a_stored_version_is_the_newest():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    old = rig.epoch
    rig = unbarred(restored(rig))
    rig.held = {A: version(old, 5), B: version(old, 1)}
    rig.say(B)
    ((_, seen),) = against(rig)
    assert seen == "fingerprint: restored from a backup, and dc-a may hold a newer one: not heard since"
    rig.say(A)
    assert against(rig) == [(NOT_CURRENT, f"fingerprint: it holds {old}.1, the newest is {old}.5 (dc-a)")]
    assert against(rig, A) == []
    epoch = rig.take(A)
    assert not rig.group.escrow.unsure
    assert rig.put(sealed(epoch, 6)).ok
    assert rig.kept().version > version(old, 5)


def test_after_a_restore_with_nothing_stored_a_silent_site_may_hold_the_first_version():
    rig = unbarred(restored(EscrowRig()))
    rig.say(B)
    assert [reason for reason, _ in against(rig)] == [NOT_CURRENT]
    assert rig.waive(NO_VERSION).ok
    assert against(rig) == []
    rig.say(A)
    assert rig.group.escrow.waived == {KEY: NO_VERSION}


# -- the release of last resort -------------------------------------------------------------------------------


def test_an_operator_gives_a_version_up_with_a_reason_and_it_is_told_as_an_alarm():
    rig = vacant()
    newest = version(rig.epoch, 1)
    assert rig.waive(newest).ok
    (event,) = rig.last.events
    words = f"fingerprint: {rig.epoch}.1 is given up for dc-b (the key was lost)"
    assert (event.kind.value, event.text, event.author) == ("escrow-waived", words, "alice")
    assert against(rig) == []
    assert rig.one(rig.grant_command(B)).ok


@pytest.mark.parametrize(
    ("newest", "reason", "refusal"),
    [
        (version(2, 1), " ", Reason.REASON_REQUIRED),
        (version(2, 2), "lost", Reason.ESCROW_CONFLICT),
        (NO_VERSION, "lost", Reason.ESCROW_CONFLICT),
    ],
    ids=["reason", "later", "none"],
)
def test_a_waiver_needs_a_reason_and_names_the_newest_version(newest, reason, refusal):
    rig = vacant()
    assert rig.waive(newest, reason).reason is refusal
    assert rig.group.escrow.waived == {}


def test_there_is_nothing_to_waive_while_every_site_is_current():
    rig = vacant()
    rig.held[B] = version(rig.epoch, 1)
    rig.say(B)
    assert rig.waive(version(rig.epoch, 1)).reason is Reason.NOTHING_TO_WAIVE
    optional = vacant(EscrowPolicy.OPTIONAL)
    assert optional.waive(version(optional.epoch, 1)).reason is Reason.NOTHING_TO_WAIVE


def test_a_waiver_is_for_once_and_for_that_version_alone():
    rig = vacant()
    newest = version(rig.epoch, 1)
    assert rig.waive(newest).ok
    assert rig.waive(newest).reason is Reason.ALREADY_SO
    later = replace(rig.said(A, licensed(version(rig.epoch, 2))), finished_epoch=Epoch(rig.epoch))
    rig.beat(A, said=later)
    assert [reason for reason, _ in against(rig)] == [NOT_CURRENT], "a newer one turned up"
    rig.say(A)
    rig.take(B)
    assert rig.group.escrow.waived == {}, "it began with what it has"
    rig.end(B)
    rig.say(B)
    assert [reason for reason, _ in against(rig)] == [NOT_CURRENT]


def test_a_put_ends_a_waiver():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    assert rig.waive(version(rig.epoch, 1)).ok
    assert rig.put(sealed(rig.epoch, 2)).ok
    assert rig.group.escrow.waived == {}


# -- both active ----------------------------------------------------------------------------------------------


def alarms(rig: EscrowRig) -> list[tuple[str, str]]:
    return [(event.kind.value, event.text) for event in rig.last.events if event.kind.value.startswith("both-active")]


def test_a_dormant_site_whose_license_is_seen_activated_is_an_alarm_at_once_and_once():
    rig = EscrowRig()
    rig.say(B, licensed(active=True))
    words = "fingerprint: its probe sees it activated, while dc-a is granted"
    assert alarms(rig) == [("both-active", words)]
    assert G in rig.changes.dirty
    rig.say(B, licensed(active=True))
    assert alarms(rig) == []
    rig.say(B, licensed(active=None))
    assert alarms(rig) == [("both-active-ended", "fingerprint: it says so no more, or may be active")]
    rig.say(B, licensed(active=True))
    assert [kind for kind, _ in alarms(rig)] == ["both-active"]


def test_the_holder_may_be_activated_from_its_claim_until_its_lease_has_ended():
    rig = EscrowRig(hold=False)
    assert rig.one(rig.grant_command(A)).ok
    rig.say(A, licensed(active=True))
    assert [kind for kind, _ in alarms(rig)] == ["both-active"], "a grant alone gives no authority"
    rig.say(A, licensed(active=True), epoch=rig.epoch)
    assert [kind for kind, _ in alarms(rig)] == ["both-active-ended"], "the very heartbeat that claims"
    rig.say(A, licensed(active=True), epoch=rig.epoch)
    assert alarms(rig) == []
    rig.expire()
    rig.say(A, licensed(active=True), epoch=rig.epoch)
    assert alarms(rig) == [("both-active", "fingerprint: its probe sees it activated, while nobody holds the lease")]


def test_another_incarnation_of_the_holder_has_no_right_to_it():
    rig = EscrowRig()
    rig.beat(A, incarnation="i2", said=rig.said(A, licensed(active=True)))
    assert [kind for kind, _ in alarms(rig)] == ["both-active"]


def test_who_goes_on_by_holds_may_be_activated_until_somebody_else_claims():
    rig = EscrowRig()
    assert rig.one(ConfigureGroup(replace(rig.group.config, witness_loss=WitnessLoss.HOLD), 2, AUTHOR)).ok
    rig.say(A, epoch=rig.epoch)
    old = rig.epoch
    rig.expire()
    assert may_live(rig.group)
    holding = HoldMark(Epoch(old), 3, NO_CHAIN)
    assert rig.say(A, licensed(active=True), epoch=old, holding=holding).verdict is Verdict.HOLDING
    assert alarms(rig) == []
    rig.group.former = Former(B, token("i1"), token("x"), Epoch(old), Epoch(old))
    rig.say(A, licensed(active=True), epoch=old, holding=holding)
    assert [kind for kind, _ in alarms(rig)] == ["both-active"]


def test_a_site_under_a_permit_that_counts_may_be_activated():
    rig = vacant()
    mark = PermitMark(Epoch(1 << 20), token("permit"))
    rig.group.permits.used[mark.permit] = PermitNote(B, token("i1"), mark.epoch)
    rig.say(B, licensed(active=True), state=SiteState.ACTIVE, permit=mark)
    assert alarms(rig) == []
    rig.say(B, licensed(active=True), state=SiteState.ACTIVE)
    assert [kind for kind, _ in alarms(rig)] == ["both-active"]


@pytest.mark.parametrize("watched", ["observe", "enforce"])
def test_where_nothing_is_granted_two_sites_are_a_contradiction_and_one_is_not(watched):
    rig = vacant()
    enforce = watched != "enforce"
    if watched == "observe":
        assert rig.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
    rig.say(A, licensed(active=True), state=SiteState.ACTIVE, enforce=enforce)
    assert alarms(rig) == [], "a running platform that is to be adopted"
    rig.say(B, licensed(active=True), state=SiteState.ACTIVE, enforce=enforce)
    assert alarms(rig) == [("both-active", "fingerprint: its probe sees it activated, and dc-a said the same last")]


def test_a_license_that_the_group_does_not_name_is_watched_too():
    rig = EscrowRig()
    rig.say(B, replace(licensed(active=True), name="maps"))
    assert [text.split(":")[0] for _, text in alarms(rig)] == ["maps"]


def test_a_license_that_is_seen_activated_elsewhere_keeps_a_vacant_group_vacant():
    rig = vacant()
    rig.held[B] = version(rig.epoch, 1)
    rig.say(B)
    rig.say(A, licensed(rig.held[A], active=True))
    assert against(rig) == [(ELSEWHERE, "dc-a: fingerprint")]
    assert rig.one(SetMaintenance(G, A, True, AUTHOR)).ok
    assert against(rig) == [], "an operator vouches for it"


def test_what_the_last_holder_said_while_it_was_active_keeps_nobody_back():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.held = dict.fromkeys((A, B), version(rig.epoch, 1))
    rig.say(B)
    rig.say(A, licensed(rig.held[A], active=True), epoch=rig.epoch)
    rig.end()
    assert against(rig) == []
