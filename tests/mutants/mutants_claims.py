"""Who may claim, renew and be granted: rules behind which a second one stands, so that unit tests must see them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant

from proto.groups import Mode
from witness.core import decide, heartbeats, lease_rules, proposals, sight, speaker, transitions
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
    right = speaker.heard

    def heard(scope, beat):
        record = scope.state.agents.get(beat.site)
        if record is not None and record.incarnation == beat.incarnation:
            return None
        return right(scope, beat)

    patch.setattr(speaker, "heard", heard)


def another_store_is_welcome(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats._report

    def report(scope, group, record, beat, entry):
        record.store_id = b""
        return right(scope, group, record, beat, entry)

    patch.setattr(heartbeats, "_report", report)


def moves_of_manual_mode(patch: pytest.MonkeyPatch) -> None:
    """What was decided before the mode was set is done after it."""
    patch.setattr(lease_rules, "_forbidden", lambda mode, reason: mode in (Mode.OBSERVE, Mode.PAUSED))


def a_longer_ttl_keeps_the_silent_fresh(patch: pytest.MonkeyPatch) -> None:
    """Who fell silent is judged by the ttl of the next epoch."""
    right = sight.GroupSight.speaks
    patch.setattr(sight.GroupSight, "speaks", lambda self, site, now, *, renews: right(self, site, now, renews=False))


def an_early_proof_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A proof lifts a quarantine only with a report that is new."""
    report, lift = heartbeats._report, heartbeats._lift_proven
    new = [False]

    def reported(scope, group, record, beat, entry):
        new[0] = True
        try:
            return report(scope, group, record, beat, entry)
        finally:
            new[0] = False

    patch.setattr(heartbeats, "_report", reported)
    patch.setattr(heartbeats, "_lift_proven", lambda *named: lift(*named) if new[0] else None)


ALONE = "defence in depth: another rule holds where this one is gone, as long as nobody copies a machine's memory"
MUTANTS = (
    Mutant(
        "bounds-do-not-count",
        "a grant goes above every site's durable bound",
        "lease: epochs",
        bounds_of_sites_do_not_count,
        tests=("unit/test_lease_rules.py::test_an_epoch_goes_above_every_sites_durable_bound",),
        why="bounds exceed the machine's epoch only after a restore from a backup, which no schedule makes",
    ),
    Mutant(
        "any-claim-renews",
        "the first claim of an epoch wins",
        "lease: claim",
        any_claim_renews,
        tests=("unit/test_heartbeats.py::test_a_granted_site_is_told_and_the_first_claim_wins",),
        why="a copy of a running agent's memory has the same incarnation; copies of disks have another one",
    ),
    Mutant(
        "old-incarnation-renews",
        "a restarted agent does not inherit a lease",
        "lease: claim",
        an_old_incarnation_renews,
        tests=("unit/test_heartbeats.py::test_a_restart_neither_vacates_nor_inherits",),
        why=ALONE,
    ),
    Mutant(
        "anybody-may-be-granted",
        "the machine grants only to a site that is down, enforcing, and of the incarnation that was asked",
        "lease: grant",
        anybody_may_be_granted,
        tests=("unit/test_lease_rules.py::test_a_grantee_must_be_down_and_enforcing",),
        why="the leader's decision asks the same before; the two part only for a moment",
    ),
    Mutant(
        "undown-speaker-ignored",
        "no grant while another site speaks and is not down",
        "decision",
        who_speaks_undown_is_ignored,
        tests=("unit/test_review_witness.py::test_no_grant_while_another_site_that_is_heard_says_that_it_is_not_down",),
        why="simulated sites run nothing outside of their guards, which have ended what a lease protected",
    ),
    Mutant(
        "renewal-after-deadline",
        "after the handover's time nothing is renewed",
        "lease: handover",
        a_renewal_after_the_revokes_deadline,
        tests=("unit/test_lease_rules.py::test_a_voted_revoke_deadline_ends_renewals_and_still_does_not_vacate",),
        why="it delays a handover without end, but the site that goes on has the lease",
    ),
    Mutant(
        "old-heartbeats-count",
        "a heartbeat that was overtaken changes nothing",
        "lease: heartbeats",
        old_heartbeats_count,
        tests=("unit/test_heartbeats.py::test_an_older_heartbeat_of_the_same_incarnation_is_stale",),
        why="an old renewal only makes a lease longer, and its answer is counted from its own sending",
    ),
    Mutant(
        "another-store-is-welcome",
        "a site that comes with another store is put in quarantine",
        "quarantine",
        another_store_is_welcome,
        tests=("unit/test_heartbeats.py::test_another_store_is_quarantined",),
        why="no schedule replaces a site's disk",
    ),
    Mutant(
        "moves-of-manual-mode",
        "in manual mode only operators move a group, whatever was decided before",
        "modes",
        moves_of_manual_mode,
        tests=(
            (
                "unit/test_lease_rules.py::"
                "test_in_manual_mode_a_move_that_no_operator_asked_for_is_refused_though_it_was_decided_before"
            ),
        ),
        why="no checker knows of modes, and the move is as safe as any other one",
    ),
    Mutant(
        "longer-ttl-keeps-fresh",
        "who fell silent is judged by the lease that it renewed last",
        "decision: freshness",
        a_longer_ttl_keeps_the_silent_fresh,
        tests=(
            (
                "unit/test_sight.py::"
                "test_a_longer_ttl_of_the_next_epoch_does_not_hold_up_the_takeover_from_a_holder_that_fell_silent"
            ),
        ),
        why="the takeover comes late and within the bound in which a healed schedule must be settled",
    ),
    Mutant(
        "early-proof-forgotten",
        "a proof that was given before the lease ran out lifts the quarantine as well",
        "quarantine",
        an_early_proof_is_forgotten,
        tests=("unit/test_heartbeats.py::test_a_proof_that_was_given_before_the_end_lifts_the_quarantine_as_well",),
        why="the caretaker of a schedule lifts every quarantine once the faults are over",
    ),
)
