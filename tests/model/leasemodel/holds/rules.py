"""The rules of holds and of the re-grant in place, one method a clause (DESIGN section 6). This is what is proven.

As below, decisions that rest on policy or on reports are not here: the model grants a vacant lease to any eligible
site at any moment, also to one that promises, and a holder may ask for holds at any moment of its life. So whatever
the decision rules make of reports (a promising site is not granted, the former holder comes first, an unbroken chain
is proven) is among what is searched, and no exclusion rests on it.
"""

from __future__ import annotations

from leasemodel.holds.scenarios import HoldBounds
from leasemodel.holds.state import NO_PROMISE, NOBODY, Ask, Attempt, Copy, Former, Lease, Machine, Promise

EVERYTHING = frozenset({"answers", "asks", "ends", "releases"})


class HoldRules:
    """The full set of rules within given bounds."""

    remembers: frozenset[str] = frozenset()
    """What must not be forgotten although the full rules refuse it for ever: some of EVERYTHING (reduce.py)."""

    def __init__(self, bounds: HoldBounds) -> None:
        self.bounds = bounds
        self.aged: dict[Copy, Copy] = {}
        """What a tick makes of each copy seen so far; there are only thousands (moves.py)."""

    # The holder ------------------------------------------------------------------------------------------------

    def may_ask(self, copy: Copy) -> bool:
        """Holds are asked for by a live holder only: claimed, answered, not over."""
        return copy.left > 0

    def sites_asked(self, copy: Copy) -> tuple[int, ...]:
        """The whole set of sites of the version that it says it knows, from when it first says so."""
        return self.bounds.versions[copy.known]

    def hold_left(self, copy: Copy, ask: Ask) -> int:
        """A hold counts from before its request was sent, for the ttl of the epoch; its arrival is never used."""
        del copy
        return ask.ttl - ask.age

    def hold_nonce_is_known(self, ask: Ask) -> bool:
        """Only for the nonce that it echoes; nonces are void when their epoch ends."""
        return bool(ask.live)

    def hold_epoch_fits(self, copy: Copy, epoch: int) -> bool:
        """Only for the epoch that is lived under."""
        return epoch == copy.epoch

    def may_prolong(self, copy: Copy) -> bool:
        """An authority that has ended is never revived by a hold."""
        return copy.left > 0

    def hold_of_all(self, heard: list[int]) -> int:
        """Every other site must hold: the one that ends first counts."""
        return min(heard, default=0)

    def on_hold(self, copy: Copy, ask: Ask, site: int) -> Copy:
        """What a positive answer to a hold request changes; one that a rule above refuses changes nothing."""
        if not (self.hold_nonce_is_known(ask) and self.hold_epoch_fits(copy, ask.epoch) and self.may_prolong(copy)):
            return copy
        left = self.hold_left(copy, ask)
        if left <= copy.heard[ask.to]:
            return copy
        heard = (*copy.heard[: ask.to], left, *copy.heard[ask.to + 1 :])
        everybody = [heard[other] for other in self.sites_asked(copy) if other != site]
        hold = max(copy.hold, self.hold_of_all(everybody))
        return copy._replace(heard=heard, hold=hold, epoch=ask.epoch)

    def authority_left(self, attempt: Attempt) -> int:
        return attempt.yes - attempt.age

    def may_begin(self, copy: Copy) -> bool:
        """Nothing begins while a promise lasts, or while a license server still sees the last session."""
        return copy.linger == 0 and copy.promise.left == 0

    def may_claim(self, copy: Copy, machine: Machine, lease: Lease) -> bool:
        """A holder that lives claims what it was granted while it goes on; others must be free to begin."""
        return copy.left > 0 or (self.claims_when_down(lease) and self.is_free(copy, machine))

    def is_free(self, copy: Copy, machine: Machine) -> bool:
        """Nothing that carries a new epoch leaves a site before its last promise has run out and its wait after a cold
        start is over."""
        return copy.promise.left == 0 and copy.up >= self.cold_wait(machine)

    def claims_when_down(self, lease: Lease) -> bool:
        """A re-grant in place is for the copy that lived through; one that is down lets it run out."""
        return lease.binds == NOBODY

    def on_answer(self, copy: Copy, attempt: Attempt) -> Copy:
        """A positive answer of the witnesses: the first of an epoch begins it, or moves a live holder to it."""
        left = self.authority_left(attempt)
        if not attempt.live or attempt.epoch <= copy.finished or left <= 0:
            return copy
        if attempt.epoch == copy.epoch:
            return copy._replace(authority=left) if left > copy.authority else copy
        if copy.epoch:
            return self.in_place(copy, attempt, left) if attempt.epoch > copy.epoch else copy
        if not self.may_begin(copy):
            return copy
        return copy._replace(epoch=attempt.epoch, ttl=attempt.yes, authority=left, hold=0)

    def in_place(self, copy: Copy, attempt: Attempt, left: int) -> Copy:
        """From the epoch lived on by holds to the one granted in place: the former is over, with all its holds."""
        moved = self.end_of_epoch(copy, copy.epoch)
        keeps = tuple([a for a in copy.attempts if a.epoch == attempt.epoch])
        return moved._replace(epoch=attempt.epoch, ttl=attempt.yes, authority=left, attempts=keeps)

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        """Final: authority and holds are gone, nonces under way are void, the epoch is finished."""
        return copy._replace(
            epoch=0,
            ttl=0,
            authority=0,
            hold=0,
            heard=(0,) * len(copy.heard),
            finished=max(copy.finished, epoch),
            attempts=tuple([a._replace(live=0, yes=0) for a in copy.attempts]),
            asks=tuple([a._replace(live=0, yes=0) for a in copy.asks]),
        )

    def deadline(self, copy: Copy) -> Copy:
        """Down when neither the witnesses' authority nor every hold lasts; the session may still be seen."""
        return self.end_of_epoch(copy, copy.epoch)._replace(linger=self.bounds.lock_delay)

    def stand_down(self, copy: Copy) -> Copy:
        """A release, and the end of every promise, are sent only after everything is verified down."""
        return self.end_of_epoch(copy, copy.epoch)._replace(release=copy.epoch, end=copy.epoch)

    def cold_start(self, copy: Copy, incarnation: int) -> Copy:
        """Everything is verified down; a promise that was stored counts as lost, so the wait must be enough."""
        linger = self.bounds.lock_delay if copy.left else copy.linger
        down = self.end_of_epoch(copy, 0)
        return down._replace(incarnation=incarnation, finished=0, linger=linger, promise=NO_PROMISE, up=0, known=0)

    # The promiser ----------------------------------------------------------------------------------------------

    def may_promise(self, copy: Copy, ask: Ask) -> bool:
        """Verified down, without an authority, and nothing of its own under way that may give one."""
        return self.is_down(copy) and self.claims_nothing(copy) and self.is_above_bound(copy, ask)

    def is_down(self, copy: Copy) -> bool:
        return copy.left == 0 and copy.linger == 0

    def claims_nothing(self, copy: Copy) -> bool:
        return not any(a.live and a.epoch > copy.finished for a in copy.attempts)

    def is_above_bound(self, copy: Copy, ask: Ask) -> bool:
        return ask.epoch > copy.finished

    def supersedes(self, promise: Promise, ask: Ask) -> bool:
        """A request for an older epoch than the one promised for changes nothing."""
        return ask.epoch >= promise.epoch

    def promised(self, promise: Promise, ask: Ask, claim: int) -> Promise:
        """The longest of several counts, under the newest epoch."""
        return Promise(max(promise.left, self.promise_length(ask)), ask.epoch, claim)

    def promise_length(self, ask: Ask) -> int:
        """(1+r)/(1-r) * (ttl + lock_delay) from its receipt: in true time never less than the longest hold."""
        return ask.ttl + self.bounds.lock_delay

    def survives_restart(self) -> bool:
        """Stored durably before the answer leaves, so that a new process of the same boot keeps it."""
        return True

    def end_accepted(self, promise: Promise, epoch: int, claim: int) -> bool:
        """Ended early only by the word of the holder that it was given to."""
        return promise.epoch == epoch and promise.claim == claim

    def cold_wait(self, machine: Machine) -> int:
        """After a cold start: as long as a promise to anyone who may still live on an earlier lease."""
        return machine.hold_wait + self.bounds.lock_delay

    # The replicated machine ------------------------------------------------------------------------------------

    def grant_accepted(self, machine: Machine, site: int, known: int) -> bool:
        """Vacant, the site is eligible, and it knows the whole set of sites of now."""
        return machine.lease is None and self.is_eligible(machine, site) and self.knows_sites(machine, known)

    def is_eligible(self, machine: Machine, site: int) -> bool:
        return bool(machine.eligible >> site & 1)

    def knows_sites(self, machine: Machine, known: int) -> bool:
        return known == machine.version

    def binds(self, former: Former) -> int:
        """A re-grant in place can be claimed only by the claim that lived on by holds."""
        return former.claim

    def claim_accepted(self, lease: Lease, claim: int, attempt: Attempt) -> bool:
        """The first claim wins; a re-grant's must come from the former claim, which lives and says so."""
        return lease.binds == NOBODY or (lease.binds == claim and attempt.under > 0)

    def timer_length(self, ttl: int) -> int:
        """What the layer below proves of votes."""
        return ttl + self.bounds.lock_delay

    def carried(self, machine: Machine, version: int) -> int:
        """Sites that were added are eligible once a renewal of the holder says that it knows exactly this version."""
        return self.all_sites(machine) if version == machine.version else machine.eligible

    def all_sites(self, machine: Machine) -> int:
        return sum(1 << site for site in self.bounds.versions[machine.version])

    def reconfigured(self, machine: Machine, version: int) -> int:
        """An added site is not eligible yet; a removed one no more."""
        now = self.all_sites(machine._replace(version=version))
        return machine.eligible & now

    def hold_wait_granted(self, machine: Machine, ttl: int) -> int:
        """The longest of the leases that somebody may live on; the new one is among them."""
        return max(machine.hold_wait, ttl)

    def hold_wait_claimed(self, machine: Machine, lease: Lease) -> int:
        """A claim shows that a claimant was down, or that it lives on: by what, and for how long, it does not show."""
        del lease
        return machine.hold_wait

    def hold_wait_proved(self, machine: Machine, lease: Lease) -> int:
        """A renewal sent under its own epoch shows that whatever was before is over."""
        del machine
        return lease.ttl

    def release_accepted(self, lease: Lease, claim: int, epoch: int) -> bool:
        """Epoch and claim are the holder's; a grant that was never claimed is not released, it runs out."""
        return lease.epoch == epoch and lease.claim == claim

    def decline_accepted(self) -> bool:
        """An unclaimed grant is not given back: whoever lived before it may live still."""
        return False

    def former_after_claim(self, machine: Machine, lease: Lease, claim: int) -> Former | None:
        """A claim of a re-grant proves nothing yet: its holder may not have heard the answer."""
        if lease.binds != NOBODY and not lease.proved:
            return machine.former
        return Former(lease.site, lease.incarnation, claim, lease.epoch)

    def may_delete(self, machine: Machine) -> bool:
        """A group is deleted only when nobody may live on: vacant by a release, or never granted."""
        return machine.lease is None and machine.former is None

    def recreated(self, machine: Machine, top: int) -> Machine:
        """After a restore: barred for the longest lease, nobody is known to live on, and all may."""
        longest = max(self.bounds.ttls)
        barred = Lease(top + 1, NOBODY, NOBODY, NOBODY, NOBODY, self.timer_length(longest), longest, 0)
        return machine._replace(epoch=top + 1, lease=barred, former=None, hold_wait=longest)
