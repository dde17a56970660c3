"""What people do while things break: switchovers, modes, maintenance, quarantine, changed configuration, upgrades.

Operators see the state of whichever witness they ask and may be wrong about it; a refusal is an answer, not a
failure. After the faults the caretaker puts back what operators left behind, so that the liveness phase asks only
what the cluster promises.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from proto.commands import Author, ConfigureGroup, DeleteGroup, SetMaintenance, SetMode, SetQuarantine
from proto.groups import GroupConfig, Mode
from proto.lease import LeaseConstants
from proto.limits import COMMANDS_PENDING_MAX
from proto.units import NS_PER_MS
from witness.core.effects import Outcome
from witness.core.state import GroupState

if TYPE_CHECKING:
    from witness.sim.witness import WitnessHost
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
AUTHOR = Author("operator-1", "simulated")
AGAIN_NS = 250 * NS_PER_MS
TTLS_MS = (800, 1_000, 2_000, 3_000)
LOCK_DELAYS_MS = (0, 500, 1_000)
"""What operators change a lease to."""
TTL_LONG_MS = 6_000
"""And before a loss of all witnesses (faults_restore)."""
FLOOD_ABOVE_MAX = 500


def asked(world: World, kind: str) -> Callable[[Outcome], None]:
    def told(outcome: Outcome) -> None:
        world.hit(f"{kind}-done" if outcome.ok else f"{kind}-refused")

    return told


def desk_of(world: World, rng: random.Random) -> tuple[WitnessHost, GroupState] | None:
    """A witness that runs, and one of the groups as it knows it."""
    running = [host for host in world.witnesses.values() if host.node is not None and not host.stopped]
    if not running:
        return None
    host = rng.choice(running)
    groups = [] if host.node is None else list(host.node.machine.state.groups.values())
    return (host, rng.choice(groups)) if groups else None


def switchover(world: World, rng: random.Random) -> None:
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        host.switchover(group.config.group, rng.choice(group.config.sites), asked(world, "switchover"))


def switch_twice(world: World, rng: random.Random) -> None:
    """Two operators who know nothing of each other, mostly at two witnesses, and to different sites."""
    first, second = desk_of(world, rng), desk_of(world, rng)
    if first is None or second is None:
        return
    host, group = first
    sites = rng.sample(group.config.sites, 2)
    world.hit("switch-twice")
    host.switchover(group.config.group, sites[0], asked(world, "switchover"))
    other = second[0]
    world.events.after(
        rng.choice((0, 1, 30)) * NS_PER_MS,
        lambda: other.switchover(group.config.group, sites[1], asked(world, "switchover")),
    )


def flood(world: World, rng: random.Random) -> None:
    """More commands at once than a witness takes; they change nothing."""
    desk = desk_of(world, rng)
    if desk is not None:
        world.hit("flood")
        world.cluster.propose_at(desk[0].host, COMMANDS_PENDING_MAX + rng.randint(1, FLOOD_ABOVE_MAX))


def mode(world: World, rng: random.Random) -> None:
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        host.submit(SetMode(group.config.group, rng.choice(list(Mode)), AUTHOR), asked(world, "mode"))


def maintenance(world: World, rng: random.Random) -> None:
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        command = SetMaintenance(group.config.group, rng.choice(group.config.sites), rng.random() < 0.5, AUTHOR)
        host.submit(command, asked(world, "maintenance"))


def quarantine(world: World, rng: random.Random) -> None:
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        command = SetQuarantine(group.config.group, rng.choice(group.config.sites), rng.random() < 0.4, (), AUTHOR)
        host.submit(command, asked(world, "quarantine"))


def reconfigure(world: World, rng: random.Random) -> None:
    """New constants take effect with the next epoch."""
    desk = desk_of(world, rng)
    if desk is None:
        return
    host, group = desk
    constants = replace(group.config.constants, ttl_ms=rng.choice(TTLS_MS))
    order = list(group.config.sites)
    rng.shuffle(order)
    config = replace(group.config, constants=constants, sites=tuple(order))
    host.submit(ConfigureGroup(config, group.version, AUTHOR), asked(world, "reconfigure"))


def lock_delay(world: World, rng: random.Random) -> None:
    """A vendor's license server keeps sessions for longer from now on, or not any more: with the next epoch."""
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        constants = replace(group.config.constants, lock_delay_ms=rng.choice(LOCK_DELAYS_MS))
        command = ConfigureGroup(replace(group.config, constants=constants), group.version, AUTHOR)
        host.submit(command, asked(world, "lock-delay"))


