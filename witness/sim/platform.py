"""The platforms that agents start and stop: how their steps act, and what their probes say.

A platform is told by its moods, each the chance that the next start, stop or proof goes wrong in one way. The guard
(agents.fencing.guard_model.GuardModel) runs the steps; nothing here knows about leases.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from agents.core.health import HealthSummary
from agents.fencing.guard_model import Behaviour
from proto.health import DataChecks
from proto.units import NS_PER_MS

STEPS_MAX = 3


@dataclass(slots=True)
class Moods:
    """Chances, 0 to 1."""

    start_fails: float = 0.0
    start_hangs: float = 0.0
    start_slow: float = 0.0
    stop_deaf: float = 0.0
    """Ignores TERM: only KILL ends it."""
    stop_fails: float = 0.0
    """The deactivation step exits with an error, and has ended nothing."""
    stop_hangs: float = 0.0
    """The deactivation step never returns."""
    stop_unproven: float = 0.0
    """Down, but the proof fails."""
    verify_unproven: float = 0.0
    fence_unproven: float = 0.0
    undead: float = 0.0
    """Something that the start leaves stands in a call of the kernel that no signal ends."""
    step_crash: float = 0.0
    """The agent dies at the next point between two steps (FAULTS A1)."""


class Platform:
    """One group's platform at one site."""

    def __init__(self, rng: random.Random, hit: Callable[[str], None], data_checks: DataChecks) -> None:
        self.moods = Moods()
        self.ready = True
        self.healthy = True
        self.lag_ms = 5
        self.component_found = False
        """In the active role while the site is dormant."""
        self.data_fails = False
        self._data_checks = data_checks
        self._rng = rng
        self._hit = hit

    def health(self) -> HealthSummary:
        blockers: tuple[str, ...] = () if self.ready else ("ready probe tcp: refused",)
        if not self.healthy:
            blockers += ("service probe http: 503",)
        if self.component_found:
            blockers += ("component:shop-db: is active",)
        ready = self.ready and not self.component_found
        checks = DataChecks.FAILED if self.data_fails else self._data_checks
        return HealthSummary(ready, self.healthy, checks, self.lag_ms, blockers, 0 if self.healthy else 1)

    def start_steps(self) -> list[Behaviour]:
        """One start, in order; what the last one leaves running is the platform itself."""
        count = self._rng.randint(1, STEPS_MAX)
        moods, rng = self.moods, self._rng
        bad_at = rng.randrange(count)
        steps = []
        for number in range(count):
            last = number == count - 1
            takes_ns, leaves = rng.randint(2, 60) * NS_PER_MS, last or rng.random() < 0.5
            deaf = self._happens("stop-deaf", moods.stop_deaf)
            term_ns = rng.randint(1, 100) * NS_PER_MS
            undead = last and moods.undead > 0 and rng.random() < moods.undead
            behaviour = Behaviour(takes_ns, 0, False, deaf or undead, term_ns, leaves, undead)
            if leaves and not last:
                self._hit("start-forks")
            steps.append(self._spoilt(behaviour) if number == bad_at else behaviour)
        return steps

    def _spoilt(self, behaviour: Behaviour) -> Behaviour:
        deaf, term_ns = behaviour.ignores_term, behaviour.term_takes_ns
        if self._happens("start-fails", self.moods.start_fails):
            return Behaviour(exit_code=1, ignores_term=deaf, term_takes_ns=term_ns, leaves_running=True)
        if self._happens("start-hangs", self.moods.start_hangs):
            return Behaviour(hangs=True, ignores_term=deaf, term_takes_ns=term_ns)
        if self._happens("start-slow", self.moods.start_slow):
            takes_ns = self._rng.randint(200, 4_000) * NS_PER_MS
            return Behaviour(takes_ns, ignores_term=deaf, term_takes_ns=term_ns, leaves_running=True)
        return behaviour

    def placed_step(self) -> Behaviour:
        """A step of the lead's plan, on a member."""
        leaves = self._rng.random() < 0.5
        if leaves:
            self._hit("start-forks")
        deaf = self._happens("stop-deaf", self.moods.stop_deaf)
        takes_ns, term_ns = self._rng.randint(2, 60) * NS_PER_MS, self._rng.randint(1, 100) * NS_PER_MS
        return self._spoilt(Behaviour(takes_ns, 0, False, deaf, term_ns, leaves))

    def stop_step(self) -> Behaviour:
        if self._happens("stop-hangs", self.moods.stop_hangs):
            return Behaviour(hangs=True)
        exit_code = 1 if self._happens("stop-fails", self.moods.stop_fails) else 0
        return Behaviour(takes_ns=self._rng.randint(1, 50) * NS_PER_MS, exit_code=exit_code)

    def crashes_agent(self) -> bool:
        return self._happens("step-crash", self.moods.step_crash)

    def proves(self, what: str) -> bool:
        """Does the proof of this stop, verification or fence succeed?"""
        chance: float = getattr(self.moods, f"{what}_unproven")
        return not self._happens(f"{what}-unproven", chance)

    def _happens(self, kind: str, chance: float) -> bool:
        if chance and self._rng.random() < chance:
            self._hit(kind)
            return True
        return False
