"""Who may claim, renew and be granted: rules behind which a second one stands, so that unit tests must see them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant

from witness.core import decide, heartbeats, lease_rules, proposals, transitions
from witness.core.transitions import LeaseInput, Phase


def bounds_of_sites_do_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease_rules, "epoch_floor", lambda group: group.epoch)
    patch.setattr(proposals, "epoch_floor", lambda group: group.epoch)


def any_claim_renews(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._claim_or_renew

    def claim_or_renew(scope, group, lease, record, entry):
        claimed = entry if lease.claim is None else replace(entry, claim=lease.claim)
        return right(scope, group, lease, record, claimed)

    patch.setattr(heartbeats, "_claim_or_renew", claim_or_renew)


def an_old_incarnation_renews(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._lease_part

    def lease_part(scope, group, record, beat, entry):
        if group.lease is not None and group.lease.site == beat.site:
            beat = replace(beat, incarnation=group.lease.incarnation)
        return right(scope, group, record, beat, entry)

    patch.setattr(heartbeats, "_lease_part", lease_part)


def anybody_may_be_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease_rules, "grantable", lambda record, command: None)


def who_speaks_undown_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_others_not_down", lambda group, site, sight, now: [])


def a_renewal_after_the_revokes_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(transitions.REFUSED, (Phase.OVERDUE, LeaseInput.RENEWAL))
    patch.setitem(transitions.LEADS_TO, (Phase.OVERDUE, LeaseInput.RENEWAL), Phase.OVERDUE)


def old_heartbeats_count(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._speaker

    def speaker(scope, site, incarnation, seq):
        record = scope.state.agents.get(site)
        if record is not None and record.incarnation == incarnation:
            return None
        return right(scope, site, incarnation, seq)

    patch.setattr(heartbeats, "_speaker", speaker)


def another_store_is_welcome(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._report

    def report(scope, group, record, beat, entry):
        record.store_id = b""
        return right(scope, group, record, beat, entry)

    patch.setattr(heartbeats, "_report", report)


ALONE = "defence in depth: another rule holds where this one is gone, as long as nobody copies a machine's memory"
MUTANTS = (
    Mutant(
        "bounds-do-not-count",
        "a grant goes above every site's durable bound",
        "lease: epochs",
        bounds_of_sites_do_not_count,
        tests=("unit/test_lease_rules.py::test_an_epoch_goes_above_every_sites_durable_bound",),
        reason="bounds exceed the machine's epoch only after a restore from a backup, which no schedule makes",
    ),
    Mutant(
        "any-claim-renews",
        "the first claim of an epoch wins",
        "lease: claim",
        any_claim_renews,
        tests=("unit/test_heartbeats.py::test_a_granted_site_is_told_and_the_first_claim_wins",),
        reason="a copy of a running agent's memory has the same incarnation; copies of disks have another one",
    ),
    Mutant(
        "old-incarnation-renews",
        "a restarted agent does not inherit a lease",
        "lease: claim",
        an_old_incarnation_renews,
        tests=("unit/test_heartbeats.py::test_a_restart_neither_vacates_nor_inherits",),
        reason=ALONE,
    ),
    Mutant(
        "anybody-may-be-granted",
        "the machine grants only to a site that is down, enforcing, and of the incarnation that was asked",
        "lease: grant",
        anybody_may_be_granted,
        tests=("unit/test_lease_rules.py::test_a_grantee_must_be_down_and_enforcing",),
        reason="the leader's decision asks the same before; the two part only for a moment",
    ),
    Mutant(
        "undown-speaker-ignored",
        "no grant while another site speaks and is not down",
        "decision",
        who_speaks_undown_is_ignored,
        tests=("unit/test_review_witness.py::test_no_grant_while_another_site_that_is_heard_says_that_it_is_not_down",),
        reason="simulated sites run nothing outside of their guards, which have ended what a lease protected",
    ),
    Mutant(
        "renewal-after-deadline",
        "after the handover's time nothing is renewed",
        "lease: handover",
        a_renewal_after_the_revokes_deadline,
        tests=("unit/test_lease_rules.py::test_a_voted_revoke_deadline_ends_renewals_and_still_does_not_vacate",),
        reason="it delays a handover without end, but the site that goes on has the lease",
    ),
    Mutant(
        "old-heartbeats-count",
        "a heartbeat that was overtaken changes nothing",
        "lease: heartbeats",
        old_heartbeats_count,
        tests=("unit/test_heartbeats.py::test_an_older_heartbeat_of_the_same_incarnation_is_stale",),
        reason="an old renewal only makes a lease longer, and its answer is counted from its own sending",
    ),
    Mutant(
        "another-store-is-welcome",
        "a site that comes with another store is put in quarantine",
        "quarantine",
        another_store_is_welcome,
        tests=("unit/test_heartbeats.py::test_another_store_is_quarantined",),
        reason="no schedule replaces a site's disk",
    ),
)
