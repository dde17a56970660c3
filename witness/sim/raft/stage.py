"""What the faults need of the world that they strike: the fuzz's own (world.py) and the whole-system one are such."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Protocol

from proto.units import WitnessId
from witness.sim.clock import Events
from witness.sim.raft.damage import Damage
from witness.sim.raft.host import Host
from witness.sim.raft.network import Network
from witness.sim.raft.setup import Setup


class Stage(Protocol):
    @property
    def setup(self) -> Setup: ...
    @property
    def events(self) -> Events: ...
    @property
    def network(self) -> Network: ...
    @property
    def hosts(self) -> Mapping[WitnessId, Host]: ...
    @property
    def damage(self) -> Damage: ...
    def rng(self, name: str, /) -> random.Random:
        """A stream of its own for each part of a schedule."""

    def copy_of(self, host: Host) -> Host | None:
        """The machine that may become a copy of this one; None when there is none in this schedule."""

    def running(self) -> list[Host]: ...
    def leader(self) -> Host | None:
        """Who leads by its own word, of the highest term."""

    def propose_at(self, host: Host, count: int) -> None:
        """Work for one witness, whoever it is."""

    def start_later(self, host: Host) -> None:
        """As after the end of its process."""

    def hit(self, kind: str) -> None: ...
    def note(self, who: str, what: str) -> None: ...
    def fault_after(self, delay_ns: int, action: Callable[[], None], *, always: bool = False) -> None:
        """Strikes as long as the safety phase lasts; `always`: what ends a fault is never harmful."""
