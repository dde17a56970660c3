"""What goes wrong with licenses: keys that change at the wrong moment, puts, places, probes, people (FAULTS: L1 to L3).

Each kind brings licenses along (witness.sim.licenses.draw).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.core.lease_holder import NO_EPOCH
from proto.commands import Author, WaiveEscrow
from proto.health import SiteState
from proto.units import NS_PER_MS, NS_PER_S
from witness.core import licenses
from witness.sim.licenses.place import key_of
from witness.sim.workload import asked, desk_of

if TYPE_CHECKING:
    from witness.sim.licenses.house import Place
    from witness.sim.site import SiteHost
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
AUTHOR = Author("operator-1", "simulated: the vendor was called")
DIES_NS_MAX = 400 * NS_PER_MS
"""Around what a watcher, a disk and a put need."""
UNGIVEN = key_of(0, 24)
"""A key that no vendor gave: what an old backup, or somebody, brought back."""


def _active(world: World) -> list[tuple[SiteHost, Place]]:
    found = []
    for site in world.sites:
        agent = site.agent
        if agent is not None and site.runs:
            found += [(site, one) for one in site.licenses.places if agent.groups[one[0]].state is SiteState.ACTIVE]
    return found


def change(world: World, rng: random.Random) -> None:
    """The vendor gives an active platform another key; often its site dies before anybody else has it."""
    able = _active(world)
    if not able:
        return
    site, place = rng.choice(able)
    epoch = NO_EPOCH if site.agent is None else site.agent.groups[place[0]].holder.epoch
    if not site.licenses.exchange(place, epoch):
        return
    world.hit("license-change")
    if rng.random() >= 0.4 or world.in_outage:
        return

    def dies() -> None:
        if not site.off and not world.healed:
            world.hit("license-change-dies")
            site.power_off()
            world.events.after(rng.randint(500, 8_000) * NS_PER_MS, lambda: None if site.agent else site.power_on())

    site.guest.after(rng.randint(0, DIES_NS_MAX), dies)


def puts(world: World, rng: random.Random) -> None:
    """They are lost, come late, come again: also when another site has the group."""
    for site in world.sites:
        moods = site.licenses.moods
        moods.put_lost, moods.put_late, moods.put_again = (rng.uniform(0.0, 0.6) for _ in range(3))


def large(world: World, rng: random.Random) -> None:
    """Keys are as long as they may be, and longer."""
    for site in world.sites:
        site.licenses.moods.large = rng.uniform(0.2, 0.9)


def absent(world: World, rng: random.Random) -> None:
    """The key is gone from its place, or a former one is back; at a dormant site, one that no vendor gave, too."""
    able = [(site, place) for site in world.sites for place in site.licenses.places]
    if not able:
        return
    site, place = rng.choice(able)
    at, active = site.licenses.at(place), (site, place) in _active(world)
    former = sorted(at.former)
    followed = at.sealed is not None and at.seen == at.sealed.version  # who looks next takes it for an exchanged one
    choices: list[bytes | None] = [None]
    choices += [rng.choice(former)] if former else []
    choices += [UNGIVEN] if not active and not followed else []
    at.key = rng.choice(choices)
    world.hit("license-absent" if at.key is None else "license-older" if at.key in former else "license-ungiven")


def probe(world: World, rng: random.Random) -> None:
    """One site's probe lies, fails, or says what it saw long ago, for around a lease."""
    probes = [one for site in world.sites for one in site.licenses.probes.values()]
    if not probes:
        return
    one = rng.choice(probes)
    kind = rng.random()
    if kind < 0.5:
        one.lies = rng.random() < 0.6
    elif kind < 0.7:
        one.fails = True
    else:
        one.cached_for_ns = rng.randint(500, 6_000) * NS_PER_MS
    world.events.after(world.some_ttls(rng) + rng.randint(0, 2 * NS_PER_S), one.heal)


def waive(world: World, rng: random.Random) -> None:
    """An operator gives the newest version up, as the witness knows it that is asked."""
    desk = desk_of(world, rng)
    if desk is None or not desk[1].config.licenses:
        return
    host, group = desk
    name = rng.choice(group.config.licenses).name
    command = WaiveEscrow(group.config.group, name, licenses.newest(group, name), AUTHOR)
    host.submit(command, asked(world, "license-waived"))


MOODS: dict[str, Strike] = {"license-put": puts, "license-large": large}
BLOWS: dict[str, tuple[Strike, float]] = {
    "license-change": (change, 2.0),
    "license-absent": (absent, 2.0),
    "license-probe": (probe, 3.0),
    "license-waived": (waive, 1.5),
}
