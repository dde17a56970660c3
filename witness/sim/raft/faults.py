"""All kinds of faults that a schedule can draw: their names, what sets or strikes them, what must have been hit.

A kind is a mood that lies on the world for the whole safety phase, a blow that falls again and again, or a tuning that
the setup draws by itself and that is counted here.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from witness.sim.raft import faults_disk, faults_identity, faults_net, faults_node, faults_peer
from witness.sim.raft.setup import LARGE_KIND

if TYPE_CHECKING:
    from witness.sim.raft.stage import Stage as World

Strike = Callable[["World", random.Random], None]

BLOWS: dict[str, Strike] = {
    **faults_net.BLOWS,
    **faults_node.BLOWS,
    **faults_disk.BLOWS,
    **faults_peer.BLOWS,
    **faults_identity.BLOWS,
}
MOODS: dict[str, Strike] = dict(faults_node.MOODS)
NET_KINDS = frozenset(faults_net.MOODS) | frozenset(faults_net.BLOWS)
DISK_KINDS = frozenset(faults_disk.BLOWS)
IDENTITY_KINDS = frozenset(faults_identity.BLOWS)
OF_MANY = NET_KINDS | frozenset(faults_peer.BLOWS) | IDENTITY_KINDS | {"bit-flip", "power-two"}
"""These need a peer, or a minority."""
WORKLOADS = frozenset({LARGE_KIND})
KINDS = NET_KINDS | frozenset(BLOWS) | frozenset(MOODS) | WORKLOADS
"""What can be drawn."""
CONSEQUENCES = frozenset(
    {"lost-writes", "torn-write", "lost-name", "image-restored", "readmitted", "refused-disk", "refused-connection"}
)
"""Never drawn, and still to be hit: what follows from what was drawn."""
STALE_KINDS = frozenset({"old-bytes", "duplicate", "forged"})
"""What doubles frames, proposals among them."""


def set_moods(world: World) -> None:
    kinds = world.setup.kinds
    faults_net.set_moods(world, kinds, world.rng("moods"))
    for kind in kinds:
        if kind in MOODS:
            MOODS[kind](world, world.rng(f"mood/{kind}"))


def blows_of(kinds: tuple[str, ...]) -> list[str]:
    return [kind for kind in kinds if kind in BLOWS]
