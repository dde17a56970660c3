"""Faults of processes, machines and clocks: kills, losses of power at chosen points, pauses, drift and leaps.

A loss of power takes from the disk what was not synced. `hit` counts what really struck: a process that ran, an
outbox that was really cut short.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.raft.host import Host

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage as World

SEND_ALL = 1 << 20
DRIFT_PPM_MAX = 100_000
"""Ten times what the leases allow: Raft's safety needs no clock."""
PAUSES_NS = (50 * NS_PER_MS, 300 * NS_PER_MS, NS_PER_S, 4 * NS_PER_S)


def _some(world: World, rng: random.Random, count: int) -> list[Host]:
    """Of those that run; the leader more often than its share."""
    running = world.running()
    leader = world.leader()
    if leader is None or rng.random() < 0.5:
        return rng.sample(running, min(count, len(running)))
    others = [host for host in running if host is not leader]
    return [leader, *rng.sample(others, min(count - 1, len(others)))]


def kill(world: World, rng: random.Random) -> None:
    for host in _some(world, rng, 1):
        world.hit("kill")
        host.kill()


def power(world: World, rng: random.Random) -> None:
    for host in _some(world, rng, 1):
        world.hit("power")
        host.power_off()


def power_two(world: World, rng: random.Random) -> None:
    hosts = _some(world, rng, 2)
    for host in hosts:
        host.power_off()
    if len(hosts) == 2:
        world.hit("power-two")


def power_all(world: World, rng: random.Random) -> None:
    hosts = _some(world, rng, len(world.hosts))
    for host in hosts:
        host.power_off()
    if len(hosts) == len(world.hosts):
        world.hit("power-all")


def kill_all(world: World, rng: random.Random) -> None:
    hosts = _some(world, rng, len(world.hosts))
    for host in hosts:
        host.kill()
    if len(hosts) == len(world.hosts):
        world.hit("kill-all")


def power_at_send(world: World, rng: random.Random) -> None:
    """After the commit: nothing of the outbox leaves, or a part of it."""
    for host in _some(world, rng, 1):
        host.dies_sending = rng.choice((0, 0, 1, 2, SEND_ALL))


def pause_leader(world: World, rng: random.Random) -> None:
    leader = world.leader()
    if leader is not None:
        _pause(world, rng, leader, "pause-leader")


def pause_any(world: World, rng: random.Random) -> None:
    for host in _some(world, rng, 1):
        _pause(world, rng, host, "pause-any")


def _pause(world: World, rng: random.Random, host: Host, kind: str) -> None:
    if host.stop():
        world.hit(kind)
        world.events.after(int(rng.choice(PAUSES_NS) * (0.5 + rng.random())), partial(host.go_on, host.life))


def clock_leap(world: World, rng: random.Random) -> None:
    """All clocks of a machine jump ahead, as after a suspend or a migration."""
    for host in _some(world, rng, 1):
        world.hit("clock-leap")
        ahead_ns = int(rng.choice((0.1, 1, 10, 3600)) * NS_PER_S)
        world.note(host.name, f"its clock leaps {ahead_ns / NS_PER_S:g} s ahead")
        host.clock.leap(ahead_ns)
        host.rearm()


def set_drift(world: World, rng: random.Random) -> None:
    for host in world.hosts.values():
        host.clock.run_at(rng.choice((-1, 1)) * rng.choice((500, 10_000, DRIFT_PPM_MAX)))
        world.hit("drift")


def force_snapshot(world: World, rng: random.Random) -> None:
    for host in _some(world, rng, 1):
        if host.member is not None:
            world.hit("snapshot")
            host.do(host.member.force_snapshot)
            host.do(host.wake)


BLOWS = {
    "kill": kill,
    "kill-all": kill_all,
    "power": power,
    "power-two": power_two,
    "power-all": power_all,
    "power-at-send": power_at_send,
    "pause-leader": pause_leader,
    "pause-any": pause_any,
    "clock-leap": clock_leap,
    "snapshot": force_snapshot,
}
MOODS = {"drift": set_drift}
