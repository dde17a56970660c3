"""The wrong variants of the rules of holds: each class overrides the one method that holds its clause."""

from __future__ import annotations

from leasemodel.holds.rules import HoldRules
from leasemodel.holds.state import NOBODY, Ask, Attempt, Copy, Lease, Machine, Promise


class HoldFromArrival(HoldRules):
    """A hold counts from the moment its answer arrives."""

    def hold_left(self, copy: Copy, ask: Ask) -> int:
        return ask.ttl


class HoldFromNewestRequest(HoldRules):
    """Any positive answer of a site counts for the newest request to it."""

    remembers = frozenset({"asks"})

    def hold_left(self, copy: Copy, ask: Ask) -> int:
        return ask.ttl - min(a.age for a in copy.asks if a.to == ask.to)


class OneHoldIsEnough(HoldRules):
    """One site that holds is enough."""

    def hold_of_all(self, heard: list[int]) -> int:
        return max(heard)


class SitesOfTheGrant(HoldRules):
    """A holder that says in its heartbeats that it knows an added site goes on by the holds of the sites before."""

    def sites_asked(self, copy: Copy) -> tuple[int, ...]:
        return self.bounds.versions[0]


class HoldRevives(HoldRules):
    """A hold that arrives after the end of its epoch, within its time, brings it back."""

    remembers = frozenset({"asks"})

    def hold_nonce_is_known(self, ask: Ask) -> bool:
        return True

    def hold_epoch_fits(self, copy: Copy, epoch: int) -> bool:
        return copy.epoch in (0, epoch)

    def may_prolong(self, copy: Copy) -> bool:
        return True

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        ended = super().end_of_epoch(copy, epoch)
        return ended._replace(asks=copy.asks)


class EndBeforeDown(HoldRules):
    """HoldEnd is sent first and the platform stopped afterwards."""

    def stand_down(self, copy: Copy) -> Copy:
        return copy._replace(end=copy.epoch)


class EndWithoutEpoch(HoldRules):
    """HoldEnd ends whatever was promised to its sender: one that is late ends the promise for a later epoch."""

    remembers = frozenset({"ends"})

    def end_accepted(self, promise: Promise, epoch: int, claim: int) -> bool:
        return promise.claim == claim


class EndWithoutClaim(HoldRules):
    """HoldEnd needs the epoch only."""

    def end_accepted(self, promise: Promise, epoch: int, claim: int) -> bool:
        return promise.epoch == epoch


class ClaimsWhilePromising(HoldRules):
    """A promise is not looked at: a granted site claims and begins."""

    def may_begin(self, copy: Copy) -> bool:
        return copy.linger == 0

    def is_free(self, copy: Copy, machine: Machine) -> bool:
        return copy.up >= self.cold_wait(machine)


class PromiseKeptAtBeginOnly(HoldRules):
    """A promiser claims at once and begins when its promise has run out."""

    def is_free(self, copy: Copy, machine: Machine) -> bool:
        return copy.up >= self.cold_wait(machine)


class PromiseKeptAtClaimOnly(HoldRules):
    """A promise is looked at before a claim is sent, and not when its answer comes."""

    def may_begin(self, copy: Copy) -> bool:
        return copy.linger == 0


class PromiseKeptAtClaimOnlyBesideClaims(PromiseKeptAtClaimOnly):
    """The same, and promises are made while a claim is under way."""

    def claims_nothing(self, copy: Copy) -> bool:
        return True


class PromisesWhileActive(HoldRules):
    """A site promises whatever it is doing."""

    def is_down(self, copy: Copy) -> bool:
        return True


class PromisesBesideClaim(HoldRules):
    """A site promises although a claim of its own is under way."""

    def claims_nothing(self, copy: Copy) -> bool:
        return True


class PromisesBelowBound(HoldRules):
    """A site promises for an epoch that is not above its own last one."""

    def is_above_bound(self, copy: Copy, ask: Ask) -> bool:
        return True


class OlderEpochSupersedes(HoldRules):
    """A late request for an older epoch takes the place of the promise that stands."""

    remembers = frozenset({"ends"})

    def supersedes(self, promise: Promise, ask: Ask) -> bool:
        return True


class NewestPromiseCounts(HoldRules):
    """Of several promises the newest counts, not the longest."""

    def promised(self, promise: Promise, ask: Ask, claim: int) -> Promise:
        return Promise(self.promise_length(ask), ask.epoch, claim)


