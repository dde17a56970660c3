"""The faults of a schedule: when they strike, and how they end.

A kind is either a mood that lasts (a lossy network, a platform that ignores TERM) or a blow that falls again and
again. Every blow ends by itself, and `heal` (witness.sim.world) ends all of them; nothing of a fault is known to
the code under test. The kinds stand in eleven rooms: faults_net, faults_node, faults_host, faults_member, faults_cpu,
faults_copy, faults_license, faults_witness, faults_restore, faults_permit and workload; witness.sim.catalogue says
what each of them must have hit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proto.units import NS_PER_S, seconds
from witness.sim import (
    faults_copy,
    faults_cpu,
    faults_host,
    faults_license,
    faults_member,
    faults_net,
    faults_node,
    faults_permit,
    faults_restore,
    faults_witness,
    workload,
)
from witness.sim.setup import rng_for

if TYPE_CHECKING:
    from witness.sim.world import World

Strike = Callable[["World", random.Random], None]


@dataclass(frozen=True, slots=True)
class Fault:
    strike: Strike
    every_s: float | None
    """Mean time between blows; None: a mood, set once."""


def _together(world: World, rng: random.Random) -> None:
    """A mood between witnesses: all of them are set at once (FaultDriver.begin)."""


_MOODS = {**faults_net.MOODS, **faults_node.MOODS, **faults_host.MOODS, **faults_license.MOODS, **faults_member.MOODS}
FAULTS: dict[str, Fault] = {
    **{
        name: Fault(strike, None)
        for name, strike in {
            **faults_net.MOODS,
            **faults_node.MOODS,
            **faults_host.MOODS,
            **faults_license.MOODS,
            **faults_member.MOODS,
        }.items()
    },
    **{
        name: Fault(strike, every_s)
        for name, (strike, every_s) in {
            **faults_net.BLOWS,
            **faults_node.BLOWS,
            **faults_host.BLOWS,
            **faults_license.BLOWS,
            **faults_cpu.BLOWS,
            **faults_copy.BLOWS,
            **faults_member.BLOWS,
            **faults_witness.BLOWS,
            **faults_restore.BLOWS,
            **faults_permit.BLOWS,
            **workload.BLOWS,
        }.items()
    },
    **{name: Fault(_together, None) for name in faults_witness.MOODS},
}


class FaultDriver:
    """Strikes until it is told to stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stopped = False

    def begin(self) -> None:
        faults_witness.set_moods(self._world)
        for kind in self._world.setup.kinds:
            fault = FAULTS[kind]
            rng = rng_for(self._world.setup.seed, f"fault/{kind}")
            if fault.every_s is None:
                fault.strike(self._world, rng)
            else:
                self._next(kind, fault, fault.every_s * rng.uniform(0.5, 2), rng)

    def _next(self, kind: str, fault: Fault, every_s: float, rng: random.Random) -> None:
        wait_ns = min(round(rng.expovariate(1 / every_s) * NS_PER_S), seconds(60))

        def fall() -> None:
            if not self._stopped:
                fault.strike(self._world, rng)
                self._next(kind, fault, every_s, rng)

        self._world.events.after(wait_ns, fall)

    def stop(self) -> None:
        self._stopped = True
