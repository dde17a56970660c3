"""Too little of a processor: a machine's processes run in slices with gaps, as a CPU quota makes them (FAULTS: P7).

For about a lease, sites get 5 to 50 % of each period of 20 to 400 ms, guards included; witnesses likewise. Nothing is
lost; everything is late, the reading of clocks too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
PERIOD_MS_MIN, PERIOD_MS_MAX = 20, 400
SHARE_MIN, SHARE_MAX = 0.05, 0.5


def _slices(world: World, rng: random.Random, stop: Callable[[], object], go_on: Callable[[], object]) -> None:
    """Ends with a slice that runs; who was ended or healed meanwhile is told to go on, which changes nothing."""
    period_ns = rng.randint(PERIOD_MS_MIN, PERIOD_MS_MAX) * NS_PER_MS
    gap_ns = round(period_ns * (1 - rng.uniform(SHARE_MIN, SHARE_MAX)))
    until_ns = world.events.now_ns + world.some_ttls(rng)

    def gap() -> None:
        if world.events.now_ns < until_ns and not world.healed:
            stop()
            world.events.after(gap_ns, run)

    def run() -> None:
        go_on()
        world.events.after(period_ns - gap_ns, gap)

    gap()


def starve_site(world: World, rng: random.Random) -> None:
    running = [site for site in world.sites if site.runs]
    if running:
        site = rng.choice(running)
        world.hit("site-starved")
        world.note(site.name, "gets little of its processor")
        _slices(world, rng, partial(site.freeze, frozen=True), partial(site.freeze, frozen=False))


def starve_witness(world: World, rng: random.Random) -> None:
    running = [host for host in world.witnesses.values() if host.node is not None and not host.stopped]
    if running:
        host = rng.choice(running)
        world.hit("witness-starved")
        world.note(host.name, "gets little of its processor")
        _slices(world, rng, host.stop, host.go_on)


BLOWS: dict[str, tuple[Strike, float]] = {
    "site-starved": (starve_site, 5.0),
    "witness-starved": (starve_witness, 5.0),
}
