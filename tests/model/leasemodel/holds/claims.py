"""What must hold in every reachable state with holds: the same promises, and the lemmas of the proof sketch."""

from __future__ import annotations

from leasemodel.claims import OVERLAP, PROMISES, REPEATED_ACTIVATION, REPEATED_GRANT
from leasemodel.holds.rules import HoldRules
from leasemodel.holds.state import NOBODY, State
from leasemodel.state import EPOCH_ACTIVATED_TWICE, EPOCH_GRANTED_TWICE

WITHOUT_LEASE = "a copy has authority of the witnesses, and its lease or claim is not its own"
UNBACKED_HOLD = "a copy lives by holds alone, and a site that may be granted keeps it no promise that lasts as long"

HOLD_LEMMAS = (WITHOUT_LEASE, UNBACKED_HOLD)


def broken_promise(state: State, among: tuple[str, ...] = PROMISES) -> str | None:
    busy = 0
    for copy in state.copies:
        if copy.authority or copy.hold or copy.linger:
            busy += 1
    if busy > 1 and OVERLAP in among:
        return OVERLAP
    if state.broken == EPOCH_ACTIVATED_TWICE and REPEATED_ACTIVATION in among:
        return REPEATED_ACTIVATION
    if state.broken == EPOCH_GRANTED_TWICE and REPEATED_GRANT in among:
        return REPEATED_GRANT
    return None


def broken_lemma(state: State, rules: HoldRules) -> str | None:
    lease = state.machine.lease
    for index, copy in enumerate(state.copies):
        if copy.authority and lease is None:
            return WITHOUT_LEASE
        if copy.authority and lease is not None:
            own = (lease.epoch, lease.claim) == (copy.epoch, index)
            if lease.wait < copy.authority + rules.bounds.lock_delay or not (own or lease.site == NOBODY):
                return WITHOUT_LEASE
        if copy.hold > copy.authority and _may_be_overtaken(state, rules, index):
            return UNBACKED_HOLD
    return None


def _may_be_overtaken(state: State, rules: HoldRules, index: int) -> bool:
    """Whether a copy of another site, that is or can be granted, could begin before these holds have ended."""
    machine, sites = state.machine, rules.bounds.copies
    reach = state.copies[index].hold + rules.bounds.lock_delay
    for other, copy in enumerate(state.copies):
        site = sites[other]
        if site == sites[index] or not machine.eligible >> site & 1:
            continue
        if sites.count(site) > 1 and not rules.bounds.clones_granted:
            continue
        granted = machine.lease is not None and machine.lease.site == site
        vote = machine.lease.wait if machine.lease and not granted else 0
        if max(copy.promise.left, rules.cold_wait(machine) - copy.up, vote) < reach:
            return True
    return False


def lives(state: State) -> bool:
    return any(copy.left for copy in state.copies)


def may_come_back(state: State, epochs: int) -> bool:
    """A copy lives, an epoch is left for it, and no other site was granted one meanwhile."""
    machine = state.machine
    if machine.epoch >= epochs:
        return False
    for index, copy in enumerate(state.copies):
        if copy.left:
            return machine.lease is None or (machine.former is not None and machine.former.claim == index)
    return False
