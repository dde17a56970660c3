"""Runs schedules: one seed each, safety phase, heal, liveness phase, verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from proto.clock import Clock
from proto.invariants import InvariantViolation
from proto.units import NS_PER_S, seconds
from witness.sim.faults import FAULTS
from witness.sim.raft.checkers import Violation
from witness.sim.raft.setup import tuned
from witness.sim.setup import Setup, draw
from witness.sim.world import Note, World

NO_KINDS = "none"


@dataclass(slots=True)
class Result:
    """One schedule, or many added up."""

    schedules: int = 0
    events: int = 0
    simulated_ns: int = 0
    violations: list[tuple[int, Violation]] = field(default_factory=list)
    """With the seed of its schedule."""
    faults_hit: Counter[str] = field(default_factory=Counter)
    activations: int = 0
    kinds: tuple[str, ...] = ()
    """Of a single schedule."""

    def add(self, other: Result) -> None:
        self.schedules += other.schedules
        self.events += other.events
        self.simulated_ns += other.simulated_ns
        self.violations += other.violations
        self.faults_hit += other.faults_hit
        self.activations += other.activations

    def count(self, kind: str) -> int:
        return sum(violation.kind == kind for _, violation in self.violations)

    def summary(self) -> dict[str, object]:
        return {
            "schedules": self.schedules,
            "events": self.events,
            "simulated_s": round(self.simulated_ns / NS_PER_S, 1),
            "activations": self.activations,
            "violations": len(self.violations),
            "overlaps": self.count("overlap"),
            "stuck": self.count("stuck"),
            "faults_hit": dict(sorted(self.faults_hit.items())),
        }


def run_schedule(seed: int, *, trace: Note | None = None, setup: Setup | None = None) -> Result:
    setup = setup or draw(seed, list(FAULTS))
    with tuned(setup.raft.tuning):
        return _run(seed, World(setup, trace), trace)


def _run(seed: int, world: World, trace: Note | None) -> Result:
    try:
        world.begin()
        world.faults.begin()
        world.run_until(seconds(world.setup.safety_s))
        world.heal()
        world.close(settled=world.settle())
    except (Exception, InvariantViolation) as error:  # noqa: BLE001  # whatever the code under test raises is a finding
        where = traceback.extract_tb(error.__traceback__)[-1]
        world.judges.found("crash", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
        if trace is not None:
            trace(world.events.now_ns, "world", traceback.format_exc())
    return Result(
        schedules=1,
        events=world.events.done,
        simulated_ns=world.events.now_ns,
        violations=[(seed, violation) for violation in world.judges.violations],
        faults_hit=world.faults_hit,
        activations=world.judges.activity.activations,
        kinds=world.setup.kinds,
    )


def drawn(seed: int, kinds: tuple[str, ...] | None) -> Setup:
    """The seed's own schedule, or the same one under other kinds of faults."""
    setup = draw(seed, list(FAULTS))
    return setup if kinds is None else replace(setup, kinds=kinds)


def replay_line(seed: int, kinds: tuple[str, ...], violation: Violation) -> str:
    return f"python -m witness.sim --schedules 1 --seed {seed} --kinds {','.join(kinds) or NO_KINDS}  # {violation}"


def campaign(
    seed: int, schedules: int, told: Callable[[int, Result], None], kinds: tuple[str, ...] | None = None
) -> Result:
    """Seeds seed, seed + 1, ...; `told` hears of each schedule as it ends."""
    total = Result()
    for number in range(schedules):
        result = run_schedule(seed + number, setup=drawn(seed + number, kinds))
        total.add(result)
        told(number + 1, result)
    return total


def rate(result: Result, clock: Clock, since_ns: int) -> float:
    """Simulated seconds per second of the wall."""
    spent_ns = max(1, clock.now() - since_ns)
    return result.simulated_ns / spent_ns
