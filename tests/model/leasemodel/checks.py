"""The checks that the tests and the command line share: a scenario, a removed rule, the ways out."""

from __future__ import annotations

from collections.abc import Callable

from leasemodel import claims, engine
from leasemodel.moves import FAULTS, MAD_WITNESS, Move, initial, successors
from leasemodel.reduce import Canonical
from leasemodel.removed import Removed
from leasemodel.rules import Rules
from leasemodel.scenarios import BY_NAME, Bounds
from leasemodel.state import State

LeaseModel = engine.Model[State, Move]
Found = engine.Outcome[State, Move]
WITNESS_MOVES = frozenset({"apply", "cast_vote", "commit_vote"})


def lease_model(rules: Rules, only: tuple[str, ...] = ()) -> LeaseModel:
    """Judged by all promises and lemmas, or by `only` the promises named."""

    def judge(state: State) -> str | None:
        if only:
            return claims.broken_promise(state, only)
        return claims.broken_promise(state) or claims.broken_lemma(state, rules)

    return engine.Model(
        start=initial(rules),
        successors=lambda state: successors(state, rules),
        canonical=Canonical(rules),
        judge=judge,
        intern=_interner(),
    )


def _interner() -> Callable[[State], State]:
    """Equal parts of different states become one object: that is most of the memory."""
    parts: dict[object, object] = {}

    def intern(state: State) -> State:
        return State(*[parts.setdefault(part, part) if type(part) is not int else part for part in state])  # type: ignore[arg-type]  # setdefault returns an equal part of the same type

    return intern


def check_rules(
    bounds: Bounds,
    limits: engine.Limits | None = None,
    progress: engine.Progress | None = None,
    rules: type[Rules] = Rules,
) -> Found:
    """Promises and lemmas in every reachable state of one scenario."""
    return engine.search(lease_model(rules(bounds)), limits, progress)


def check_removed(
    removed: Removed,
    limits: engine.Limits | None = None,
    progress: engine.Progress | None = None,
    scenario: str | None = None,
) -> Found:
    """A removed rule must break the promise that it names; lemmas, and lesser promises on the way, do not count."""
    rules = removed.rules(BY_NAME[scenario or removed.scenario])
    return engine.search(lease_model(rules, removed.breaks), limits, progress)


def check_ways_out(bounds: Bounds, rules: type[Rules] = Rules) -> engine.DeadEnds[State, Move]:
    """From every state with an epoch to spare some site can become active, without a fault and without the mad
    witness: it may as well be dead."""
    return engine.dead_ends(
        lease_model(rules(bounds)),
        goal=claims.has_authority,
        must_reach=lambda state: state.top < bounds.epochs,
        is_fault=lambda _state, move: move[0] in FAULTS or (move[0] in WITNESS_MOVES and move[1] == MAD_WITNESS),
    )
