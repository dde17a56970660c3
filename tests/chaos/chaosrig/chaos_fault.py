"""A kind of fault: how it is made and ended on real processes, from a line of the scenario language."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaosrig.chaos_world import World

from witness.sim.scenario.command import Command, forward_ns

NS_PER_S = 1_000_000_000


@dataclass(slots=True)
class Blow:
    """One fault that was made. `heal` ends it; a fault that ends by itself heals nothing."""

    span_s: float
    heal: Callable[[], None]
    note: str = ""
    """What it hit, for the report."""
    excuse: str = ""
    """Why the epoch may move all the same: what this machine, and not the product, made of the fault."""
    check: Callable[[], str] = lambda: ""
    """Asked before it is healed: '' or what does not hold."""


Strike = Callable[[World, Command], Blow]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the catalogue."""

    name: str
    ids: str
    """Of FAULTS.md."""
    says: str
    strike: Strike
    alone: bool = False
    """Not combined with another: the two would be about the same processes, disks or people."""
    needs: Callable[[World], str] = lambda _world: ""
    """'' or why it cannot be tried here."""


def nothing() -> None:
    """There is nothing to end."""


def span_of(command: Command, default_s: float) -> float:
    """The last word, in seconds."""
    found: int = command.last(forward_ns, round(default_s * NS_PER_S))
    return found / NS_PER_S


def draw_of(command: Command) -> float:
    """The draw of a `strike`, as a share from 0 to 1."""
    return command.option("draw", int, 0) / 1_000


def needs_edge(world: World) -> str:
    return (
        ""
        if world.edge_library is not None
        else "needs a C compiler (Debian package gcc): clocks and syncs are shimmed"
    )
