"""The register of verbs: how each is written, what it does, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from witness.sim.scenario.command import Command
from witness.sim.scenario.stage import Stage

Do = Callable[[Stage, Command], None]


@dataclass(frozen=True, slots=True)
class Verb:
    usage: str
    """Capitals are to be filled in, brackets may be left out."""
    does: str
    do: Do
