"""What happens to messages: between agents and witnesses, and among the witnesses (FAULTS: N1 to N11)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]


def lossy(world: World, rng: random.Random) -> None:
    world.network.weather.loss = rng.uniform(0.01, 0.3)


def doubling(world: World, rng: random.Random) -> None:
    world.network.weather.double = rng.uniform(0.1, 0.6)


def slow(world: World, rng: random.Random) -> None:
    weather = world.network.weather
    weather.slow = rng.uniform(0.05, 0.5)
    weather.slow_ns_max = rng.randint(50, 2_500) * NS_PER_MS


def cut_site(world: World, rng: random.Random) -> None:
    """A site loses all witnesses, one way or both."""
    site = rng.choice(world.sites).name
    both = rng.random() < 0.6
    inbound = rng.random() < 0.5
    pairs = [(site, w.name) for w in world.witnesses.values()] if both or not inbound else []
    pairs += [(w.name, site) for w in world.witnesses.values()] if both or inbound else []
    cut_pairs(world, rng, pairs, "cut-site" if both else "cut-one-way")


def cut_link(world: World, rng: random.Random) -> None:
    """One site and one witness, both ways; the others carry on."""
    site, witness = rng.choice(world.sites).name, rng.choice(list(world.witnesses.values())).name
    cut_pairs(world, rng, [(site, witness), (witness, site)], "cut-link")


def cut_leader(world: World, rng: random.Random) -> None:
    """One site and the witness that leads at this moment."""
    leader = world.cluster.leader()
    if leader is not None:
        site, witness = rng.choice(world.sites).name, str(leader.name)
        cut_pairs(world, rng, [(site, witness), (witness, site)], "cut-leader")


def cut_all(world: World, rng: random.Random) -> None:
    """The third location is gone for everybody."""
    sites = [site.name for site in world.sites]
    pairs = [pair for w in world.witnesses.values() for s in sites for pair in ((s, w.name), (w.name, s))]
    cut_pairs(world, rng, pairs, "cut-all")


def lose_third(world: World, rng: random.Random) -> None:
    """The third location is gone for several leases; the sites see each other (FAULTS H1)."""
    cut_pairs(world, rng, ways_to_witnesses(world), "lose-third", rng.randint(1, 4) * _longest_ttl_ns(world))


def lose_third_and_link(world: World, rng: random.Random) -> None:
    """First the third location, then, in the middle of it, what lies between the sites (FAULTS H2)."""
    ttl_ns = _longest_ttl_ns(world)
    cut_pairs(world, rng, ways_to_witnesses(world), "lose-third-and-link", 3 * ttl_ns)
    world.events.after(rng.randint(0, 2 * ttl_ns), lambda: cut_site_link(world, rng))


def cut_site_link(world: World, rng: random.Random) -> None:
    """Two sites do not reach each other, both ways or one."""
    one, other = rng.sample([site.name for site in world.sites], 2)
    pairs = [(one, other), (other, one)] if rng.random() < 0.7 else [(one, other)]
    cut_pairs(world, rng, pairs, "cut-site-link")


def hold_then_grant(world: World, rng: random.Random) -> None:
    """The witnesses are gone until somebody has promised; then they come back to everybody but the holder (H3)."""
    pairs, holders = ways_to_witnesses(world), {site.name for site in world.sites if site.agent is not None}
    holders &= {name for config in world.setup.groups for name in world.judges.activity.active(config.group)}
    world.hit("hold-then-grant")
    for sender, to in pairs:
        world.network.cut(sender, to)
    first_ns = _longest_ttl_ns(world) * 3 // 2
    left = [pair for pair in pairs if holders & set(pair)]

    def back(some: list[tuple[str, str]]) -> None:
        for sender, to in some:
            world.network.mend(sender, to)

    world.events.after(first_ns, lambda: back([pair for pair in pairs if pair not in left]))
    world.events.after(first_ns + world.some_ttls(rng), lambda: cut_site_link(world, rng))
    world.events.after(first_ns + 2 * world.some_ttls(rng), lambda: back(left))


def ways_to_witnesses(world: World) -> list[tuple[str, str]]:
    sites = [site.name for site in world.sites]
    return [pair for w in world.witnesses.values() for s in sites for pair in ((s, w.name), (w.name, s))]


def _longest_ttl_ns(world: World) -> int:
    return max(config.constants.ttl_ns for config in world.setup.groups)


def cut_off(world: World, rng: random.Random, site: str, kind: str, at_least_ns: int = 0) -> None:
    """A site loses all witnesses, both ways, for around a lease longer than `at_least_ns`."""
    pairs = [pair for w in world.witnesses.values() for pair in ((site, w.name), (w.name, site))]
    cut_pairs(world, rng, pairs, kind, at_least_ns)


def cut_pairs(world: World, rng: random.Random, pairs: list[tuple[str, str]], kind: str, at_least_ns: int = 0) -> None:
    """Each of them one way, for around a lease longer than `at_least_ns`."""
    world.hit(kind)
    world.note("network", f"{kind}: {pairs[0][0]} -> {pairs[0][1]} ...")
    for sender, to in pairs:
        world.network.cut(sender, to)

    def mend() -> None:
        for sender, to in pairs:
            world.network.mend(sender, to)

    world.events.after(at_least_ns + world.some_ttls(rng), mend)


def flap(world: World, rng: random.Random) -> None:
    site = rng.choice(world.sites)
    if site.streams.flap(rng.choice(list(world.witnesses))):
        world.hit("stream-flap")


MOODS: dict[str, Strike] = {
    "lossy": lossy,
    "doubling": doubling,
    "slow": slow,
}
BLOWS: dict[str, tuple[Strike, float]] = {
    "cut-site": (cut_site, 5.0),
    "cut-link": (cut_link, 3.0),
    "cut-leader": (cut_leader, 4.0),
    "cut-all": (cut_all, 8.0),
    "lose-third": (lose_third, 12.0),
    "lose-third-and-link": (lose_third_and_link, 12.0),
    "cut-site-link": (cut_site_link, 5.0),
    "hold-then-grant": (hold_then_grant, 12.0),
    "flap": (flap, 2.0),
}
