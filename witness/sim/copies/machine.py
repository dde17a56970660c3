"""A machine that is copied while it runs: a snapshot with memory, a clone, a migration that left its original behind.

The copy has all that the machine had at that instant: the agent with its incarnation, claim and counts, plans and
writes under way, the guard with its deadline and what runs in it, disk, clocks, timers, resources. Its identity on the
network is its own, and so are its connections: what it believes to be open is known at the other end as the original's.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proto.clock import ClockReading
from proto.units import NS_PER_MS
from witness.sim.clock import Events
from witness.sim.copies.memory import MemoryCopy
from witness.sim.judges import Judges
from witness.sim.machine import SimHost
from witness.sim.network import Network
from witness.sim.resource import Resource
from witness.sim.witness import WitnessHost

if TYPE_CHECKING:
    from agents.core.agent import SiteAgent
    from witness.sim.site import SiteHost
    from witness.sim.world import World

ANNOUNCED_NS_MAX = 1_000 * NS_PER_MS
"""Agents look at the generation id of their machine about once a second."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a copy differs from its original."""

    in_step: bool
    """Its sources of randomness go on alike, as a kernel's do that was not told of the copy."""
    rate_ppm: int | None = None
    """Of the oscillator under it; None: as fast as the original's."""


def copy_running(world: World, site: SiteHost, how: Snapshot) -> SiteHost:
    """It goes on at this very instant, as the original does."""
    outside = (type(world), Events, Judges, Network, Resource, SimHost, WitnessHost)
    memory = MemoryCopy(lambda what: what is not site and isinstance(what, outside))
    twin = memory.of(site)
    twin.name = f"{site.settings.site}-twin-{len(world.sites)}"
    pending = [(at_ns, memory.of(action)) for at_ns, action in site.events.waiting()]
    if not how.in_step:
        _other_randomness(twin)
    world.judges.copied(site.name, twin.name, twin.shells)
    world.sites.append(twin)
    for at_ns, action in pending:
        twin.events.at(at_ns, action)
    if how.rate_ppm is not None and not twin.clock.parted:
        twin.clock.run_at(how.rate_ppm)
        twin.rearm()
    twin.streams.copied()
    return twin


def _other_randomness(twin: SiteHost) -> None:
    twin.rng.seed(f"{twin.name}/{twin.rng.random()}")


def announce(twin: SiteHost, rng: random.Random) -> None:
    """The hypervisor changed the generation id; the agent sees it at its next look."""

    def changed(agent: SiteAgent, now: ClockReading) -> None:
        agent.machine_changed("the generation id of this virtual machine changed", now)

    twin.generation = twin.name
    twin.later(rng.randint(1, ANNOUNCED_NS_MAX), lambda: twin.feed(changed))
