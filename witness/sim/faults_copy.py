"""Machines that are copied while they run (FAULTS: O2, O3; P2 of DESIGN section 1)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.units import NS_PER_S
from witness.sim import faults_net
from witness.sim.copies.machine import Snapshot, announce, copy_running

if TYPE_CHECKING:
    from witness.sim.site import SiteHost
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
KIND = "live-copy"
LIVES_NS = 3 * NS_PER_S
"""And some leases: then somebody ends the copy."""


def live_copy(world: World, rng: random.Random) -> None:
    """A running site, memory and all: both go on, or the copy later, or it is put back in the original's place."""
    able = [site for site in world.sites[: len(world.setup.sites)] if site.runs and not site.house.any]
    able += 3 * [site for site in able if any(shell.runs() for shell in site.shells.values())]
    if not able or world.in_outage:
        return
    site = rng.choice(able)
    twin = copy_running(world, site, _snapshot(world, rng))
    world.hit(KIND)
    world.note(twin.name, f"is a copy of the running {site.name}")
    if any(shell.runs() for shell in site.shells.values()):
        world.hit("live-copy-active")
    ends_ns = world.some_ttls(rng) + LIVES_NS
    if rng.random() < 0.3:
        ends_ns += _goes_on_later(world, rng, site, twin)
    elif rng.random() < 0.25:
        world.hit("live-copy-announced")
        announce(twin, rng)
    cut = rng.choice((twin, twin, site, None, None))
    if cut is not None:
        faults_net.cut_off(world, rng, cut.name, "live-copy-cut-off")
    world.events.after(ends_ns, lambda: _ends(world, site, twin))


def _snapshot(world: World, rng: random.Random) -> Snapshot:
    in_step = rng.random() < 0.5
    if in_step:
        world.hit("live-copy-in-step")
    return Snapshot(in_step, None if rng.random() < 0.5 else world.rate_ppm(rng))


def _goes_on_later(world: World, rng: random.Random, site: SiteHost, twin: SiteHost) -> int:
    """A snapshot that is resumed, by clocks that know of no time in between; half of them in the original's place."""
    after_ns = world.some_ttls(rng)
    put_back = rng.random() < 0.5
    twin.guest.freeze()

    def resume() -> None:
        if twin.retired:
            return
        world.hit("live-copy-later")
        if put_back and not site.off and not world.in_outage:
            world.hit("live-copy-put-back")
            site.power_off()
        twin.resume()

    world.events.after(after_ns, resume)
    return after_ns


def _ends(world: World, site: SiteHost, twin: SiteHost) -> None:
    twin.retire()
    if site.off and not world.healed:
        site.power_on()


BLOWS: dict[str, tuple[Strike, float]] = {KIND: (live_copy, 7.0)}
