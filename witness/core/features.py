"""How the cluster's feature level rises, and who holds it back (proto.features has the rule).

The leader proposes the next level as soon as every witness, itself included, is connected and can work at it; nobody
asks for it and nobody can lower it. A witness that is away holds it back: when it comes back older than the level, it
could only stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proto.commands import RaiseFeatureLevel
from proto.decisions import Reason
from proto.events import EventKind
from proto.units import WitnessId
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, refused


def raise_level(scope: Scope, command: RaiseFeatureLevel) -> Outcome:
    state = scope.state
    if command.level <= state.feature_level:
        return refused(Reason.ALREADY_SO)
    if command.level != state.feature_level + 1:
        return refused(Reason.FEATURE_LEVEL, f"level {state.feature_level} rises by one step, not to {command.level}")
    state.feature_level = command.level
    scope.ledger.append(EventKind.FEATURE_RAISED, f"the cluster works at feature level {command.level} from here on")
    return DONE


def next_level(level: int, witnesses: Iterable[WitnessId], known: Mapping[WitnessId, int]) -> int | None:
    """The level to propose, or None while somebody cannot or is not heard. `known` holds the proposer too."""
    return None if holding_back(level + 1, witnesses, known) else level + 1


def holding_back(
    level: int, witnesses: Iterable[WitnessId], known: Mapping[WitnessId, int]
) -> list[tuple[WitnessId, int | None]]:
    """Who cannot work at `level` (None: not connected), in order."""
    return [(one, known.get(one)) for one in sorted(witnesses) if (known.get(one) or 0) < level]


def too_low(need: int, level: int, witnesses: Iterable[WitnessId], known: Mapping[WitnessId, int]) -> Outcome:
    """The refusal of what needs more than the cluster has agreed on: which witness must be upgraded first."""
    words = [
        f"{name} (not connected)" if has is None else f"{name} (it can work up to level {has})"
        for name, has in holding_back(need, witnesses, known)
    ]
    first = f"upgrade {', '.join(words)} first" if words else "it rises by itself in a moment: repeat it"
    return refused(Reason.FEATURE_LEVEL, f"this needs feature level {need}, the cluster works at {level}: {first}")