def delete(world: World, rng: random.Random) -> None:
    """A group that is vacant at this moment goes; the caretaker creates it again, above its old epochs."""
    desk = desk_of(world, rng)
    if desk is not None:
        host, group = desk
        host.submit(DeleteGroup(group.config.group, AUTHOR), asked(world, "delete"))


def shutdown(world: World, rng: random.Random) -> None:
    """An agent is stopped as systemd stops it, and started again."""
    running = [site for site in world.sites if site.runs]
    if not running:
        return
    site = rng.choice(running)
    world.hit("agent-shutdown")
    world.note(site.name, "agent shuts down")
    site.feed(lambda agent, now: agent.shutdown(now))

    def look(tries: int = 100) -> None:
        if site.agent is None or site.agent.finished() or tries == 0:
            site.crash()
            world.events.after(rng.randint(20, 2_000) * NS_PER_MS, site.start)
        else:
            world.events.after(50 * NS_PER_MS, lambda: look(tries - 1))

    world.events.after(50 * NS_PER_MS, look)


class Caretaker:
    """Creates the groups at the beginning and puts them in order at the end; asks again until it is so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._healing = False

    def begin(self) -> None:
        self._look()

    def heal(self) -> None:
        self._healing = True

    def rest(self) -> None:
        """What operators do is theirs again."""
        self._healing = False

    def _look(self) -> None:
        world = self._world
        for host in world.witnesses.values():
            node = host.node
            if node is None or host.stopped or not node.consensus.leading or node.machine.state.cluster is None:
                continue
            for config in world.setup.groups:
                group = node.machine.state.groups.get(config.group)
                if group is None:
                    host.submit(ConfigureGroup(config, 0, AUTHOR), _ignored)
                elif self._healing:
                    self._put_in_order(host, group)
        world.events.after(AGAIN_NS, self._look)

    @staticmethod
    def _put_in_order(host: WitnessHost, group: GroupState) -> None:
        name = group.config.group
        if group.mode is not Mode.AUTOMATIC:
            host.submit(SetMode(name, Mode.AUTOMATIC, AUTHOR), _ignored)
        for site, record in group.sites.items():
            if record.maintenance:
                host.submit(SetMaintenance(name, site, False, AUTHOR), _ignored)
            if record.quarantine:
                host.submit(SetQuarantine(name, site, False, (), AUTHOR), _ignored)


def _ignored(outcome: Outcome) -> None:
    del outcome


def longest(configs: tuple[GroupConfig, ...], *, restored: bool = False) -> LeaseConstants:
    """The constants that bound every wait, operators' changes included."""
    worst = max((config.constants for config in configs), key=lambda c: (c.drift_max_ppm, c.lock_delay_ms))
    delay_ms = max(*LOCK_DELAYS_MS, *(config.constants.lock_delay_ms for config in configs))
    ttl_ms = max(TTL_LONG_MS if restored else 0, *TTLS_MS, *(config.constants.ttl_ms for config in configs))
    return LeaseConstants(ttl_ms, worst.drift_max_ppm, delay_ms)


BLOWS: dict[str, tuple[Strike, float]] = {
    "switchover": (switchover, 3.0),
    "switch-twice": (switch_twice, 4.0),
    "flood": (flood, 15.0),
    "mode": (mode, 5.0),
    "maintenance": (maintenance, 5.0),
    "quarantine": (quarantine, 5.0),
    "reconfigure": (reconfigure, 6.0),
    "lock-delay": (lock_delay, 4.0),
    "delete": (delete, 1.5),
    "shutdown": (shutdown, 6.0),
}
