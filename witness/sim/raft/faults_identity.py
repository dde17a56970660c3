"""Disks that forgot something: blank, restored, put back after a readmission; and the readmission that mends them.

Rule: such a disk counts as damaged until its witness votes again on a new one, and the damaged are a minority at any
instant. What a machine said from a disk that is gone is never carried to anybody later: no Raft could bear that, and
connections forbid it. Nor is an old disk put back while the others do not reach one another: which of them saw it
further nobody could tell (docs/operating/recover-a-witness.md, "What no software can tell"). At the heal, operators do
what the refusals told them: they readmit.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_MS, NS_PER_S
from witness.raft.store import create_store
from witness.sim.disk import SimDisk
from witness.sim.raft.host import Host
from witness.sim.raft.setup import CLONE_KIND, CLUSTER
from witness.sim.raft.sim_drive import SimDrive

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage

READMIT_AFTER_NS = (0, 100 * NS_PER_MS, NS_PER_S, 20 * NS_PER_S)
REPLACED = "a disk that a readmission replaced"
"""Of the refusal's words."""
RESTORE_AFTER_NS = (5 * NS_PER_MS, 50 * NS_PER_MS, 400 * NS_PER_MS, 2 * NS_PER_S)


def new_disk(host: Host, rng: random.Random, *, learner: bool) -> SimDisk:
    disk = SimDisk(random.Random(rng.random()), host.witness)  # noqa: S311  # a simulation, not a secret
    create_store(disk, CLUSTER, host.witness, learner=learner)
    return disk


def _victim(world: Stage, rng: random.Random) -> tuple[Host, SimDrive] | None:
    host = rng.choice(list(world.hosts.values()))
    if isinstance(host.drive, SimDrive) and world.damage.may_damage(host):
        return host, host.drive
    return None


def _replace(world: Stage, host: Host, drive: SimDrive, disk: SimDisk) -> None:
    host.power_off()
    host.refusal = None
    drive.insert(disk)
    world.damage.replaced(host)
    world.network.forget_past(host.name)


def readmit_host(world: Stage, host: Host, rng: random.Random) -> None:
    """`witness readmit`: what is there is put aside, and a learner's store takes its place."""
    if isinstance(host.drive, SimDrive):
        stays_down = host.name in world.damage.refused
        world.hit("readmit")
        world.note(host.name, "is readmitted on a new disk")
        _replace(world, host, host.drive, new_disk(host, rng, learner=True))
        world.damage.readmitted(host)
        if stays_down:
            world.start_later(host)


def readmit_told(world: Stage, rng: random.Random) -> bool:
    """Whom its peers go on calling replaced is readmitted once more, as they say; True when there was one.

    A member that reads an earlier readmission's introduction only after it heard of the later one takes the disks in
    that order, and nothing that either of them carries could tell it better.
    """
    told = [host for host in world.hosts.values() if host.name in world.damage.learners and host.refusal is not None]
    told = [host for host in told if REPLACED in (host.refusal or "")]
    for host in told:
        world.hit("readmit-again")
        readmit_host(world, host, rng)
    return bool(told)


def readmit(world: Stage, rng: random.Random) -> None:
    found = _victim(world, rng)
    if found is not None:
        readmit_host(world, found[0], rng)


def mended_later(world: Stage, host: Host, rng: random.Random) -> None:
    """By its operator, sooner or later."""
    world.damage.needs_readmission(host)
    again = random.Random(rng.random())  # noqa: S311  # a simulation, not a secret
    world.fault_after(rng.choice(READMIT_AFTER_NS), partial(_mend, world, host, again))


def _mend(world: Stage, host: Host, rng: random.Random) -> None:
    if host.name in world.damage.out:
        readmit_host(world, host, rng)


def blank_disk(world: Stage, rng: random.Random) -> None:
    """A new disk, initialised as if the witness were new."""
    found = _victim(world, rng)
    if found is None:
        return
    host, drive = found
    world.hit("blank-disk")
    world.note(host.name, "gets a blank disk")
    _replace(world, host, drive, new_disk(host, rng, learner=False))
    mended_later(world, host, rng)


def restored_disk(world: Stage, rng: random.Random) -> None:
    """A copy of its disk is made now and put back later."""
    found = _victim(world, rng)
    if found is None:
        return
    host, drive = found
    copy = drive.disk.clone(random.Random(rng.random()), host.witness)  # noqa: S311  # a simulation, not a secret
    lives = world.damage.lives
    world.fault_after(rng.choice(RESTORE_AFTER_NS), partial(_restore, world, host, drive, copy, rng, lives))


def _restore(world: Stage, host: Host, drive: SimDrive, copy: SimDisk, rng: random.Random, lives: int) -> None:
    if lives != world.damage.lives or not _others_reach_one_another(world, host) or not world.damage.may_damage(host):
        return
    world.hit("restored-disk")
    world.note(host.name, "gets an old copy of its disk")
    _replace(world, host, drive, copy)
    mended_later(world, host, rng)


def _others_reach_one_another(world: Stage, host: Host) -> bool:
    others = [one for one in world.hosts.values() if one.witness != host.witness]
    pairs = [(one.name, two.name) for one in others for two in others if one is not two]
    reached = all(world.network.wire.reachable(*pair) and world.network.open_socket(*pair) for pair in pairs)
    return reached and all(one.member is not None and not one.stopped for one in others)


def cloned_disk(world: Stage, rng: random.Random) -> None:
    """A machine is copied while it runs, or after its process ended, and the copy starts beside it."""
    hosts = [host for host in world.hosts.values() if world.copy_of(host) is not None]
    host = hosts[0] if hosts else None
    copy = None if host is None else world.copy_of(host)
    if host is None or copy is None or not isinstance(host.drive, SimDrive) or not isinstance(copy.drive, SimDrive):
        return
    if copy.member is not None or not world.damage.may_damage(host):
        return
    world.hit("cloned-disk")
    world.note(host.name, "is copied to another machine")
    if rng.random() < 0.3:
        host.kill()
    copy.drive.insert(host.drive.disk.clone(random.Random(rng.random()), host.witness))  # noqa: S311  # a simulation
    world.network.forget_past(copy.name)
    world.damage.needs_readmission(host)
    world.fault_after(rng.choice(RESTORE_AFTER_NS), copy.start)


BLOWS = {"readmit": readmit, "blank-disk": blank_disk, "restored-disk": restored_disk, CLONE_KIND: cloned_disk}
