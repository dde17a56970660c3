"""Faults of the disk, for subjects that run on a simulated one (witness.sim.disk).

Rule: what ends a process or delays it may strike anybody, as often as it will. What takes back what was synced (bits
that rotted, a sync that failed) may strike a minority of the disks in one schedule: beyond that no consensus can
promise anything.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS, NS_PER_S
from witness.sim.disk import SimDisk
from witness.sim.raft.host import Host
from witness.sim.raft.sim_drive import SimDrive, synced_bytes

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage as World

OPERATIONS_AHEAD = 60
SLOW_NS = (20 * NS_PER_MS, 300 * NS_PER_MS, 5 * NS_PER_S)


def _drives(world: World) -> list[tuple[Host, SimDrive]]:
    return [(host, host.drive) for host in world.hosts.values() if isinstance(host.drive, SimDrive)]


def _one(world: World, rng: random.Random) -> tuple[Host, SimDisk]:
    host, drive = rng.choice(_drives(world))
    return host, drive.disk


def power_at_disk(world: World, rng: random.Random) -> None:
    """The power fails at some operation soon: any, or one of the syncs."""
    host, disk = _one(world, rng)
    if rng.random() < 0.5:
        disk.faults.crash_in(rng.randint(1, OPERATIONS_AHEAD))
    else:
        target = rng.choice(("sync:witness.db-wal", "sync:witness.db", "sync:snapshot.bin.tmp", "names:"))
        disk.faults.crash_at(target, rng.choice((0, 0, 1, 3)))
    world.note(host.name, "its power will fail in the middle of a disk's work")


def no_space(world: World, rng: random.Random) -> None:
    host, disk = _one(world, rng)
    disk.faults.limit(disk.used_bytes() + rng.choice((0, 500, 5_000, 30_000, 150_000)))
    world.note(host.name, "its disk is nearly full")
    world.fault_after(int(rng.uniform(0.1, 3) * NS_PER_S), partial(disk.faults.limit, None), always=True)


def read_only(world: World, rng: random.Random) -> None:
    host, disk = _one(world, rng)
    disk.faults.freeze()
    world.note(host.name, "its disk is read-only")
    world.fault_after(int(rng.uniform(0.1, 2) * NS_PER_S), partial(disk.faults.freeze, read_only=False), always=True)


def io_error(world: World, rng: random.Random) -> None:
    host, disk = _one(world, rng)
    disk.faults.fail(rng.choice(("read", "write", "resize", "create", "rename", "delete")), skip=rng.randint(0, 20))
    world.note(host.name, "its disk will fail once")


def sync_error(world: World, rng: random.Random) -> None:
    """Once, and then all is well again (D3); what it should have written may be gone, what was synced before too."""
    host, disk = _one(world, rng)
    if not world.damage.may_damage(host):
        return
    disk.faults.fail(rng.choice(("sync", "sync", "names")), skip=rng.randint(0, 6))
    world.note(host.name, "a sync of its disk will fail once")


def slow_disk(world: World, rng: random.Random) -> None:
    host, drive = rng.choice(_drives(world))
    drive.slow_ns = rng.choice(SLOW_NS)
    world.note(host.name, f"a sync takes {drive.slow_ns / NS_PER_S:g} s")
    world.fault_after(int(rng.uniform(0.2, 3) * NS_PER_S), drive.quick, always=True)


def bit_flip(world: World, rng: random.Random) -> None:
    host, drive = rng.choice(_drives(world))
    if not world.damage.may_damage(host):
        return
    spot = rng.choice(synced_bytes(drive.disk))
    if spot.size:
        name, at, _ = drive.disk.flip_bit(spot.name, rng.randrange(spot.size))
        world.damage.rotten.add(host.name)
        world.note(host.name, f"a bit rots in {name} at {at}")


BLOWS = {
    "power-at-disk": power_at_disk,
    "no-space": no_space,
    "read-only": read_only,
    "io-error": io_error,
    "sync-error": sync_error,
    "slow-disk": slow_disk,
    "bit-flip": bit_flip,
}
HITS = {
    "crash point": "power-at-disk",
    "no space": "no-space",
    "read-only": "read-only",
    "sync error": "sync-error",
    "names error": "sync-error",
    "read error": "io-error",
    "write error": "io-error",
    "resize error": "io-error",
    "create error": "io-error",
    "rename error": "io-error",
    "delete error": "io-error",
    "bit flip": "bit-flip",
    "slow operation": "slow-disk",
    "lost writes": "lost-writes",
    "torn write": "torn-write",
    "lost name": "lost-name",
}
"""What the disk counted, in our words."""
