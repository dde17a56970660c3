"""What must hold in every reachable state with permits."""

from __future__ import annotations

from leasemodel.claims import OVERLAP, PROMISES, REPEATED_ACTIVATION, REPEATED_GRANT
from leasemodel.permits.rules import PermitRules, grants_used
from leasemodel.permits.scenarios import PermitBounds
from leasemodel.permits.state import NOBODY, Copy, Lease, State
from leasemodel.state import EPOCH_ACTIVATED_TWICE, EPOCH_GRANTED_TWICE

WITHOUT_LEASE = "a copy has authority, and its lease or claim is not its own"
CLAIMABLE_BESIDE_PERMIT = "a site is active by a permit, and the witnesses would let another one begin"

PERMIT_LEMMAS = (WITHOUT_LEASE, CLAIMABLE_BESIDE_PERMIT)


def broken_promise(state: State, among: tuple[str, ...] = PROMISES) -> str | None:
    if sum(copy.active for copy in state.copies) > 1 and OVERLAP in among:
        return OVERLAP
    if state.broken == EPOCH_ACTIVATED_TWICE and REPEATED_ACTIVATION in among:
        return REPEATED_ACTIVATION
    if state.broken == EPOCH_GRANTED_TWICE and REPEATED_GRANT in among:
        return REPEATED_GRANT
    return None


def broken_lemma(state: State, rules: PermitRules) -> str | None:
    machine = state.machine
    lease = machine.lease
    for index, copy in enumerate(state.copies):
        if copy.authority and not _is_covered(lease, copy, index):
            return WITHOUT_LEASE
        if copy.permit and not rules.reconciling(machine):
            adopted = lease is not None and lease.site == rules.bounds.copies[index] and lease.open_until
            if not adopted:
                return CLAIMABLE_BESIDE_PERMIT
    return None


def _is_covered(lease: Lease | None, copy: Copy, index: int) -> bool:
    """By its own lease, or by a barred one, that votes cannot end before its authority has."""
    if lease is None or not (lease.site == NOBODY or (lease.epoch, lease.claim) == (copy.epoch, index)):
        return False
    return bool(lease.open_until) or lease.wait >= copy.authority


def has_authority(state: State) -> bool:
    """Active by a lease: a site that is active by a permit still has to be taken back."""
    return any(copy.authority for copy in state.copies)


def has_epoch_to_spare(state: State, bounds: PermitBounds) -> bool:
    return grants_used(state.machine.epoch) < bounds.epochs
