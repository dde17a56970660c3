"""The rules of permits taken away one at a time, and where each is caught; the clauses that are not needed alone."""

from __future__ import annotations

from leasemodel.claims import REPEATED_ACTIVATION, REPEATED_GRANT
from leasemodel.permits import mutations as wrong
from leasemodel.removed import Removed

PERMIT_REMOVED: tuple[Removed, ...] = (
    Removed("permit-taken-twice", wrong.PermitTakenTwice, "permit-crash", (REPEATED_ACTIVATION,)),
    Removed("permit-above-own-bound", wrong.PermitAboveOwnBound, "permit", (REPEATED_GRANT,)),
    Removed("permit-without-silence", wrong.PermitWithoutSilence, "permit"),
    Removed("silence-not-stretched", wrong.SilenceNotStretched, "permit"),
    Removed("silence-from-sending", wrong.SilenceFromSending, "permit"),
    Removed("heard-by-any-heartbeat", wrong.HeardByAnyHeartbeat, "permit"),
    Removed("unheard-does-not-matter", wrong.UnheardDoesNotMatter, "permit"),
    Removed("claims-while-reconciling", wrong.ClaimsWhileReconciling, "permit"),
    Removed("renewals-while-reconciling", wrong.RenewalsWhileReconciling, "permit"),
    Removed("permit-not-noted", wrong.PermitNotNoted, "permit"),
    Removed("adopted-expires-unnoted", wrong.AdoptedExpiresUnnoted, "permit"),
    Removed("cleared-beside-permits", wrong.ClearedBesidePermits, "permit-cleared"),
    Removed("restored-as-heard", wrong.RestoredAsHeard, "permit-restored"),
)

PERMIT_REMOVED_LARGE: tuple[Removed, ...] = (Removed("outage-of-all-only", wrong.OutageOfAllOnly, "permit-both"),)
"""Caught as well, in a search that is too long for every CI run."""

PERMIT_REDUNDANT: tuple[Removed, ...] = (
    Removed("permit-beside-claim", wrong.PermitBesideClaim, "permit"),
    Removed("grants-while-reconciling", wrong.GrantsWhileReconciling, "permit"),
    Removed("permit-forgotten", wrong.PermitForgotten, "permit"),
    Removed("adopted-over-anybody", wrong.AdoptedOverAnybody, "permit"),
    Removed("adopted-closed-by-claim", wrong.AdoptedClosedByClaim, "permit"),
    Removed("adopted-expires", wrong.AdoptedExpires, "permit"),
    Removed("adopted-below-permit", wrong.AdoptedBelowPermit, "permit"),
)

PERMIT_WAYS_OUT: tuple[Removed, ...] = (
    Removed("never-adopted", wrong.NeverAdopted, "permit"),
    Removed("permit-never-over", wrong.NeverOver, "permit"),
    Removed("never-above-permit", wrong.AdoptedNotAbovePermit, "permit"),
)
"""A site under permit could not come back to a lease without a stop, or the group would wait for ever."""
