"""The rules of break-glass permits, one method a clause (DESIGN section 6). This is what is being proven.

What rests on the operator is not a rule but a bound of the search (moves.py, `assumption`): when the permit takes
effect, every other site is down and no answer is under way that it could use. From then on the others may do
whatever the witnesses let them.
"""

from __future__ import annotations

from leasemodel.permits.scenarios import PermitBounds
from leasemodel.permits.state import NO_PERMIT, Attempt, Copy, Lease, Machine

EPOCHS_BEFORE_PERMIT = 8
"""Permits have every eighth epoch in the model, and no run has so many grants; the product leaves millions."""


def grants_used(epoch: int) -> int:
    """Since the last permit or restore, whose own epoch, and the one that adopted it, do not count."""
    return epoch % EPOCHS_BEFORE_PERMIT - (1 if epoch > EPOCHS_BEFORE_PERMIT else 0)


class PermitRules:
    """The full set of rules within given bounds."""

    remembers: frozenset[str] = frozenset()

    def __init__(self, bounds: PermitBounds) -> None:
        self.bounds = bounds
        self.aged: dict[Copy, Copy] = {}
        """What a tick makes of each copy seen so far; there are only thousands (moves.py)."""

    # The site --------------------------------------------------------------------------------------------------

    def may_take(self, copy: Copy) -> bool:
        """Down, nothing claimed, not used before, and no answer for so long."""
        return self.is_down(copy) and self.is_unused(copy) and self.was_silent(copy)

    def is_down(self, copy: Copy) -> bool:
        return not copy.active and not any(a.live and a.epoch for a in copy.attempts)

    def is_unused(self, copy: Copy) -> bool:
        """Single use: recorded durably before it takes effect."""
        return copy.used == 0

    def was_silent(self, copy: Copy) -> bool:
        """Counted from the arrival of the last answer, for long enough that the witnesses find it long as well."""
        return copy.silence >= self.bounds.after

    def permit_epoch(self, copy: Copy) -> int:
        """Above everything this site acted upon, and out of reach of grants that it never heard of."""
        return (copy.bound // EPOCHS_BEFORE_PERMIT + 1) * EPOCHS_BEFORE_PERMIT

    def takes(self, copy: Copy, epoch: int) -> Copy:
        return copy._replace(epoch=epoch, permit=1, bound=epoch, used=copy.used + 1)

    def on_answer(self, copy: Copy, attempt: Attempt) -> Copy:
        """An answer of any kind ends the silence; a positive one gives authority as ever, or takes a site under
        permit over to the adopted epoch without a stop."""
        told = copy._replace(silence=0, confirmed=min(copy.confirmed, attempt.done))
        left = attempt.yes - attempt.age
        if not attempt.live or not attempt.yes or attempt.epoch <= copy.finished or left <= 0:
            return told
        if attempt.epoch == copy.epoch:
            return told._replace(authority=max(left, copy.authority))
        if copy.epoch and not copy.permit:
            return told
        moved = self.end_of_epoch(told, copy.epoch) if copy.permit else told
        return moved._replace(epoch=attempt.epoch, authority=left, permit=0, bound=max(copy.bound, attempt.epoch))

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        void = tuple([a._replace(live=0, yes=0) for a in copy.attempts])
        return copy._replace(epoch=0, authority=0, permit=0, finished=max(copy.finished, epoch), attempts=void)

    def cold_start(self, copy: Copy, incarnation: int) -> Copy:
        """Down; what it acted upon is over, by the bound that is durable."""
        return self.end_of_epoch(copy, copy.bound)._replace(incarnation=incarnation)

    # The machine -----------------------------------------------------------------------------------------------

    def reconciling(self, machine: Machine) -> bool:
        """Some site may be under a permit: it said so, or it was not heard for long, as is everybody after an outage of
        the majority."""
        return machine.under != NO_PERMIT or self.too_long_unheard(machine)

    def too_long_unheard(self, machine: Machine) -> bool:
        return max(machine.unheard) >= self.bounds.long

    def heard(self, unheard: int, attempt: Attempt) -> int:
        """A site is heard as of the newest heartbeat of which it echoes the answer: before that answer arrived it
        cannot have begun to count."""
        return min(unheard, attempt.confirmed)

    def grant_accepted(self, machine: Machine) -> bool:
        return machine.lease is None and not self.reconciling(machine)

    def claim_accepted(self, machine: Machine, lease: Lease) -> bool:
        """While reconciling nobody begins, but the site that was adopted."""
        return bool(lease.open_until) or not self.reconciling(machine)

    def renewal_accepted(self, machine: Machine, lease: Lease, attempt: Attempt) -> bool:
        """Whoever says that it is active under the lease goes on: it was not stopped for anybody's permit."""
        return attempt.under == lease.epoch or bool(lease.open_until) or not self.reconciling(machine)

    def said_permit(self, machine: Machine, site: int, attempt: Attempt) -> tuple[int, int]:
        """A site that says so is under permit until it says that this epoch is over."""
        if attempt.permit:
            return site, attempt.under
        over = machine.under[0] == site and self.is_over(machine.under[1], attempt)
        return NO_PERMIT if over else machine.under

    def is_over(self, epoch: int, attempt: Attempt) -> bool:
        return attempt.finished >= epoch

    def adopts(self, machine: Machine, site: int, attempt: Attempt) -> bool:
        """A site under permit is granted a new epoch in place: when vacant, and over its own older lease."""
        if not attempt.permit:
            return False
        lease = machine.lease
        return lease is None or (lease.site == site and not lease.open_until)

    def adopted_epoch(self, machine: Machine, permit: int) -> int:
        return max(machine.epoch, permit) + 1

    def open_until(self, permit: int) -> int:
        """The adopted lease does not expire before the permit's epoch is over."""
        return permit

    def permits_void(self, copy: Copy) -> Copy:
        """Whoever clears a group vouches for permits that were not used yet as well: they are destroyed."""
        return copy._replace(used=max(1, copy.used))

    def unheard_after_restore(self) -> int:
        """After a restore nobody was heard for long."""
        return self.bounds.long
