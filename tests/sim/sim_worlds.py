"""A small world that a test drives by hand: two sites, one group with leases of a second, no faults of its own.

Sites that are fitted out with parts that need it have leases of four seconds.
"""

from __future__ import annotations

from dataclasses import replace

from proto.groups import Failback
from proto.lease import LeaseConstants
from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.faults import FAULTS
from witness.sim.host.fitting import with_fitting
from witness.sim.setup import NOTHING, Fitting, Setup, draw
from witness.sim.site import SiteHost
from witness.sim.world import World, quiet


def calm_setup(seed: int = 3) -> Setup:
    drawn = draw(seed, list(FAULTS))
    config = replace(
        drawn.groups[0],
        sites=drawn.sites[:2],
        constants=LeaseConstants(1_000, 10_000, 0),
        failback=Failback.MANUAL,
        max_replication_lag_ms=None,
    )
    names = drawn.raft.witnesses[:3]
    setup = replace(quiet(drawn), sites=drawn.sites[:2], groups=(config,), raft=replace(drawn.raft, witnesses=names))
    return replace(setup, kinds=("by hand",))


def calm_world(seed: int = 3, fitting: Fitting = NOTHING) -> World:
    world = World(with_fitting(calm_setup(seed), fitting))
    world.begin()
    return world


def served(world: World, within_s: float = 60.0) -> bool:
    """Runs until one site serves the group."""
    until_ns = world.events.now_ns + round(within_s * NS_PER_S)
    while world.events.now_ns < until_ns and not world.served():
        world.run_until(world.events.now_ns + 100 * NS_PER_MS)
    return world.served()


def active_site(world: World) -> SiteHost:
    [name] = world.judges.activity.active(world.setup.groups[0].group)
    return next(site for site in world.sites if site.name == name)


def violations(world: World) -> list[str]:
    return [str(violation) for violation in world.judges.violations]
