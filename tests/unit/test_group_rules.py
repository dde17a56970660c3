"""What operators change at apply: accepted, refused with a reason and unchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, CLUSTER, CONSTANTS, A, B, C, G, Rig, W, config, report, token

from proto import limits
from proto.commands import (
    ConfigureGroup,
    DeleteGroup,
    FoundCluster,
    QuarantineCause,
    SetMaintenance,
    SetMode,
    SetQuarantine,
)
from proto.decisions import Reason
from proto.groups import Mode
from proto.health import SiteState
from proto.units import RESTORE_GENERATION_SHIFT, Epoch, GroupId, SiteId, WitnessId
from witness.core.state import SiteRecord
from witness.core.transitions import Phase

OTHER = GroupId("other")


def test_a_cluster_is_founded_once():
    rig = Rig()
    assert rig.unchanged(FoundCluster(CLUSTER, W)).reason is Reason.ALREADY_SO
    assert rig.unchanged(FoundCluster("d" * 32, W)).reason is Reason.CLUSTER_MISMATCH
    assert rig.unchanged(FoundCluster(CLUSTER, W[:2])).reason is Reason.CLUSTER_MISMATCH


@pytest.mark.parametrize("witnesses", [(), (W[0], W[0]), tuple(WitnessId(f"w{n}") for n in range(6))])
def test_a_cluster_has_one_to_five_different_witnesses(witnesses):
    assert Rig().unchanged(FoundCluster(CLUSTER, witnesses)).reason is Reason.MALFORMED


def test_a_new_group_is_barred_for_one_lease_that_nobody_holds():
    rig = Rig(vacant=False)
    assert (rig.group.phase, rig.lease.site, rig.group.epoch) == (Phase.BARRED, None, 1)
    rig.beat(A)
    assert rig.unchanged(rig.grant_command()).reason is Reason.NOT_VACANT


def test_a_configuration_is_compare_and_set_on_its_version():
    rig = Rig()
    changed = config(cooldown_ms=5)
    assert rig.unchanged(ConfigureGroup(changed, 0, AUTHOR)).reason is Reason.VERSION_CONFLICT
    assert rig.unchanged(ConfigureGroup(config(), 1, AUTHOR)).reason is Reason.ALREADY_SO
    assert rig.one(ConfigureGroup(changed, 1, AUTHOR)).ok
    assert (rig.group.version, rig.group.config) == (2, changed)
    assert rig.unchanged(ConfigureGroup(config(group=OTHER), 1, AUTHOR)).reason is Reason.UNKNOWN_GROUP


@pytest.mark.parametrize(
    "bad",
    [
        {"sites": (A,)},
        {"sites": (A, A)},
        {"sites": tuple(SiteId(f"s{n}") for n in range(limits.SITES_PER_GROUP_MAX + 1))},
        {"constants": replace(CONSTANTS, ttl_ms=limits.TTL_MS_MIN - 1)},
        {"constants": replace(CONSTANTS, drift_max_ppm=0)},
        {"unhealthy_for_ms": -1},
        {"moves_max": 0},
        {"handover_timeout_ms": 999},
        {"max_replication_lag_ms": -1},
    ],
)
def test_a_bad_configuration_is_refused_with_the_field(bad):
    outcome = Rig().unchanged(ConfigureGroup(config(group=OTHER, **bad), 0, AUTHOR))
    assert outcome.reason is Reason.BAD_CONFIGURATION
    assert outcome.detail.startswith("groups.other.")


def test_there_is_a_most_number_of_groups(monkeypatch):
    rig = Rig()
    monkeypatch.setattr(limits, "GROUPS_MAX", 1)
    assert rig.unchanged(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).reason is Reason.TOO_MANY_GROUPS


def test_the_holder_is_not_removed_and_a_barred_group_loses_nobody():
    rig = Rig()
    rig.hold()
    assert rig.unchanged(ConfigureGroup(config(sites=(B, C)), 1, AUTHOR)).reason is Reason.LEASE_HELD
    barred = Rig(config(sites=(A, B, C)), vacant=False)
    assert barred.unchanged(ConfigureGroup(config(), 1, AUTHOR)).reason is Reason.LEASE_HELD


def test_an_added_site_counts_when_the_holder_carried_the_configuration():
    rig = Rig()
    rig.hold()
    assert rig.one(ConfigureGroup(config(sites=(A, B, C)), 1, AUTHOR)).ok
    assert not rig.group.sites[C].carried
    rig.beat(A, epoch=2, claim=token("claim"), said=report(group_version=1))
    assert not rig.group.sites[C].carried
    rig.beat(A, epoch=2, claim=token("claim"), said=report(group_version=2))
    assert rig.group.sites[C].carried


@pytest.mark.parametrize("released", [True, False])
def test_an_added_site_counts_after_a_release_but_not_after_an_expiry(released):
    rig = Rig()
    rig.hold()
    rig.one(ConfigureGroup(config(sites=(A, B, C)), 1, AUTHOR))
    if released:
        rig.one(rig.release_command())
    else:
        rig.expire()
    assert rig.group.sites[C].carried is released


def test_a_removed_successor_is_no_successor():
    rig = Rig(config(sites=(A, B, C)))
    rig.hold()
    rig.one(rig.revoke_command(C))
    rig.one(rig.release_command())
    assert rig.group.successor.site == C
    assert rig.one(ConfigureGroup(config(), 1, AUTHOR)).ok
    assert rig.group.successor is None
    assert C not in rig.group.sites


def test_deleting_leaves_a_tombstone_above_which_a_new_life_begins():
    rig = Rig()
    rig.hold()
    assert rig.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.LEASE_HELD
    rig.one(rig.release_command())
    assert rig.one(DeleteGroup(G, AUTHOR)).ok
    assert rig.machine.state.tombstones == {G: 2}
    assert rig.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.UNKNOWN_GROUP
    assert rig.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    assert (rig.group.epoch, rig.group.phase) == (3, Phase.BARRED)


def test_a_restore_generation_stands_above_every_epoch():
    rig = Rig()
    rig.machine.state.generation = 2
    assert rig.one(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).ok
    assert rig.machine.state.groups[OTHER].epoch == (2 << RESTORE_GENERATION_SHIFT) + 1


def test_observe_is_entered_and_left_only_with_nothing_running():
    rig = Rig()
    rig.hold()
    assert rig.unchanged(SetMode(G, Mode.OBSERVE, AUTHOR)).reason is Reason.LEASE_HELD
    rig.one(rig.release_command())
    assert rig.one(SetMode(G, Mode.OBSERVE, AUTHOR)).ok
    rig.group.sites[B] = SiteRecord()
    rig.beat(A, said=report(state=SiteState.ACTIVE))
    refusal = rig.unchanged(SetMode(G, Mode.AUTOMATIC, AUTHOR))
    assert refusal.reason is Reason.SITES_NOT_DOWN
    assert refusal.detail == (
        "dc-a says active, not down: stop the platform there, and wait for standby; "
        "dc-b was never heard: start its agent, with enforce: true"
    )
    rig.beat(B, said=report())
    rig.beat(A, said=report(enforce=False))
    refusal = rig.unchanged(SetMode(G, Mode.AUTOMATIC, AUTHOR))
    assert refusal.reason is Reason.SITES_NOT_DOWN
    assert refusal.detail == (
        "dc-a only watches: stop the platform there, set enforce: true in its agent's file and restart it"
    )
    rig.beat(A, said=report())
    assert rig.one(SetMode(G, Mode.AUTOMATIC, AUTHOR)).ok


def test_modes_change_with_a_reason_in_the_ledger():
    rig = Rig()
    assert rig.unchanged(SetMode(G, Mode.AUTOMATIC, AUTHOR)).reason is Reason.ALREADY_SO
    assert rig.unchanged(SetMode(OTHER, Mode.MANUAL, AUTHOR)).reason is Reason.UNKNOWN_GROUP
    assert rig.one(SetMode(G, Mode.MANUAL, AUTHOR)).ok
    event = rig.last.events[0]
    assert (event.author, event.text) == ("alice", "automatic -> manual (a reason)")


def test_maintenance_is_a_switch():
    rig = Rig()
    assert rig.unchanged(SetMaintenance(OTHER, A, True, AUTHOR)).reason is Reason.UNKNOWN_GROUP
    assert rig.unchanged(SetMaintenance(G, C, True, AUTHOR)).reason is Reason.UNKNOWN_SITE
    assert rig.unchanged(SetMaintenance(G, A, False, AUTHOR)).reason is Reason.ALREADY_SO
    assert rig.one(SetMaintenance(G, A, True, AUTHOR)).ok
    assert rig.group.sites[A].maintenance


def test_quarantine_is_set_by_operators_and_cleared_by_cause():
    rig = Rig()
    rig.hold()
    rig.expire()
    assert rig.unchanged(SetQuarantine(OTHER, A, True, (), AUTHOR)).reason is Reason.UNKNOWN_GROUP
    assert rig.unchanged(SetQuarantine(G, C, True, (), AUTHOR)).reason is Reason.UNKNOWN_SITE
    assert rig.unchanged(SetQuarantine(G, B, False, (), AUTHOR)).reason is Reason.NOT_QUARANTINED
    assert rig.one(SetQuarantine(G, A, True, (), AUTHOR)).ok
    assert rig.unchanged(SetQuarantine(G, A, True, (), AUTHOR)).reason is Reason.ALREADY_SO
    backoff = SetQuarantine(G, A, False, (QuarantineCause.ACTIVATION_FAILED,), AUTHOR)
    assert rig.unchanged(backoff).reason is Reason.NOT_QUARANTINED
    assert rig.one(SetQuarantine(G, A, False, (QuarantineCause.UNCLEAN_END,), AUTHOR)).ok
    assert set(rig.group.sites[A].quarantine) == {QuarantineCause.OPERATOR}
    assert rig.one(SetQuarantine(G, A, False, (), AUTHOR)).ok
    assert rig.group.sites[A].quarantine == {}


def test_epochs_are_named():
    assert Rig().group.epoch == Epoch(1)
