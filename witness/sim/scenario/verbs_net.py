"""Verbs of the network: cut, heal, network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from proto.units import WitnessId
from witness.sim.raft.path import CALM
from witness.sim.scenario.command import Command, Wrong, forward_ns, share
from witness.sim.scenario.stage import Stage
from witness.sim.scenario.verb import Verb

KIND = "by hand"
"""Of the cuts between witnesses, so that others' cuts stay."""
Pair = tuple[str, str]


def cut(stage: Stage, command: Command) -> None:
    pairs, span_ns = _pairs(stage, command)
    every_ns = command.option("every", forward_ns, 0)
    command.done()
    if every_ns and not 0 < every_ns <= span_ns:
        raise Wrong("every: needs a span that is at least as long, for how long the way goes and comes")
    _cut(stage, pairs)
    if every_ns:
        for number in range(1, span_ns // every_ns):
            stage.after(number * every_ns, partial(_mend if number % 2 else _cut, stage, pairs))
    if span_ns:
        stage.after(span_ns, lambda: _mend(stage, pairs))


def heal(stage: Stage, command: Command) -> None:
    if command.left():
        pairs, _ = _pairs(stage, command)
    else:
        members = [member.name for member in stage.world.members]
        names = stage.names("sites") + members + stage.names("witnesses")
        pairs = [(one, other) for one in names for other in names if one != other]
    command.done()
    _mend(stage, pairs)


def _pairs(stage: Stage, command: Command) -> tuple[list[Pair], int]:
    """One way: what leaves the first no longer reaches the second."""
    ones = stage.names(command.word("the first end"))
    others = stage.names(command.word("the second end"))
    one_way = command.flag("one-way")
    span_ns = command.last(forward_ns, 0)
    pairs = [(one, other) for one in ones for other in others if one != other]
    place_of, linked = stage.world.judges.place_of, stage.world.setup.site_link
    between = [stage.is_site(one) and stage.is_site(other) and place_of(one) != place_of(other) for one, other in pairs]
    if any(between) and not linked:
        raise Wrong("sites do not talk to each other without witness-loss=hold: cut a site from witnesses")
    return pairs + ([] if one_way else [(other, one) for one, other in pairs]), span_ns


def _cut(stage: Stage, pairs: list[Pair]) -> None:
    network, between = stage.world.network, stage.world.cluster.network
    for sender, to in pairs:
        if stage.is_site(sender) or stage.is_site(to):
            network.cut(sender, to)
        else:
            path = between.wire.paths[_path(sender, to)]
            if KIND not in path.cuts:
                path.cuts.append(KIND)


def _mend(stage: Stage, pairs: list[Pair]) -> None:
    network, between = stage.world.network, stage.world.cluster.network
    for sender, to in pairs:
        if stage.is_site(sender) or stage.is_site(to):
            network.mend(sender, to)
        else:
            between.mend(*_path(sender, to), KIND)


def _path(sender: str, to: str) -> tuple[WitnessId, WitnessId]:
    return WitnessId(sender), WitnessId(to)


def network(stage: Stage, command: Command) -> None:
    where = command.choice("where", ["sites", "witnesses", "calm"])
    loss = command.option("loss", share, 0.0)
    double = command.option("double", share, 0.0)
    slow = command.option("slow", share, 0.0)
    slow_ns = command.option("slow-by", forward_ns, 0)
    command.done()
    world = stage.world
    if where == "calm":
        world.calm_links()
        for name, peer in world.cluster.network.wire.paths:
            world.cluster.network.weather(name, peer, CALM)
    elif where == "sites":
        weather = world.network.weather
        weather.loss, weather.double, weather.slow = loss, double, slow
        weather.slow_ns_max = max(slow_ns, weather.delay_ns_max)
    else:
        for name, peer in world.cluster.network.wire.paths:
            world.cluster.network.weather(
                name, peer, replace(CALM, loss=loss, double=double, slow=slow, slow_ns=slow_ns)
            )


VERBS = {
    "cut": Verb(
        "cut ONE OTHER [SPAN] [one-way] [every=SPAN]",
        "Nothing passes between them; `one-way`: nothing from the first to the second. With a span it ends by itself, "
        "with `every` it goes and comes in that rhythm. Both ends are names, roles, `sites` or `witnesses`.",
        cut,
    ),
    "heal": Verb("heal [ONE OTHER] [one-way]", "Ends these cuts, or all that were made by `cut`.", heal),
    "network": Verb(
        "network sites|witnesses [loss=0%] [double=0%] [slow=0%] [slow-by=0s] | network calm",
        "How messages fare on the ways from sites to witnesses, or among witnesses, from now on.",
        network,
    ),
}
