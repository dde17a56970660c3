"""The wrong variants of the rules: each class overrides the one method of `Rules` that holds its clause.

removed.py says in which scenario each is searched and what it must break.
"""

from __future__ import annotations

from leasemodel.rules import EVERYTHING, Rules
from leasemodel.state import NO_RECORD, NOBODY, Attempt, Copy, Grant, Lease, Machine, Record, Witness


class DeadlineFromArrival(Rules):
    """The agent counts ttl from the moment the answer arrives."""

    def authority_left(self, copy: Copy, attempt: Attempt, ttl: int) -> int:
        return ttl


class NonceNotChecked(Rules):
    """Any answer counts for the newest attempt."""

    remembers = frozenset({"answers"})

    def nonce_is_known(self, attempt: Attempt) -> bool:
        return True

    def authority_left(self, copy: Copy, attempt: Attempt, ttl: int) -> int:
        return ttl - min(a.age for a in copy.attempts)


class LateAnswerHonoured(Rules):
    """Nonces stay valid after the end of their epoch, and no bound of finished epochs is kept."""

    remembers = frozenset({"answers"})

    def epoch_is_open(self, copy: Copy, epoch: int) -> bool:
        return copy.epoch in (0, epoch)

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        return copy._replace(authority=0, epoch=0, finished=max(copy.finished, epoch))


class FinishedEpochsForgotten(Rules):
    """No bound of finished epochs is kept; nonces become void all the same."""

    remembers = frozenset({"answers"})

    def epoch_is_open(self, copy: Copy, epoch: int) -> bool:
        return copy.epoch in (0, epoch)


class NoncesStayValid(Rules):
    """Nonces stay valid after the end of their epoch; the bound of finished epochs is kept."""

    remembers = frozenset({"answers"})

    def end_of_epoch(self, copy: Copy, epoch: int) -> Copy:
        return copy._replace(authority=0, epoch=0, finished=max(copy.finished, epoch))


class GrantGivesAuthority(Rules):
    """An agent that hears of its grant is active from then on, before any renewal."""

    def on_grant_seen(self, copy: Copy, lease: Lease) -> Copy:
        if copy.epoch or lease.epoch <= copy.finished:
            return copy
        return copy._replace(authority=lease.ttl, epoch=lease.epoch)


class ReplicaAnswers(Rules):
    """A witness answers a renewal from its own replica, which may lag, instead of committing it."""

    remembers = frozenset({"records"})

    def replica_answers(self, witness: Witness) -> bool:
        return True


class ReleaseBeforeDown(Rules):
    """The release is sent first and the platform stopped afterwards."""

    def release(self, copy: Copy, epoch: int) -> Copy:
        return copy._replace(release=(epoch, copy.incarnation))


class ReleaseWithoutClaim(Rules):
    """A release needs the epoch and the incarnation only."""

    def release_claim_fits(self, lease: Lease, claim: int) -> bool:
        return True


class ReleaseWithoutEpoch(Rules):
    """A release names the incarnation and the claim only: one that is late ends a later epoch."""

    remembers = frozenset({"releases"})

    def release_accepted(self, lease: Lease, site: int, claim: int, release: Record) -> bool:
        return self.is_holder(lease, site, release[1]) and self.release_claim_fits(lease, claim)


class SecondClaimAccepted(Rules):
    """Whoever has the incarnation may renew."""

    def claim_fits(self, lease: Lease, claim: int, epoch: int) -> bool:
        return epoch in (0, lease.epoch)


class IncarnationKept(Rules):
    """A cold start keeps the incarnation, and what its guard had stored is lost."""

    def cold_start(self, copy: Copy, incarnation: int) -> Copy:
        return super().cold_start(copy, copy.incarnation)


class NewIncarnationVacates(Rules):
    """The machine takes another incarnation of the holder's site as proof that the old one is down."""

    def heard_new_incarnation(self, machine: Machine, lease: Lease) -> Machine:
        return machine._replace(lease=None)


class GrantWithoutCompareAndSet(Rules):
    """A grant is committed whatever happened since it was proposed."""

    remembers = frozenset({"grants"})

    def grant_accepted(self, machine: Machine, grant: Grant) -> bool:
        return True


class GrantComparesEpochOnly(Rules):
    """Not wrong by itself (docs): kept to show that the epoch alone carries the compare-and-set."""

    def grant_accepted(self, machine: Machine, grant: Grant) -> bool:
        return machine.epoch == grant.expected


class GrantComparesVacancyOnly(Rules):
    """A grant checks that the lease is vacant, not that it is the vacancy its proposer saw."""

    remembers = frozenset({"grants"})

    def grant_accepted(self, machine: Machine, grant: Grant) -> bool:
        return machine.lease is None


class EpochNotRaised(Rules):
    """A new grant takes the epoch of the one before it."""

    remembers = EVERYTHING

    def next_epoch(self, machine: Machine) -> int:
        return max(1, machine.epoch)


class TtlOfConfiguration(Rules):
    """Witnesses time a running lease by the ttl that is configured now."""

    def ttl_of(self, machine: Machine, lease: Lease) -> int:
        return machine.ttl


class StaleVotesCount(Rules):
    """Expiry without compare-and-set: a vote for an older renewal, or epoch, counts."""

    remembers = frozenset({"votes"})

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        return True


class VotesNameEpochOnly(Rules):
    """A vote names the epoch and not the renewal."""

    remembers = frozenset({"votes"})

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        return vote[0] == lease.epoch


