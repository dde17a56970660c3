"""What happens to disks and clocks (FAULTS: D, C), at the edge of the host's processes or on its own small disk."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from chaosrig.chaos_fault import Blow, Kind, needs_edge, nothing, span_of
from chaosrig.chaos_ground import wait_for
from chaosrig.chaos_layout import WITNESSES
from chaosrig.chaos_units import Host
from chaosrig.chaos_world import ALMOST_FULL, World

from witness.sim.scenario.command import Command, forward_ns, rate_ppm, span_ns

HOLD_TTLS = 1.5
FROZEN_S = 2.0


def full(world: World, command: Command) -> Blow:
    """`disk WITNESS full`: as large as it is filled, rounded to pages."""
    name = world.witness(command.word("whose"))
    command.word("full")
    world.remount(name, size=ALMOST_FULL)
    return Blow(HOLD_TTLS * world.ttl_s, partial(_larger, world, name), name)


def _larger(world: World, name: str) -> None:
    world.remount(name)
    world.units.start(world.unit(name))


def read_only(world: World, command: Command) -> Blow:
    """An open file for writing keeps a remount away, so it comes with a restart: the process finds it so."""
    unit = world.unit(world.witness(command.word("whose")))
    command.word("read-only")
    world.units.kill(unit)
    world.remount(unit.name, read_only=True)
    world.units.start(unit)

    def heal() -> None:
        world.units.kill(unit)
        world.remount(unit.name)
        world.units.start(unit)

    return Blow(HOLD_TTLS * world.ttl_s, heal, unit.name)


def slow_syncs(world: World, command: Command) -> Blow:
    """`disk WITNESS slow SPAN`: each sync takes that long."""
    host = world.hosts[world.witness(command.word("whose"))]
    command.word("slow")
    span_ms = forward_ns(command.word("how slow")) // 1_000_000
    host.edge.slow_syncs(span_ms)
    return Blow(2 * world.ttl_s, partial(host.edge.slow_syncs, 0), f"{host.name}: {span_ms} ms")


def failing_sync(world: World, command: Command) -> Blow:
    """One sync says EIO, the next ones work: the process must end and may not acknowledge what it wrote."""
    unit = world.unit(world.witness(command.word("whose")))
    span_s = span_of(command, 1.0)
    before = unit.pid
    unit.host.edge.failing_syncs(1)
    wait_for(world, lambda: unit.pid != before, f"{unit.name} ends after a sync that failed", 3 * world.ttl_s)
    return Blow(span_s, nothing, f"{unit.name}: exit code {unit.exits[-1] if unit.exits else '?'}")


def wall(world: World, command: Command) -> Blow:
    """`clock MACHINE wall SPAN`: the wall clock is set, ahead or back, and set right again later."""
    hosts = _hosts(world, command.word("whose"))
    command.word("wall")
    shift_ns = span_ns(command.word("by"))
    for host in hosts:
        host.edge.wall(shift_ns)
    return Blow(2 * world.ttl_s, partial(_each, hosts, 0), f"{_names(hosts)}: {shift_ns / 1e9:g} s")


def _each(hosts: Iterable[Host], shift_ns: int) -> None:
    for host in hosts:
        host.edge.wall(shift_ns)


def rate(world: World, command: Command) -> Blow:
    """`clock w1|witnesses rate FACTOR`: all of their clocks run at another rate; what they gained stays."""
    word = command.word("whose")
    command.word("rate")
    ppm = rate_ppm(command.word("how fast"))
    hosts = [world.hosts[name] for name in (WITNESSES if word == "witnesses" else [word])]
    for host in hosts:
        _standing(world, host, ppm)
    return Blow(3 * world.ttl_s, partial(_right, world, hosts), f"{_names(hosts)}: {ppm} ppm")


def _right(world: World, hosts: Iterable[Host]) -> None:
    for host in hosts:
        _standing(world, host, 0)


def _standing(world: World, host: Host, ppm: int) -> None:
    """Nobody reads a clock while its two numbers change."""
    _freeze(world, host)
    host.edge.rate(ppm)
    host.group.freeze(frozen=False)


def suspend(world: World, command: Command) -> Blow:
    """`suspend SITE SPAN`: nothing executes, BOOTTIME goes on, MONOTONIC and MONOTONIC_RAW stood still."""
    hosts = world.site_hosts(command.word("the site"))
    span_s = span_of(command, 2 * world.ttl_s)
    began = {}
    for host in hosts:
        _freeze(world, host)
        began[host.name] = time.monotonic_ns()
    return Blow(span_s, partial(_resume, hosts, began), _names(hosts))


def _resume(hosts: Iterable[Host], began: dict[str, int]) -> None:
    for host in hosts:
        host.edge.slept(time.monotonic_ns() - began[host.name])
        host.group.freeze(frozen=False)


def _freeze(world: World, host: Host) -> None:
    host.group.freeze(frozen=True)
    wait_for(world, host.group.frozen, f"{host.name} is frozen", FROZEN_S)


def _hosts(world: World, word: str) -> list[Host]:
    return world.site_hosts(word) if word in ("active", "standby") else [world.hosts[world.witness(word)]]


def _names(hosts: Iterable[Host]) -> str:
    return "+".join(host.name for host in hosts)


MACHINES = (
    Kind("D1", "D1", "a witness's disk is full", full),
    Kind("D3", "D3 D2", "one sync of a witness says EIO, the next ones work", failing_sync, needs=needs_edge),
    Kind("D9", "D9", "each sync of a witness takes 50 ms to 5 s", slow_syncs, needs=needs_edge),
    Kind("D10", "D10", "a witness's disk is read-only when it starts", read_only),
    Kind("C1", "C1 C6", "the wall clock of a leader or a site is set", wall, needs=needs_edge),
    Kind("C2", "C2", "all witnesses' clocks are 1 % fast or slow, as the lease allows", rate, needs=needs_edge),
    Kind("C3", "C3", "one witness's clock runs at half, double or four times the rate", rate, needs=needs_edge),
    Kind(
        "C4",
        "C4",
        "a site is suspended: MONOTONIC stands still, BOOTTIME goes on",
        suspend,
        alone=True,
        needs=needs_edge,
    ),
)
