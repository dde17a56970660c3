"""All witnesses are lost at once and restored from a backup, while the sites go on (FAULTS: O5 for all of them).

Rule: sites know nothing of it. They have their leases, their durable bounds and their agents, which connect again to
whoever answers. So that a wrong restore cannot hide, much happens between the backup and the loss that the backup does
not know of: a longer ttl, a handover, an epoch more; the loss comes in the middle of a lease; and the active site may
be cut off just then, so that the others alone are heard by the new life.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from proto.commands import ConfigureGroup
from proto.units import NS_PER_MS, GroupId
from witness.core.state import Lease
from witness.core.transitions import Phase
from witness.sim import faults_net, workload
from witness.sim.restores import Kept

if TYPE_CHECKING:
    from witness.sim.raft.host import Host
    from witness.sim.world import World

LOOK_NS = 200 * NS_PER_MS
CHANGES_WAIT_NS = 6_000 * NS_PER_MS
"""The loss comes at the latest so long after the backup, whether something changed or not."""


def restore_all(world: World, rng: random.Random) -> None:
    """A backup, changes that it does not know, the loss of all witnesses in the middle of a lease, and the restore."""
    if not world.restores.possible:
        return
    host = rng.choice(list(world.cluster.hosts.values()))
    if rng.random() < 0.3:
        host.kill()
    kept = _chosen(world, rng, world.restores.back_up(host))
    if kept is None:
        return
    until_ns = world.events.now_ns + CHANGES_WAIT_NS
    lengthen = rng.random() < 0.7
    changes = partial(_await_changes, world, rng, kept, _epochs(world), until_ns, lengthen=lengthen)
    world.cluster.fault_after(LOOK_NS, changes)


def _chosen(world: World, rng: random.Random, newest: Kept | None) -> Kept | None:
    """What will be restored: mostly the newest backup, often what was restored last, any, or none at all."""
    restores = world.restores
    return rng.choices((newest, restores.last or newest, rng.choice(restores.kept), restores.kept[0]), (5, 3, 1, 1))[0]


def _change(world: World, rng: random.Random, *, lengthen: bool) -> None:
    """Operators make the ttl longer, and move each group to a site that is not its holder; asked until it is done."""
    leader = next((host for host in world.witnesses.values() if host.node and host.node.consensus.leading), None)
    groups = {} if leader is None or leader.node is None else leader.node.machine.state.groups
    for name, group in groups.items():
        ttl_ms = group.config.constants.ttl_ms
        others = [site for site in group.config.sites if group.lease is None or site != group.lease.site]
        if leader is not None and lengthen and ttl_ms != workload.TTL_LONG_MS:
            constants = replace(group.config.constants, ttl_ms=workload.TTL_LONG_MS)
            longer = ConfigureGroup(replace(group.config, constants=constants), group.version, workload.AUTHOR)
            leader.submit(longer, workload.asked(world, "reconfigure"))
        elif leader is not None and group.phase is Phase.HELD:
            leader.switchover(name, rng.choice(others), workload.asked(world, "switchover"))


def _held(world: World) -> dict[GroupId, Lease]:
    """Leases that were renewed by now, as the witness knows them that is farthest."""
    nodes = [host.node for host in world.witnesses.values() if host.node is not None]
    states = [node.machine.state for node in nodes]
    groups = max(states, key=lambda state: state.applied_index).groups if states else {}
    return {name: group.lease for name, group in groups.items() if group.lease is not None and group.lease.renewal}


def _epochs(world: World) -> dict[GroupId, int]:
    return {name: lease.epoch for name, lease in _held(world).items()}


def _await_changes(
    world: World, rng: random.Random, kept: Kept, before: dict[GroupId, int], until_ns: int, *, lengthen: bool
) -> None:
    grown = any(epoch > before.get(name, 0) for name, epoch in _epochs(world).items())
    if grown or world.events.now_ns >= until_ns:
        world.cluster.fault_after(world.some_ttls(rng) // 4, partial(_lose_and_restore, world, rng, kept))
        return
    _change(world, rng, lengthen=lengthen)
    again = partial(_await_changes, world, rng, kept, before, until_ns, lengthen=lengthen)
    world.cluster.fault_after(LOOK_NS, again)


def _lose_and_restore(world: World, rng: random.Random, kept: Kept) -> None:
    if not world.restores.possible:
        return
    leftover = rng.choice(list(world.cluster.hosts.values())) if rng.random() < 0.25 else None
    world.restores.lose_all()
    if rng.random() < 0.6:
        _cut_holders(world, rng)
    world.hit("restore-all")
    if kept.file is None:
        world.hit("restore-without-backup")
    elif kept is not world.restores.kept[-1]:
        world.hit("restore-old-backup")
    delay_ns = 0 if rng.random() < 0.6 else world.some_ttls(rng)
    world.restores.restore_after(delay_ns, kept, rng, _sound(world, leftover))


def _sound(world: World, host: Host | None) -> Host | None:
    return None if host is None or host.name in world.cluster.damage.damaged else host


def _cut_holders(world: World, rng: random.Random) -> None:
    """Those who are active are not heard by the new life before their leases have ended, and perhaps not then."""
    active = {name for config in world.setup.groups for name in world.judges.activity.active(config.group)}
    for site in sorted(active):
        faults_net.cut_off(world, rng, site, "restore-cut-holder")


BLOWS: dict[str, tuple[faults_net.Strike, float]] = {"restore-all": (restore_all, 6.0)}
