"""Verbs of a backup, and of the loss of all witnesses."""

from __future__ import annotations

from witness.sim.scenario.command import Command, Wrong, forward_ns
from witness.sim.scenario.stage import Stage
from witness.sim.scenario.verb import Verb
from witness.sim.setup import rng_for


def backup(stage: Stage, command: Command) -> None:
    hosts = stage.witnesses(command.word("the witness"))
    command.done()
    for host in hosts:
        if stage.world.restores.back_up(host.host) is None:
            raise Wrong(f"{host.name} has nothing to back up yet, or its disk cannot be read")


def lose_witnesses(stage: Stage, command: Command) -> None:
    after_ns = command.last(forward_ns, 0)
    command.done()
    world = stage.world
    if not world.restores.possible:
        raise Wrong("generations count tens of seconds: restore all witnesses at most once in 11s")
    world.restores.lose_all()
    rng = rng_for(world.setup.seed, f"restore/{world.events.now_ns}")
    world.restores.restore_after(after_ns, world.restores.kept[-1], rng, None)


VERBS = {
    "backup": Verb("backup WITNESS", "`witness backup` on that machine, whether the witness runs or not.", backup),
    "lose-witnesses": Verb(
        "lose-witnesses [SPAN]",
        "All their machines are gone; after the span they are restored from the last backup, or without one.",
        lose_witnesses,
    ),
}
