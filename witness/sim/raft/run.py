"""Runs one schedule: from a seed to a verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from proto.invariants import InvariantViolation
from witness.sim.raft.checkers import Violation
from witness.sim.raft.faults import KINDS, OF_MANY
from witness.sim.raft.hardened import Hardened
from witness.sim.raft.setup import Setup, draw, tuned, with_kinds
from witness.sim.raft.subject import Subject
from witness.sim.raft.world import Note, World

MakeSubject = Callable[[Setup], Subject]


@dataclass(slots=True)
class Result:
    """One schedule, or many added up."""

    schedules: int = 0
    events: int = 0
    simulated_ns: int = 0
    violations: list[tuple[int, Violation]] = field(default_factory=list)
    """With the seed of its schedule."""
    faults_hit: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    elections: int = 0
    dated: int = 0
    kinds: tuple[str, ...] = ()
    """Of a single schedule."""
    digest: int = 0
    """Of all that was sent in a single schedule."""

    def add(self, other: Result) -> None:
        self.schedules += other.schedules
        self.events += other.events
        self.simulated_ns += other.simulated_ns
        self.violations += other.violations
        self.faults_hit += other.faults_hit
        self.drawn += other.drawn
        self.entries += other.entries
        self.elections += other.elections
        self.dated += other.dated

    def replay_line(self, seed: int, violation: Violation) -> str:
        """Of a single schedule: replays for ever, also when there are more kinds of faults to draw from."""
        kinds = f" --kinds {','.join(self.kinds)}" if self.kinds else ""
        return f'make fuzz ARGS="--replay {seed}{kinds}"  # {violation}'

    @property
    def stuck(self) -> int:
        return sum(violation.kind == "stuck" for _, violation in self.violations)


def setup_of(seed: int, kinds: tuple[str, ...] | None = None) -> Setup:
    """The seed's own schedule, or the same one under other kinds of faults."""
    setup = draw(seed, KINDS, OF_MANY)
    return setup if kinds is None else with_kinds(setup, kinds)


def run_chosen(seed: int, kinds: tuple[str, ...]) -> Result:
    return run_schedule(seed, setup=setup_of(seed, kinds))


def run_schedule(
    seed: int, *, make: MakeSubject = Hardened, trace: Note | None = None, setup: Setup | None = None
) -> Result:
    setup = setup or setup_of(seed)
    with tuned(setup.tuning):
        world = World(setup, make(setup), trace)
        try:
            world.run()
        except (Exception, InvariantViolation) as error:  # noqa: BLE001  # a finding, in the code or in the simulation
            where = traceback.extract_tb(error.__traceback__)[-1]
            world.judge.found("harness", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")
            if trace is not None:
                trace(world.events.now_ns, "world", traceback.format_exc())
        finally:
            world.close()
    judge = world.judge
    return Result(
        schedules=1,
        events=world.happened,
        simulated_ns=world.events.now_ns,
        violations=[(seed, violation) for violation in judge.findings.violations],
        faults_hit=world.hits,
        drawn=Counter(setup.kinds),
        kinds=setup.kinds,
        entries=len(judge.log.entries),
        elections=judge.leaders.elections,
        dated=judge.ages.dated,
        digest=world.network.wire.digest,
    )
