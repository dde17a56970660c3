"""Runs one schedule: from a seed to a verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable

from proto.invariants import InvariantViolation
from witness.sim.campaign.kit import Note
from witness.sim.campaign.result import Result
from witness.sim.raft.ends import where_of
from witness.sim.raft.faults import KINDS, OF_MANY
from witness.sim.raft.hardened import Hardened
from witness.sim.raft.setup import Setup, draw, tuned, with_kinds
from witness.sim.raft.subject import Subject
from witness.sim.raft.world import World

MakeSubject = Callable[[Setup], Subject]


def setup_of(seed: int, kinds: tuple[str, ...] | None = None) -> Setup:
    """The seed's own schedule, or the same one under other kinds of faults."""
    setup = draw(seed, KINDS, OF_MANY)
    return setup if kinds is None else with_kinds(setup, kinds)


def run_chosen(seed: int, /, *, kinds: tuple[str, ...] | None) -> Result:
    return run_schedule(seed, setup=setup_of(seed, kinds))


def told(seed: int, kinds: tuple[str, ...] | None, note: Note) -> Result:
    """The story begins with what was drawn."""
    setup = setup_of(seed, kinds)
    note(0, "world", str(setup))
    return run_schedule(seed, trace=note, setup=setup)


def run_schedule(
    seed: int, *, make: MakeSubject = Hardened, trace: Note | None = None, setup: Setup | None = None
) -> Result:
    setup = setup or setup_of(seed)
    with tuned(setup.tuning):
        world = World(setup, make(setup), trace)
        try:
            world.run()
        except (Exception, InvariantViolation) as error:  # noqa: BLE001  # a finding, in the code or in the simulation
            world.judge.found("harness", f"{type(error).__name__}: {error}{where_of(error)}")
            if trace is not None:
                trace(world.events.now_ns, "world", traceback.format_exc())
        finally:
            world.close()
    judge = world.judge
    return Result(
        seed,
        violations=list(judge.findings.violations),
        events=world.happened,
        simulated_ns=world.events.now_ns,
        kinds=setup.kinds,
        faults_hit=world.hits,
        figures=Counter(entries=len(judge.log.entries), elections=judge.leaders.elections, dated=judge.ages.dated),
        digest=world.network.wire.digest,
    )