class NoDriftInPromise(HoldRules):
    """A promise lasts for ttl on the promiser's own clock: a tick too short with a fast one."""

    def promise_length(self, ask: Ask) -> int:
        return super().promise_length(ask) - 1


class NoLockDelayInPromise(HoldRules):
    """A promise lasts without the lock delay."""

    def promise_length(self, ask: Ask) -> int:
        return ask.ttl


class PromiseNotDurable(HoldRules):
    """The answer leaves before the promise is stored: a new process knows nothing of it."""

    def survives_restart(self) -> bool:
        return False


class NoColdWait(HoldRules):
    """After a cold start a site claims at once."""

    def cold_wait(self, machine: Machine) -> int:
        return 0


class ColdWaitOfGrant(HoldRules):
    """After a cold start a site waits for the ttl of the lease that it was granted."""

    def cold_wait(self, machine: Machine) -> int:
        return (machine.lease.ttl if machine.lease else 0) + self.bounds.lock_delay


class ColdWaitWithoutLockDelay(HoldRules):
    """After a cold start a site waits without the lock delay."""

    def cold_wait(self, machine: Machine) -> int:
        return machine.hold_wait


class HoldWaitEndsWithGrant(HoldRules):
    """A grant counts as proof that whoever lived before is over."""

    def hold_wait_granted(self, machine: Machine, ttl: int) -> int:
        return ttl


class HoldWaitEndsWithClaim(HoldRules):
    """A claim counts as proof that whoever lived before is over, also that of a re-grant in place."""

    def hold_wait_claimed(self, machine: Machine, lease: Lease) -> int:
        return lease.ttl


class UnknownSetGranted(HoldRules):
    """A site is granted whatever version of the set of sites it knows; who carried it before does not matter."""

    def knows_sites(self, machine: Machine, known: int) -> bool:
        return True


class AddedSiteAtOnce(HoldRules):
    """An added site is eligible at once."""

    def reconfigured(self, machine: Machine, version: int) -> int:
        return self.all_sites(machine._replace(version=version))


class AnyVersionCarries(HoldRules):
    """Any renewal makes an added site eligible, whatever version its sender knew."""

    def carried(self, machine: Machine, version: int) -> int:
        return self.all_sites(machine)


class DeclineCountsAsRelease(HoldRules):
    """An unclaimed grant is given back, and the group counts as vacant by a release."""

    def decline_accepted(self) -> bool:
        return True


class DeletedWhileSomebodyLives(HoldRules):
    """A group that is vacant by expiry is deleted and made again with other sites."""

    def may_delete(self, machine: Machine) -> bool:
        return machine.lease is None


class RegrantNotBound(HoldRules):
    """A re-grant in place is claimed by whoever has the incarnation."""

    def claims_when_down(self, lease: Lease) -> bool:
        return True

    def claim_accepted(self, lease: Lease, claim: int, attempt: Attempt) -> bool:
        return True


class RegrantBindsLivingOnly(HoldRules):
    """A re-grant needs a sender that lives, not the former claim."""

    def claim_accepted(self, lease: Lease, claim: int, attempt: Attempt) -> bool:
        return lease.binds == NOBODY or attempt.under > 0


class HoldsCarriedOver(HoldRules):
    """At the re-grant in place the holds of the former epoch go on."""

    def in_place(self, copy: Copy, attempt: Attempt, left: int) -> Copy:
        return super().in_place(copy, attempt, left)._replace(hold=copy.hold, heard=copy.heard)


class FormerEpochOpen(HoldRules):
    """At the re-grant in place the former epoch is not finished, and its answers count on."""

    def in_place(self, copy: Copy, attempt: Attempt, left: int) -> Copy:
        return copy._replace(epoch=attempt.epoch, ttl=attempt.yes, authority=left)

    def hold_epoch_fits(self, copy: Copy, epoch: int) -> bool:
        return True


class HoldWaitNotRestored(HoldRules):
    """After a restore the machine knows of nobody that a cold start has to wait for."""

    def recreated(self, machine: Machine, top: int) -> Machine:
        return super().recreated(machine, top)._replace(hold_wait=0)


class NeverInPlace(HoldRules):
    """Liveness: a holder that lives on by holds does not move to a new epoch without a stop."""

    def in_place(self, copy: Copy, attempt: Attempt, left: int) -> Copy:
        return copy


class PromisesAlways(HoldRules):
    """A site promises to anybody for anything, whatever it is doing, and looks at it only before it claims."""

    def may_promise(self, copy: Copy, ask: Ask) -> bool:
        return True

    def may_begin(self, copy: Copy) -> bool:
        return copy.linger == 0
