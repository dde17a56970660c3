"""What happens to witnesses: the Raft fuzz's faults of processes, disks and the network between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from proto.units import NS_PER_S
from witness.sim.raft import faults
from witness.sim.raft.setup import CLONE_KIND, LARGE_KIND
from witness.sim.setup import RAFT_KIND

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]
LEFT_OUT = frozenset({LARGE_KIND, CLONE_KIND, "drift", "clock-leap"})
"""A workload and copied machines, which are make fuzz's own; clocks beyond the bound that leases rest on: one witness
has those (mad-clock)."""
EVERY_S = {"power-all": 8.0, "kill-all": 8.0, "power-two": 6.0, "forged": 0.5, "reset": 1.0, "sync-error": 8.0}
EVERY_S |= dict.fromkeys(("readmit", "blank-disk", "restored-disk"), 8.0)
"""A readmitted witness votes again after some seconds."""
EVERY_S_ELSE = 3.0


def stop(world: World, rng: random.Random) -> None:
    """SIGSTOP, around a lease long, of one witness or of all of them."""
    hosts = list(world.witnesses.values())
    chosen = hosts if rng.random() < 0.3 else [rng.choice(hosts)]
    for host in chosen:
        if host.stop():
            world.hit("witness-stop-all" if len(chosen) > 1 else "witness-stop")
            world.events.after(world.some_ttls(rng), partial(host.host.go_on, host.host.life))


def cut_all(world: World, rng: random.Random) -> None:
    """No witness reaches another one, around a lease long: their timers run out and nothing can be decided."""
    network, span_ns = world.cluster.network, world.some_ttls(rng)
    world.note("network", f"the witnesses are cut off from one another for {span_ns / NS_PER_S:.3f} s")
    for name, peer in sorted(network.wire.paths):
        network.cut(name, peer, "cut-all")
        world.events.after(span_ns, partial(network.mend, name, peer, "cut-all"))


def _blow(kind: str) -> Strike:
    return lambda world, rng: faults.BLOWS[kind](world.cluster, rng)


def set_moods(world: World) -> None:
    """What lies on the ways between the witnesses for the whole safety phase."""
    faults.set_moods(world.cluster)


KINDS = frozenset(faults.KINDS - LEFT_OUT)
BLOWS: dict[str, tuple[Strike, float]] = {
    RAFT_KIND + kind: (_blow(kind), EVERY_S.get(kind, EVERY_S_ELSE)) for kind in sorted(KINDS & set(faults.BLOWS))
} | {"witness-stop": (stop, 4.0), "witness-cut-all": (cut_all, 5.0)}
MOODS = frozenset(RAFT_KIND + kind for kind in KINDS - set(faults.BLOWS))
