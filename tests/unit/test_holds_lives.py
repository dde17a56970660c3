"""Holds across the lives of a group: what agents still know of one that was deleted, or lost with its witnesses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, G, Rig, config
from holds_rig import A, B, C, Site, Together
from holds_rig import G as ERP
from restore_rig import restored

from proto.commands import ConfigureGroup, DeleteGroup, RaiseFeatureLevel
from proto.groups import GroupConfig, WitnessLoss
from proto.lease import LeaseConstants, longest
from proto.units import SiteId
from witness.core.transitions import Phase

TTL_MS = 3_000


def vacant(world: Together) -> None:
    world.lose_witnesses()
    world.passes(3 * TTL_MS)
    assert world.witness.group.phase is Phase.VACANT


def made_again(world: Together, *sites: SiteId) -> None:
    """The group's next life, heard of by every site while it is barred, without a restart of anybody."""
    made: GroupConfig = replace(world.witness.group.config, sites=sites)
    assert world.witness.submit(DeleteGroup(ERP, AUTHOR)).ok
    assert world.witness.submit(ConfigureGroup(made, 0, AUTHOR)).ok
    world.lose_witnesses(on=False)
    world.passes(TTL_MS // 2)


def lives_by(world: Together, active: Site, other: SiteId, third: SiteId) -> None:
    """Two sites are cut off together; the third one hears the witnesses alone."""
    for one in (active.name, other):
        world.part(one, "w1")
        world.part(one, third)
    world.passes(6 * TTL_MS)


def test_a_holder_does_not_go_on_by_the_sites_of_a_group_that_was_deleted_and_made_again() -> None:
    world = Together(sites=(A, B, C))
    vacant(world)
    made_again(world, A, B)
    vacant(world)
    made_again(world, A, B, C)
    active = world.until_active()
    assert active.group.sites is not None
    assert active.group.sites.sites == (A, B, C)
    other, third = [name for name in (A, B, C) if name != active.name]
    lives_by(world, active, other, third)
    assert world.overlaps == []


def test_a_group_that_is_made_again_has_versions_that_no_former_life_had() -> None:
    made = Rig(config())
    assert made.one(RaiseFeatureLevel(2)).ok
    for number in range(1, 9):
        lag = config(cooldown_ms=1_000 + number)
        assert made.one(ConfigureGroup(lag, number, AUTHOR)).ok
    before = made.group.version
    assert made.one(DeleteGroup(G, AUTHOR)).ok
    assert made.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    assert made.group.version > before


def test_a_group_that_the_backup_did_not_know_has_versions_above_those_of_the_life_that_was_lost() -> None:
    made = Rig(config())
    assert made.one(RaiseFeatureLevel(2)).ok
    assert made.one(DeleteGroup(G, AUTHOR)).ok
    made.machine.state.tombstones.clear()  # the backup is older than the group
    made = restored(made)
    assert made.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    assert made.group.version >= made.machine.state.generation


@pytest.mark.parametrize("loss", list(WitnessLoss))
def test_cold_starts_wait_after_a_restore_whatever_the_backup_says_of_holds(loss: WitnessLoss) -> None:
    made = Rig(config())
    assert made.one(RaiseFeatureLevel(2)).ok
    assert made.one(ConfigureGroup(config(witness_loss=loss, cooldown_ms=1_234), 1, AUTHOR)).ok
    made = restored(made)
    assert made.group.lease is not None
    assert made.group.hold_wait == made.group.lease.constants


def test_cold_starts_wait_in_a_group_that_had_a_former_life_somewhere() -> None:
    made = Rig(config())
    assert made.one(RaiseFeatureLevel(2)).ok
    assert made.one(DeleteGroup(G, AUTHOR)).ok
    made = restored(made, claimed=LeaseConstants(60_000, 100, 5_000))
    assert made.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    lease = made.group.lease
    assert lease is not None
    assert made.group.hold_wait == lease.constants == longest(lease.constants, made.group.config.constants)
    assert made.group.hold_wait.ttl_ms == 60_000
