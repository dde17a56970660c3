"""The three layers of the model side by side: the lease, holds, permits; what tests and command line ask of all.

A layer is a kind of bounds with its rules, moves, canonical form, claims and words. The engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from leasemodel import claims, engine, moves, reduce, report, rules
from leasemodel.holds import claims as hold_claims
from leasemodel.holds import moves as hold_moves
from leasemodel.holds import reduce as hold_reduce
from leasemodel.holds import report as hold_report
from leasemodel.holds.removed import HOLD_REDUNDANT, HOLD_REMOVED, HOLD_REMOVED_LARGE, HOLD_WAYS_OUT
from leasemodel.holds.rules import HoldRules
from leasemodel.holds.scenarios import LARGE_HOLDS, SMALL_HOLDS, HoldBounds
from leasemodel.moves import Move
from leasemodel.permits import claims as permit_claims
from leasemodel.permits import moves as permit_moves
from leasemodel.permits import reduce as permit_reduce
from leasemodel.permits import report as permit_report
from leasemodel.permits.removed import PERMIT_REDUNDANT, PERMIT_REMOVED, PERMIT_REMOVED_LARGE, PERMIT_WAYS_OUT
from leasemodel.permits.rules import PermitRules
from leasemodel.permits.scenarios import LARGE_PERMITS, SMALL_PERMITS, PermitBounds
from leasemodel.removed import REDUNDANT_RULES, REMOVED_RULES, REMOVED_WAYS_OUT, Removed
from leasemodel.scenarios import LARGE, SMALL, Bounds

AnyBounds = Bounds | HoldBounds | PermitBounds
AnyModel = engine.Model[Any, Move]


@dataclass(frozen=True)
class Layer:
    """What is asked of a layer. The functions take rules within bounds, or bounds."""

    rules: type[Any]
    moves: Any
    canonical: Callable[[Any], Callable[[Any], Any]]
    claims: Any
    report: Any
    faults: frozenset[str]
    goal: Callable[[Any], bool]
    to_spare: Callable[[Any, Any], bool]
    """Whether a state has an epoch left in which somebody can become active."""

    def model(self, rules_: Any, only: tuple[str, ...] = ()) -> AnyModel:
        """Judged by all promises and lemmas, or by `only` the promises named."""

        def judge(state: Any) -> str | None:
            found: str | None
            if only:
                found = self.claims.broken_promise(state, only)
            else:
                found = self.claims.broken_promise(state) or self.claims.broken_lemma(state, rules_)
            return found

        return engine.Model(
            start=self.moves.initial(rules_),
            successors=lambda state: self.moves.successors(state, rules_),
            canonical=self.canonical(rules_),
            judge=judge,
            intern=_interner(),
        )

    def words(self, trace: list[tuple[Move | None, Any]], bounds: AnyBounds) -> str:
        return report.story(
            trace,
            lambda move: self.report.move_words(move, bounds),
            lambda state: self.report.state_words(state, bounds),
        )


def _interner() -> Callable[[Any], Any]:
    """Equal parts of different states become one object: that is most of the memory."""
    parts: dict[object, object] = {}

    def intern(state: Any) -> Any:
        return type(state)(*[parts.setdefault(part, part) if type(part) is not int else part for part in state])

    return intern


LEASE = Layer(
    rules.Rules,
    moves,
    reduce.Canonical,
    claims,
    report,
    moves.FAULTS,
    claims.has_authority,
    lambda state, bounds: state.top < bounds.epochs,
)
HOLDS = Layer(
    HoldRules,
    hold_moves,
    hold_reduce.Canonical,
    hold_claims,
    hold_report,
    hold_moves.HOLD_FAULTS,
    hold_claims.lives,
    lambda state, bounds: state.machine.epoch < bounds.epochs,
)
PERMITS = Layer(
    PermitRules,
    permit_moves,
    permit_reduce.Canonical,
    permit_claims,
    permit_report,
    permit_moves.PERMIT_FAULTS,
    permit_claims.has_authority,
    permit_claims.has_epoch_to_spare,
)

EVERY_SMALL: tuple[AnyBounds, ...] = (*SMALL, *SMALL_HOLDS, *SMALL_PERMITS)
EVERY_LARGE: tuple[AnyBounds, ...] = (*LARGE, *LARGE_HOLDS, *LARGE_PERMITS)
EVERY_BY_NAME: dict[str, AnyBounds] = {bounds.name: bounds for bounds in (*EVERY_SMALL, *EVERY_LARGE)}
EVERY_REMOVED: tuple[Removed, ...] = (*REMOVED_RULES, *HOLD_REMOVED, *PERMIT_REMOVED)
EVERY_REMOVED_LARGE: tuple[Removed, ...] = (*HOLD_REMOVED_LARGE, *PERMIT_REMOVED_LARGE)
EVERY_REDUNDANT: tuple[Removed, ...] = (*REDUNDANT_RULES, *HOLD_REDUNDANT, *PERMIT_REDUNDANT)
EVERY_WAYS_OUT: tuple[Removed, ...] = (*REMOVED_WAYS_OUT, *HOLD_WAYS_OUT, *PERMIT_WAYS_OUT)
WAYS_OUT = ("basic", "grants", "restore", "revoke", "holds", "holds-crash", "permit")
"""The scenarios that are searched for dead ends."""
WAYS_BACK = ("holds-regrant",)
"""The scenarios that are searched for a holder that could not come back to a lease without a stop."""


def layer_of(bounds: AnyBounds) -> Layer:
    if isinstance(bounds, HoldBounds):
        return HOLDS
    return PERMITS if isinstance(bounds, PermitBounds) else LEASE
