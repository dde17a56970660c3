"""What must hold in every reachable state: the promises, and the lemmas that the proof sketch rests on.

Promises are what a user is told. Lemmas are stronger; they hold for the full rules and say *why* the promises hold.
A removed rule must break a promise: breaking a lemma alone would not count as caught.
"""

from __future__ import annotations

from leasemodel.rules import Rules
from leasemodel.state import EPOCH_ACTIVATED_TWICE, EPOCH_GRANTED_TWICE, NOBODY, Copy, State

OVERLAP = "two copies are active at once"
REPEATED_ACTIVATION = "one epoch was activated twice"
REPEATED_GRANT = "one epoch was granted twice"
VACANT_UNDER_AUTHORITY = "the lease is vacant while something still has authority"
AUTHORITY_WITHOUT_LEASE = "a copy has authority for an epoch whose lease or claim is not its own"
TIMER_TOO_SHORT = "a timer can end before the authority that the same record can still give"

PROMISES = (OVERLAP, REPEATED_ACTIVATION, REPEATED_GRANT)
LEMMAS = (VACANT_UNDER_AUTHORITY, AUTHORITY_WITHOUT_LEASE, TIMER_TOO_SHORT)


def broken_promise(state: State, among: tuple[str, ...] = PROMISES) -> str | None:
    """P1 and P2, and that epochs are never repeated or shared."""
    busy = 0
    for copy in state.copies:
        if copy.authority or copy.linger:
            busy += 1
    if busy > 1 and OVERLAP in among:
        return OVERLAP
    if state.broken == EPOCH_ACTIVATED_TWICE and REPEATED_ACTIVATION in among:
        return REPEATED_ACTIVATION
    if state.broken == EPOCH_GRANTED_TWICE and REPEATED_GRANT in among:
        return REPEATED_GRANT
    return None


def broken_lemma(state: State, rules: Rules) -> str | None:
    lease = state.machine.lease
    reach = 0
    for index, copy in enumerate(state.copies):
        reach = max(reach, copy.authority + (rules.bounds.lock_delay if copy.authority else copy.linger))
        reach = max(reach, _authority_under_way(copy, rules))
        if lease is None:
            if copy.authority or copy.linger:
                return VACANT_UNDER_AUTHORITY
        elif copy.authority and lease.site != NOBODY and (copy.epoch, index) != (lease.epoch, lease.claim):
            return AUTHORITY_WITHOUT_LEASE
    if lease is None:
        return None
    current = (lease.epoch, lease.renewal)
    for witness in state.witnesses[1 if rules.bounds.mad_witness else 0 :]:
        if witness.applied == current and witness.timer < reach:
            return TIMER_TOO_SHORT
    return None


def _authority_under_way(copy: Copy, rules: Rules) -> int:
    """The longest authority, with the session after it, that an answer under way can still give this copy."""
    longest = 0
    for attempt in copy.attempts:
        for epoch, ttl in attempt.answers:
            given = rules.on_answer(copy, attempt, epoch, ttl)
            if given.authority > copy.authority:
                longest = max(longest, given.authority + rules.bounds.lock_delay)
    return longest


def has_authority(state: State) -> bool:
    return any(copy.authority for copy in state.copies)
