"""The hosts of one world, the fuzz's or the whole system's: who runs, who leads, and that all faults on them end.

At the heal operators do what refusals told them, mostly: a witness whose disk was refused may also stay down.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from witness.sim.raft.faults_disk import HITS
from witness.sim.raft.faults_identity import readmit_host
from witness.sim.raft.faults_net import SLOW_NS_MAX
from witness.sim.raft.host import Host
from witness.sim.raft.sim_drive import SimDrive

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage

REFUSED_MENDED = 0.5
"""Share of the witnesses with damaged disks that are readmitted at the end; the others stay down."""


def running_of(hosts: Iterable[Host]) -> list[Host]:
    return [host for host in hosts if host.member is not None]


def leader_of(hosts: Iterable[Host]) -> Host | None:
    """Who leads by its own word, of the highest term."""
    leading = [(host.member.view(), host) for host in hosts if host.member is not None]
    leading = [(view, host) for view, host in leading if view.leads]
    return max(leading, key=lambda pair: pair[0].term)[1] if leading else None


def heal_hosts(world: Stage, rng: random.Random, restart: Callable[[Host], None]) -> None:
    """Nothing strikes them any more, and who is down is given to `restart`; the network is healed before."""
    for host in world.hosts.values():
        if isinstance(host.drive, SimDrive):
            host.drive.calm()
        host.disk_is_quick(SLOW_NS_MAX)
        host.dies_sending = None
        host.go_on(host.life)
        refused = host.name in world.damage.refused and rng.random() < REFUSED_MENDED
        if host.name in world.damage.out or refused:
            readmit_host(world, host, rng)
        restart(host)


def disk_hits(hosts: Iterable[Host]) -> Counter[str]:
    """How often each fault of a disk struck, by the fuzz's names."""
    total: Counter[str] = Counter()
    for host in hosts:
        if isinstance(host.drive, SimDrive):
            for kind, count in host.drive.hits().items():
                if kind in HITS:
                    total[HITS[kind]] += count
    return total
