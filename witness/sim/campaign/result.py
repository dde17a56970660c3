"""What one schedule came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from witness.sim.raft.checkers import Violation

HUNG, DIED = "hung", "died"
"""The schedule did not come to its end in time, or not at all: nothing is known of it but its seed."""
STUCK = "stuck"
"""The one kind of violation that breaks no safety: the system did not come back within its bound."""


@dataclass(slots=True)
class Result:
    seed: int
    violations: list[Violation] = field(default_factory=list)
    events: int = 0
    simulated_ns: int = 0
    kinds: tuple[str, ...] = ()
    """Of faults, as drawn."""
    faults_hit: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    """Whatever else a command counts: activations, elections, ..."""
    peaks: Counter[str] = field(default_factory=Counter)
    """What is not added up: the largest of all schedules counts."""
    digest: int = 0
    """Of all that was sent, where that is known."""
    spent_ns: int = 0
    cpu_ns: int = 0
    """What it took: on the wall, and of a core. Filled in by the worker."""

    @property
    def broke(self) -> frozenset[str]:
        return frozenset(violation.kind for violation in self.violations)
