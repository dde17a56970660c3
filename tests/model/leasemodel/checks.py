"""The checks that the tests and the command line share: a scenario, a removed rule, the ways out."""

from __future__ import annotations

from typing import Any

from leasemodel import engine
from leasemodel.holds.claims import may_come_back
from leasemodel.layers import EVERY_BY_NAME, HOLDS, LEASE, AnyBounds, layer_of
from leasemodel.moves import MAD_WITNESS, Move
from leasemodel.removed import Removed

Found = engine.Outcome[Any, Move]
Ends = engine.DeadEnds[Any, Move]
WITNESS_MOVES = frozenset({"apply", "cast_vote", "commit_vote"})


def check_rules(
    bounds: AnyBounds,
    limits: engine.Limits | None = None,
    progress: engine.Progress | None = None,
    rules: type[Any] | None = None,
) -> Found:
    """Promises and lemmas in every reachable state of one scenario."""
    layer = layer_of(bounds)
    return engine.search(layer.model((rules or layer.rules)(bounds)), limits, progress)


def check_removed(
    removed: Removed,
    limits: engine.Limits | None = None,
    progress: engine.Progress | None = None,
    scenario: str | None = None,
) -> Found:
    """A removed rule must break the promise that it names; lemmas, and lesser promises on the way, do not count."""
    bounds = EVERY_BY_NAME[scenario or removed.scenario]
    return engine.search(layer_of(bounds).model(removed.rules(bounds), removed.breaks), limits, progress)


def check_ways_out(bounds: AnyBounds, rules: type[Any] | None = None) -> Ends:
    """From every state with an epoch to spare some site can become active, without a fault and without the mad
    witness: it may as well be dead."""
    layer = layer_of(bounds)

    def is_fault(before: Any, move: Move, after: Any) -> bool:
        del before, after
        if move[0] in layer.faults:
            return True
        return layer is LEASE and move[0] in WITNESS_MOVES and move[1] == MAD_WITNESS

    return engine.dead_ends(
        layer.model((rules or layer.rules)(bounds)),
        goal=layer.goal,
        must_reach=lambda state: layer.to_spare(state, bounds),
        is_fault=is_fault,
    )


def check_ways_back(bounds: AnyBounds, rules: type[Any] | None = None) -> Ends:
    """Whoever lives by holds can come back to a lease without a stop, while nothing is granted to another site."""
    return engine.dead_ends(
        HOLDS.model((rules or HOLDS.rules)(bounds)),
        goal=lambda state: any(copy.authority for copy in state.copies),
        must_reach=lambda state: may_come_back(state, bounds.epochs),
        is_fault=lambda before, move, after: move[0] in HOLDS.faults or (HOLDS.goal(before) and not HOLDS.goal(after)),
    )
