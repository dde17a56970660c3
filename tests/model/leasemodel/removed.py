"""REMOVED_RULES: the rules taken away one at a time. Each must break a promise within a small scenario.

`scenario` is a search in which that is caught; the story of the counterexample is in docs/lease-safety.md, and
`run.py --removed NAME --trace` prints it. Clauses that another rule doubles stand in REDUNDANT_RULES, where the
search shows that one alone is not missed: void nonces beside the bound of finished epochs, and each half of a
grant's compare-and-set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leasemodel import mutations as wrong
from leasemodel.claims import OVERLAP, REPEATED_GRANT


@dataclass(frozen=True)
class Removed:
    """One rule that was taken away, where that is caught, and what it breaks."""

    name: str
    rules: type[Any]
    scenario: str
    breaks: tuple[str, ...] = (OVERLAP,)
    """The promise that the search goes on for; a lesser one that breaks on the way does not end it."""

    @property
    def about(self) -> str:
        return (self.rules.__doc__ or "").strip()


REMOVED_RULES: tuple[Removed, ...] = (
    Removed("deadline-from-arrival", wrong.DeadlineFromArrival, "basic"),
    Removed("nonce-not-checked", wrong.NonceNotChecked, "two-heartbeats"),
    Removed("late-answer-honoured", wrong.LateAnswerHonoured, "basic"),
    Removed("finished-epochs-forgotten", wrong.FinishedEpochsForgotten, "basic"),
    Removed("grant-gives-authority", wrong.GrantGivesAuthority, "basic"),
    Removed("replica-answers", wrong.ReplicaAnswers, "basic"),
    Removed("release-before-down", wrong.ReleaseBeforeDown, "basic"),
    Removed("release-without-claim", wrong.ReleaseWithoutClaim, "clone"),
    Removed("release-without-epoch", wrong.ReleaseWithoutEpoch, "three-epochs"),
    Removed("second-claim-accepted", wrong.SecondClaimAccepted, "clone"),
    Removed("incarnation-kept", wrong.IncarnationKept, "crash"),
    Removed("new-incarnation-vacates", wrong.NewIncarnationVacates, "clone-cold"),
    Removed("grant-without-compare-and-set", wrong.GrantWithoutCompareAndSet, "grants"),
    Removed("epoch-not-raised", wrong.EpochNotRaised, "basic", (REPEATED_GRANT,)),
    Removed("ttl-of-configuration", wrong.TtlOfConfiguration, "configure"),
    Removed("stale-votes-count", wrong.StaleVotesCount, "basic"),
    Removed("votes-name-epoch-only", wrong.VotesNameEpochOnly, "basic"),
    Removed("votes-name-renewal-only", wrong.VotesNameRenewalOnly, "three-epochs"),
    Removed("one-witness-votes-twice", wrong.OneWitnessVotesTwice, "basic"),
    Removed("minority-expires", wrong.MinorityExpires, "basic"),
    Removed("revoke-vacates", wrong.RevokeVacates, "revoke"),
    Removed("deleted-while-held", wrong.DeletedWhileHeld, "basic"),
    Removed("no-tombstone", wrong.NoTombstone, "basic", (REPEATED_GRANT,)),
    Removed("no-barred-start", wrong.NoBarredStart, "restore"),
    Removed("epoch-restored", wrong.EpochRestored, "restore", (REPEATED_GRANT,)),
    Removed("barred-for-configured-ttl", wrong.BarredForConfiguredTtl, "restore-configure"),
    Removed("barred-lease-renewable", wrong.BarredLeaseRenewable, "restore"),
    Removed("barred-until-heard-down", wrong.BarredUntilHeardDown, "restore-clone"),
    Removed("no-drift-in-timer", wrong.NoDriftInTimer, "basic"),
    Removed("no-lock-delay-in-timer", wrong.NoLockDelayInTimer, "lock-delay"),
    Removed("stopped-site-releases-at-once", wrong.StoppedSiteReleasesAtOnce, "lock-delay"),
    Removed("timer-not-restarted", wrong.TimerNotRestarted, "basic"),
    Removed("timer-from-proposers-clock", wrong.TimerFromProposersClock, "basic"),
    Removed("restart-counts-as-elapsed", wrong.RestartCountsAsElapsed, "basic"),
)
"""Each breaks a promise."""

REDUNDANT_RULES: tuple[Removed, ...] = (
    Removed("nonces-stay-valid", wrong.NoncesStayValid, "grants"),
    Removed("grant-compares-epoch-only", wrong.GrantComparesEpochOnly, "grants"),
    Removed("grant-compares-vacancy-only", wrong.GrantComparesVacancyOnly, "grants"),
)
"""Taken away alone, these break nothing within the bounds: another rule does the same work."""

REMOVED_WAYS_OUT: tuple[Removed, ...] = (
    Removed("barred-never-ends", wrong.BarredNeverEnds, "restore"),
    Removed("refused-never-ends", wrong.RefusedNeverEnds, "revoke"),
    Removed("all-witnesses-needed", wrong.AllWitnessesNeeded, "basic"),
    Removed("restarted-never-votes", wrong.RestartedNeverVotes, "basic"),
)
"""Each leaves a state from which no site can become active any more."""
