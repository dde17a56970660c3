"""The rules of the lease, one method a clause. This file is what is being proven; the rest is the world around it.

Each method is one decision of an agent, of a witness or of the replicated machine, as docs/lease-safety.md and
DESIGN section 3 word it. `mutations.py` overrides one method at a time with a wrong variant and the search must
then find two active sites or a repeated epoch; so a method that could be changed without being noticed would be a
rule that does nothing.

Decisions that rest on policy (who is a candidate, cooldown, quarantine, modes) are not here: the model grants a
vacant lease to any site at any moment, which includes whatever a policy would do.
"""

from __future__ import annotations

from leasemodel.scenarios import Bounds
from leasemodel.state import NO_RECORD, NOBODY, Attempt, Copy, Grant, Lease, Machine, Record, Witness

EVERYTHING = frozenset({"votes", "timers", "records", "grants", "releases", "answers"})


class Rules:
    """The full set of rules within given bounds."""

    remembers: frozenset[str] = frozenset()
    """Votes, timers, applied records, grants, releases and answers that these rules refuse for ever are forgotten
    (reduce.py). A mutation that takes such a refusal away names here what must be kept: some of EVERYTHING."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    # The agent -------------------------------------------------------------------------------------------------

    def authority_left(self, copy: Copy, attempt: Attempt, ttl: int) -> int:
        """Authority lasts until t0 + ttl, t0 read before sending; the arrival of the answer is never used."""
        del copy
        return ttl - attempt.age

    def nonce_is_known(self, attempt: Attempt) -> bool:
        """An answer counts only for the nonce that it echoes, and not after that nonce became void."""
        return bool(attempt.live)

    def epoch_is_open(self, copy: Copy, epoch: int) -> bool:
        """An answer for an epoch not above the last finished one, or beside the epoch held, is ignored."""
        return epoch > copy.finished and copy.epoch in (0, epoch)

    def may_activate(self, copy: Copy) -> bool:
        """A site that its guard stopped waits lock_delay itself."""
        return copy.linger == 0

    def on_answer(self, copy: Copy, attempt: Attempt, epoch: int, ttl: int) -> Copy:
        """What a positive answer changes; an answer that a rule above refuses changes nothing."""
        if not self.nonce_is_known(attempt) or not self.epoch_is_open(copy, epoch):
            return copy
        left = self.authority_left(copy, attempt, ttl)
        if left <= 0 or (copy.epoch == 0 and not self.may_activate(copy)):
            return copy
        if epoch == copy.epoch and left <= copy.authority:
            return copy
        return copy._replace(authority=max(copy.authority, left), epoch=epoch)

    def on_grant_seen(self, copy: Copy, lease: Lease) -> Copy:
        """A grant gives no authority: the first comes from the answer to a heartbeat applied as a renewal."""
        del lease
        return copy

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        """Authority for an epoch ends for good: nonces under way are void, the epoch is finished."""
        void = tuple(a._replace(live=0, answers=()) for a in copy.attempts)
        return copy._replace(authority=0, epoch=0, finished=max(copy.finished, epoch), attempts=void)

    def deadline(self, copy: Copy) -> Copy:
        """At t0 + ttl everything is down, whoever is paused; the license server may still see the session."""
        return self.end_of_epoch(copy, copy.epoch)._replace(linger=self.bounds.lock_delay)

    def may_release(self, copy: Copy) -> bool:
        """A site that was stopped uncleanly waits lock_delay before it releases as well."""
        return copy.linger == 0

    def release(self, copy: Copy, epoch: int) -> Copy:
        """A release is sent only after everything is verified down; the epoch is finished then."""
        return self.end_of_epoch(copy, epoch)._replace(release=(epoch, copy.incarnation))

    def cold_start(self, copy: Copy, incarnation: int) -> Copy:
        """A cold start makes sure that everything is down, then draws a new incarnation.

        What the guard had stored counts as lost: the new incarnation alone must be enough.
        """
        linger = self.bounds.lock_delay if copy.authority else copy.linger
        down = self.end_of_epoch(copy, 0)
        return down._replace(incarnation=incarnation, finished=0, linger=linger)

    # The replicated machine -----------------------------------------------------------------------------------

    def is_holder(self, lease: Lease, site: int, incarnation: int) -> bool:
        """A lease belongs to one incarnation of one site; a barred one to nobody."""
        return lease.site == site and lease.incarnation == incarnation

    def claim_fits(self, lease: Lease, claim: int, epoch: int) -> bool:
        """The first renewal of an epoch is its claim, only the first claim wins, and later ones must carry it.

        A heartbeat from before the site held anything names no epoch (0).
        """
        return lease.claim in (NOBODY, claim) and epoch in (0, lease.epoch)

    def renewal_accepted(self, lease: Lease, site: int, claim: int, attempt: Attempt) -> bool:
        """The holder's heartbeat is its renewal, unless the revoke deadline was voted."""
        if lease.refusing or not self.is_holder(lease, site, attempt.incarnation):
            return False
        return self.claim_fits(lease, claim, attempt.epoch)

    def grant_accepted(self, machine: Machine, grant: Grant) -> bool:
        """A grant is a compare-and-set on (epoch, vacant)."""
        return machine.lease is None and machine.epoch == grant.expected

    def next_epoch(self, machine: Machine) -> int:
        """The epoch of a grant is greater than every one before it."""
        return machine.epoch + 1

    def ttl_of(self, machine: Machine, lease: Lease) -> int:
        """ttl is fixed at the grant, stored in the lease, echoed in answers; a change waits for the next epoch."""
        del machine
        return lease.ttl

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        """A vote counts for exactly the (epoch, renewal) that it names; a renewal committed first makes it stale."""
        return vote == (lease.epoch, lease.renewal)

    def counted(self, before: int) -> int:
        """Votes of one witness count once."""
        del before
        return 1

    def expires(self, votes: int, witnesses: int) -> bool:
        """A lease expires by the votes of a majority of the witnesses."""
        return votes > witnesses // 2

    def release_accepted(self, lease: Lease, site: int, claim: int, release: Record) -> bool:
        """A release is refused unless epoch, incarnation and claim are all the holder's (unclaimed: a decline)."""
        epoch, incarnation = release
        if epoch != lease.epoch or not self.is_holder(lease, site, incarnation):
            return False
        return self.release_claim_fits(lease, claim)

    def release_claim_fits(self, lease: Lease, claim: int) -> bool:
        """The claim's part of a release: a copy that lost the claim cannot give up what another copy holds."""
        return lease.claim in (NOBODY, claim)

    def revoke_deadline(self, machine: Machine, lease: Lease) -> Machine:
        """After the revoke deadline renewals are refused; a revoke never vacates."""
        return machine._replace(lease=lease._replace(refusing=1))

    def heard_new_incarnation(self, machine: Machine, lease: Lease) -> Machine:
        """That the holder's site reports another incarnation proves nothing about the old one."""
        del lease
        return machine

    def heard_down(self, machine: Machine, lease: Lease, site: int) -> Machine:
        """That every site says that it is down does not end a barred lease: a copy of one of them may not be."""
        del lease, site
        return machine

    def delete_group(self, machine: Machine) -> Machine:
        """A group is deleted only while its lease is vacant; its tombstone keeps the epoch for a later one."""
        return machine

    def recreated(self, top: int, ttl: int) -> Machine:
        """Restored or created anew: an epoch above all earlier ones, and a lease that only votes can end.

        It lasts for the longest ttl that may have been in force, whatever the restored configuration says.
        """
        barred = Lease(top + 1, NOBODY, NOBODY, NOBODY, 0, self.bounds.ttl_max, 0)
        return Machine(top + 1, barred, ttl)

    # The witness ----------------------------------------------------------------------------------------------

    def timer_length(self, ttl: int) -> int:
        """D = ttl * (1+r)/(1-r) + lock_delay: in true time never less than ttl/(1-r), the longest authority."""
        return ttl + self.bounds.lock_delay

    def timer_on_apply(self, witness: Witness, lease: Lease, machine: Machine) -> int:
        """Every witness starts its own timer, in full, when it applies a committed grant or renewal."""
        del witness
        return self.timer_length(self.ttl_of(machine, lease))

    def after_restart(self, witness: Witness, lease: Lease | None) -> Witness:
        """A restarted witness votes only for what it applied after its start; a restart is never vacancy."""
        del lease
        return witness._replace(applied=NO_RECORD, timer=0)

    def replica_answers(self, witness: Witness) -> bool:
        """Authority comes only from the answer to a committed command; no replica's own state ever grants."""
        del witness
        return False