class VotesNameRenewalOnly(Rules):
    """A vote names the number of the renewal and not the epoch."""

    remembers = frozenset({"votes"})

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        return vote[1] == lease.renewal


class OneWitnessVotesTwice(Rules):
    """Votes are counted, not witnesses."""

    remembers = frozenset({"votes"})

    def counted(self, before: int) -> int:
        return before + 1


class MinorityExpires(Rules):
    """One vote is enough."""

    def expires(self, votes: int, witnesses: int) -> bool:
        return votes >= 1


class RevokeVacates(Rules):
    """The lease is vacant when the revoke deadline strikes."""

    def revoke_deadline(self, machine: Machine, lease: Lease) -> Machine:
        return machine._replace(lease=None)


class DeletedWhileHeld(Rules):
    """A group may be deleted and made again while its lease is held."""

    def delete_group(self, machine: Machine) -> Machine:
        return machine if machine.lease is None else machine._replace(lease=None)


class NoTombstone(Rules):
    """A deleted group leaves no epoch behind."""

    remembers = EVERYTHING

    def delete_group(self, machine: Machine) -> Machine:
        if machine.lease is not None or machine.epoch == 0:
            return machine
        return machine._replace(epoch=0)


class NoBarredStart(Rules):
    """After a restore the group is simply vacant, with a fresh epoch."""

    def recreated(self, top: int, ttl: int) -> Machine:
        return Machine(top + 1, None, ttl)


class EpochRestored(Rules):
    """After a restore the epoch is the one of the backup."""

    remembers = frozenset({"answers"})

    def recreated(self, top: int, ttl: int) -> Machine:
        barred = Lease(max(1, top - 1), NOBODY, NOBODY, NOBODY, 0, self.bounds.ttl_max, 0)
        return Machine(barred.epoch, barred, ttl)


class BarredForConfiguredTtl(Rules):
    """The barred lease lasts for the ttl of the restored configuration, though a longer one may be in force."""

    def recreated(self, top: int, ttl: int) -> Machine:
        machine = super().recreated(top, ttl)
        return machine._replace(lease=machine.lease._replace(ttl=ttl) if machine.lease else None)


class BarredLeaseRenewable(Rules):
    """A restored group goes on with the lease of the backup: its holder by then is renewed, the real one is not."""

    def recreated(self, top: int, ttl: int) -> Machine:
        return Machine(top + 1, Lease(top + 1, self.bounds.copies[-1], 1, NOBODY, 0, self.bounds.ttl_max, 0), ttl)


class BarredUntilHeardDown(Rules):
    """A barred lease ends as soon as every site was heard since the restore and says that it is down."""

    def heard_down(self, machine: Machine, lease: Lease, site: int) -> Machine:
        heard = lease.refusing | 1 << site
        if heard == (1 << self.bounds.sites) - 1:
            return machine._replace(lease=None)
        return machine._replace(lease=lease._replace(refusing=heard)) if heard != lease.refusing else machine


class NoDriftInTimer(Rules):
    """D = ttl on the witness's own clock: with a fast witness and a slow holder a tick too short."""

    def timer_length(self, ttl: int) -> int:
        return super().timer_length(ttl) - 1


class NoLockDelayInTimer(Rules):
    """D without lock_delay."""

    def timer_length(self, ttl: int) -> int:
        return ttl


class StoppedSiteReleasesAtOnce(Rules):
    """A site that its guard stopped releases without waiting lock_delay."""

    def may_release(self, copy: Copy) -> bool:
        return True


class TimerNotRestarted(Rules):
    """A renewal leaves the timer running that the one before it had started."""

    remembers = frozenset({"timers"})

    def timer_on_apply(self, witness: Witness, lease: Lease, machine: Machine) -> int:
        if witness.applied[0] == lease.epoch:
            return witness.timer
        return super().timer_on_apply(witness, lease, machine)


class TimerFromProposersClock(Rules):
    """The timer ends at a time that the proposer stamped: its clock is not ours, so any length can come out."""

    def timer_on_apply(self, witness: Witness, lease: Lease, machine: Machine) -> int:
        return 0


class RestartCountsAsElapsed(Rules):
    """A restarted witness finds the lease in its log and takes its timer as run out."""

    def after_restart(self, witness: Witness, lease: Lease | None) -> Witness:
        if lease is None:
            return super().after_restart(witness, lease)
        return witness._replace(applied=(lease.epoch, lease.renewal), timer=0)


class BarredNeverEnds(Rules):
    """Liveness: votes do not end a barred lease."""

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        return lease.site != NOBODY and super().vote_fits(lease, vote)


class RefusedNeverEnds(Rules):
    """Liveness: votes do not end a lease whose renewals are refused."""

    def vote_fits(self, lease: Lease, vote: Record) -> bool:
        return not lease.refusing and super().vote_fits(lease, vote)


class AllWitnessesNeeded(Rules):
    """Liveness: expiry needs every witness, so one that is lost keeps the lease for ever."""

    def expires(self, votes: int, witnesses: int) -> bool:
        return votes == witnesses


class RestartedNeverVotes(Rules):
    """Liveness: a restarted witness never arms a timer for what it finds, and nobody renews any more."""

    def after_restart(self, witness: Witness, lease: Lease | None) -> Witness:
        if lease is None:
            return witness._replace(applied=NO_RECORD, timer=0)
        return witness._replace(applied=(lease.epoch, lease.renewal), timer=NEVER)


NEVER = -1
"""A timer that does not run: neither out nor counting."""
