"""Runs schedules: one seed each, safety phase, heal, liveness phase, verdict."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import replace

from proto.invariants import InvariantViolation
from proto.units import seconds
from witness.sim.campaign.kit import Note
from witness.sim.campaign.result import Result
from witness.sim.faults import FAULTS
from witness.sim.faults_permit import with_outage
from witness.sim.host.fitting import fitted
from witness.sim.licenses.draw import with_licenses
from witness.sim.members.draw import with_members
from witness.sim.quiet import silent
from witness.sim.raft.ends import where_of
from witness.sim.raft.setup import tuned
from witness.sim.setup import Setup, draw
from witness.sim.world import World


def run_schedule(seed: int, *, trace: Note | None = None, setup: Setup | None = None) -> Result:
    setup = setup or drawn(seed, None)
    with tuned(setup.raft.tuning), silent():
        return _run(seed, World(setup, trace), trace)


def _run(seed: int, world: World, trace: Note | None) -> Result:
    try:
        world.begin()
        world.faults.begin()
        world.run_until(seconds(world.setup.safety_s))
        world.heal()
        world.close(settled=world.settle())
    except (Exception, InvariantViolation) as error:  # noqa: BLE001  # whatever the code under test raises is a finding
        world.judges.found("crash", f"{type(error).__name__}: {error}{where_of(error)}")
        if trace is not None:
            trace(world.events.now_ns, "world", traceback.format_exc())
    finally:
        world.end_processes()
    activity = world.judges.activity
    return Result(
        seed,
        violations=list(world.judges.violations),
        events=world.events.done,
        simulated_ns=world.events.now_ns,
        kinds=world.setup.kinds,
        faults_hit=world.faults_hit,
        figures=Counter(
            activations=activity.activations, windows=activity.windows, copied_windows=activity.copied_windows
        ),
        peaks=Counter(window_ns_max=activity.window_ns_max, copied_window_ns_max=activity.copied_window_ns_max),
    )


def drawn(seed: int, kinds: tuple[str, ...] | None) -> Setup:
    """The seed's own schedule, or the same one under other kinds of faults."""
    setup = draw(seed, list(FAULTS))
    return with_licenses(with_outage(with_members(fitted(setup if kinds is None else replace(setup, kinds=kinds)))))


def run_chosen(seed: int, /, *, kinds: tuple[str, ...] | None) -> Result:
    return run_schedule(seed, setup=drawn(seed, kinds))


def told(seed: int, kinds: tuple[str, ...] | None, note: Note) -> Result:
    """The story begins with what was drawn."""
    setup = drawn(seed, kinds)
    note(0, "world", str(setup))
    return run_schedule(seed, trace=note, setup=setup)
