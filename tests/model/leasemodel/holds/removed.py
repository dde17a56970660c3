"""The rules of holds taken away one at a time, and where each is caught; the clauses that are not needed alone."""

from __future__ import annotations

from leasemodel.holds import mutations as wrong
from leasemodel.removed import Removed

HOLD_REMOVED: tuple[Removed, ...] = (
    Removed("hold-from-arrival", wrong.HoldFromArrival, "holds"),
    Removed("hold-from-newest-request", wrong.HoldFromNewestRequest, "holds-overtaking"),
    Removed("hold-revives", wrong.HoldRevives, "holds"),
    Removed("one-hold-is-enough", wrong.OneHoldIsEnough, "holds-three-sites"),
    Removed("sites-of-the-grant", wrong.SitesOfTheGrant, "holds-added-site"),
    Removed("hold-end-before-down", wrong.EndBeforeDown, "holds"),
    Removed("hold-end-without-epoch", wrong.EndWithoutEpoch, "holds-late-again"),
    Removed("claims-while-promising", wrong.ClaimsWhilePromising, "holds"),
    Removed("no-drift-in-promise", wrong.NoDriftInPromise, "holds"),
    Removed("no-lock-delay-in-promise", wrong.NoLockDelayInPromise, "holds-lock-delay"),
    Removed("promise-not-durable", wrong.PromiseNotDurable, "holds"),
    Removed("no-cold-wait", wrong.NoColdWait, "holds-crash"),
    Removed("cold-wait-of-grant", wrong.ColdWaitOfGrant, "holds-configure"),
    Removed("cold-wait-without-lock-delay", wrong.ColdWaitWithoutLockDelay, "holds-lock-delay"),
    Removed("hold-wait-ends-with-grant", wrong.HoldWaitEndsWithGrant, "holds-configure"),
    Removed("added-site-at-once", wrong.AddedSiteAtOnce, "holds-added-site"),
    Removed("unknown-set-granted", wrong.UnknownSetGranted, "holds-unknown-set"),
    Removed("deleted-while-somebody-lives", wrong.DeletedWhileSomebodyLives, "holds-added-site"),
    Removed("regrant-not-bound", wrong.RegrantNotBound, "holds-clone"),
)

HOLD_REMOVED_LARGE: tuple[Removed, ...] = (
    Removed("hold-wait-ends-with-claim", wrong.HoldWaitEndsWithClaim, "holds-configure-regrant"),
    Removed("hold-wait-not-restored", wrong.HoldWaitNotRestored, "holds-restore-crash"),
    Removed("any-version-carries", wrong.AnyVersionCarries, "holds-added-site"),
    Removed("decline-counts-as-release", wrong.DeclineCountsAsRelease, "holds-added-later"),
)
"""Caught as well, in searches that are too long for every CI run: `run.py --removed all` has them."""

HOLD_REDUNDANT: tuple[Removed, ...] = (
    Removed("promises-always", wrong.PromisesAlways, "holds-crash"),
    Removed("older-epoch-supersedes", wrong.OlderEpochSupersedes, "holds-late"),
    Removed("newest-promise-counts", wrong.NewestPromiseCounts, "holds"),
    Removed("hold-end-without-claim", wrong.EndWithoutClaim, "holds-clone"),
    Removed("promise-kept-at-begin-only", wrong.PromiseKeptAtBeginOnly, "holds"),
    Removed("promise-kept-at-claim-only", wrong.PromiseKeptAtClaimOnly, "holds"),
    Removed("regrant-binds-the-living", wrong.RegrantBindsLivingOnly, "holds-clone"),
    Removed("holds-carried-over", wrong.HoldsCarriedOver, "holds"),
    Removed("former-epoch-open", wrong.FormerEpochOpen, "holds"),
)

HOLD_WAYS_OUT: tuple[Removed, ...] = (Removed("never-in-place", wrong.NeverInPlace, "holds-regrant"),)
"""A holder that lives by holds could not come back to a lease without a stop."""
