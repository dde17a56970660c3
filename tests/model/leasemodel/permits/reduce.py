"""Which states with permits count as the same, and why nothing is lost by it.

1. Attempts of one copy are sorted; an answered one, or a void one that was committed, is gone. A heartbeat that can
   help its sender no more is kept while it can be committed: what it says may be old.
2. Ages that nothing asks for are zero: of an attempt that is about no epoch or void, of the silence of a site that has
   no permit, or has used it.
3. A finished epoch, or a bound, below the running lease is told from another only by the permits that it is above.
4. That an epoch was begun is kept while something may begin it again.
"""

from __future__ import annotations

from leasemodel.permits.rules import EPOCHS_BEFORE_PERMIT, PermitRules
from leasemodel.permits.state import Attempt, Copy, State


class Canonical:
    """The canonical form under one set of rules; remembers the parts it has seen."""

    def __init__(self, rules: PermitRules) -> None:
        self._rules = rules
        self._copies: dict[tuple[int, Copy, int], Copy] = {}

    def __call__(self, state: State) -> State:
        machine, before, incarnations, recreations, granted, activated, broken = state
        current = machine.lease.epoch if machine.lease else machine.epoch + 1
        copies = []
        begins = 1 << current
        for index, copy in enumerate(before):
            fresh = self._copies.get((index, copy, current))
            if fresh is None:
                fresh = self._copies[index, copy, current] = _fresh(copy, current, self._rules, index)
            copies.append(fresh)
            for attempt in fresh.attempts:
                begins |= 1 << attempt.epoch
        activated &= begins | _PERMITS
        return State(machine, tuple(copies), incarnations, recreations, granted, activated, broken)


_PERMITS = sum(1 << epoch for epoch in range(EPOCHS_BEFORE_PERMIT, 64, EPOCHS_BEFORE_PERMIT))


def _fresh(copy: Copy, current: int, rules: PermitRules, index: int) -> Copy:
    permit = rules.bounds.has_permit(rules.bounds.copies[index])
    exact = "epochs" in rules.remembers
    return copy._replace(
        attempts=tuple(sorted(_fresh_attempt(a, permit=permit) for a in copy.attempts if a.done < 0 or a.live)),
        silence=copy.silence if permit and rules.is_unused(copy) else 0,
        confirmed=copy.confirmed if permit else 0,
        finished=copy.finished if exact or copy.finished >= current else _down(copy.finished),
        bound=copy.bound if exact or copy.bound >= current else _down(copy.bound),
    )


def _fresh_attempt(attempt: Attempt, *, permit: bool) -> Attempt:
    return attempt._replace(
        age=attempt.age if attempt.epoch and attempt.live else 0,
        finished=_down(attempt.finished),
        confirmed=attempt.confirmed if permit else 0,
        done=attempt.done if permit else min(attempt.done, 0),
    )


def _down(epoch: int) -> int:
    return epoch - epoch % EPOCHS_BEFORE_PERMIT
