"""The wrong variants of the rules of permits: each class overrides the one method that holds its clause."""

from __future__ import annotations

from leasemodel.permits.rules import PermitRules
from leasemodel.permits.state import NO_PERMIT, Attempt, Copy, Lease, Machine


class PermitTakenTwice(PermitRules):
    """What was used up is not recorded: a permit serves again after a crash."""

    def is_unused(self, copy: Copy) -> bool:
        return True

    def permit_epoch(self, copy: Copy) -> int:
        return super().permit_epoch(copy._replace(bound=0))


class PermitAboveOwnBound(PermitRules):
    """A permit has the next epoch above what this site acted upon."""

    remembers = frozenset({"epochs"})

    def permit_epoch(self, copy: Copy) -> int:
        return copy.bound + 1


class PermitWithoutSilence(PermitRules):
    """A permit is taken although the witnesses answered a moment ago."""

    def was_silent(self, copy: Copy) -> bool:
        return True


class SilenceNotStretched(PermitRules):
    """A site counts its silence by its own clock: with a fast one it finds long what the witnesses find short."""

    def was_silent(self, copy: Copy) -> bool:
        return copy.silence >= self.bounds.after - 1


class SilenceFromSending(PermitRules):
    """A site counts from when it sent the heartbeat that was answered last."""

    def was_silent(self, copy: Copy) -> bool:
        return copy.confirmed + 1 >= self.bounds.after


class PermitBesideClaim(PermitRules):
    """A permit is taken although a claim is under way."""

    def is_down(self, copy: Copy) -> bool:
        return not copy.active


class HeardByAnyHeartbeat(PermitRules):
    """A site counts as heard by whatever heartbeat of it is committed, however old that is."""

    def heard(self, unheard: int, attempt: Attempt) -> int:
        return 0


class UnheardDoesNotMatter(PermitRules):
    """Nobody waits for a site that was not heard for long: nothing is known of a permit until it says so."""

    def too_long_unheard(self, machine: Machine) -> bool:
        return False


class OutageOfAllOnly(PermitRules):
    """The witnesses wait after an outage of their own only: when nobody was heard for long."""

    def too_long_unheard(self, machine: Machine) -> bool:
        return min(machine.unheard) >= self.bounds.long


class ClaimsWhileReconciling(PermitRules):
    """A grant of before is claimed while a site may be under a permit."""

    def claim_accepted(self, machine: Machine, lease: Lease) -> bool:
        return True


class GrantsWhileReconciling(PermitRules):
    """Grants go out while a site may be under a permit; nobody claims them."""

    def grant_accepted(self, machine: Machine) -> bool:
        return machine.lease is None


class RenewalsWhileReconciling(PermitRules):
    """Whoever claimed before is renewed while a site may be under a permit, active or not."""

    def renewal_accepted(self, machine: Machine, lease: Lease, attempt: Attempt) -> bool:
        return True


class PermitForgotten(PermitRules):
    """That a site said it is under a permit is forgotten when a heartbeat of it does not say so."""

    def said_permit(self, machine: Machine, site: int, attempt: Attempt) -> tuple[int, int]:
        if attempt.permit:
            return site, attempt.under
        return NO_PERMIT if machine.under[0] == site else machine.under


class PermitNotNoted(PermitRules):
    """What a site says of its permit is used to adopt it and for nothing else."""

    def said_permit(self, machine: Machine, site: int, attempt: Attempt) -> tuple[int, int]:
        return NO_PERMIT


class AdoptedOverAnybody(PermitRules):
    """A site under permit is adopted over another site's lease."""

    def adopts(self, machine: Machine, site: int, attempt: Attempt) -> bool:
        return bool(attempt.permit) and not (machine.lease and machine.lease.open_until)


class AdoptedExpires(PermitRules):
    """An adopted lease expires like any other."""

    def open_until(self, permit: int) -> int:
        return 0


class AdoptedClosedByClaim(PermitRules):
    """An adopted lease expires like any other once it was claimed, whether its holder heard so or not."""

    def is_over(self, epoch: int, attempt: Attempt) -> bool:
        return attempt.finished >= epoch or attempt.epoch > epoch


class AdoptedExpiresUnnoted(AdoptedExpires):
    """An adopted lease expires like any other, and what its site said is not kept."""

    def said_permit(self, machine: Machine, site: int, attempt: Attempt) -> tuple[int, int]:
        return NO_PERMIT


class AdoptedBelowPermit(PermitRules):
    """An adopted site gets the next epoch of the witnesses, which may be below its permit's."""

    def adopted_epoch(self, machine: Machine, permit: int) -> int:
        return machine.epoch + 1


class ClearedBesidePermits(PermitRules):
    """A group is cleared although a permit is left that a site could use."""

    def permits_void(self, copy: Copy) -> Copy:
        return copy


class RestoredAsHeard(PermitRules):
    """After a restore the witnesses wait for nobody."""

    def unheard_after_restore(self) -> int:
        return 0


class NeverAdopted(PermitRules):
    """Liveness: a site under permit is not taken back."""

    def adopts(self, machine: Machine, site: int, attempt: Attempt) -> bool:
        return False


class NeverOver(PermitRules):
    """Liveness: nothing that a site says ends its permit, or closes its adopted lease."""

    def is_over(self, epoch: int, attempt: Attempt) -> bool:
        return False


class AdoptedNotAbovePermit(AdoptedBelowPermit):
    """Liveness: an adopted site gets an epoch below its permit's, which it cannot move to."""
