"""All witnesses restored from a backup (witness/core/restore.py): generation, bar, lineage, what is forgotten."""

from __future__ import annotations

import pytest
from mutant import Mutant, rewritten, sim_broken

from witness.core import group_rules, lease_rules, restore
from witness.core.timers import LeaseTimers


def any_lineage_is_right(patch: pytest.MonkeyPatch) -> None:
    """Its check is that of no lineage."""
    patch.setattr(restore, "_check", lambda lineage: "0" * 8)


def versions_go_on(patch: pytest.MonkeyPatch) -> None:
    """A holder that reports a version of the former life vouches for the sites of this one."""
    right = restore._restore_group

    def restore_group(group, generation, bar, ledger, name):
        version = group.version
        right(group, generation, bar, ledger, name)
        group.version = version

    patch.setattr(restore, "_restore_group", restore_group)


def reports_go_on(patch: pytest.MonkeyPatch) -> None:
    """What a site said in the former life counts in this one."""
    patch.setattr(restore, "_restore_site", lambda record: record)


def one_witness_ends_the_bar(patch: pytest.MonkeyPatch) -> None:
    right = lease_rules._cast_bar_over

    def cast(scope, command, vote):
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(lease_rules, "majority", lambda members: 1)
            return right(scope, command, vote)

    patch.setattr(lease_rules, "_cast_bar_over", cast)


def the_bar_is_not_counted_for_new_groups(patch: pytest.MonkeyPatch) -> None:
    """A group that is made while the bar stands is barred by its own constants alone."""
    right = LeaseTimers.follow_bar
    patch.setattr(LeaseTimers, "follow_bar", lambda self, bar, generation: right(self, None, generation))


LIVES = "unit/test_holds_lives.py"
MADE_ANEW = "no schedule makes a group again"

MUTANTS = (
    sim_broken("generation-of-the-backup", "a restore gives out epochs above all of the former life", "restore"),
    sim_broken("generation-after-the-backup", "two restores of one backup share no epoch", "restore"),
    sim_broken("not-barred", "after a restore every group is barred", "restore"),
    sim_broken("bar-of-the-backup", "the bar is as long as the longest lease that was in force since", "restore"),
    sim_broken("lease-of-the-backup", "no lease of the backup goes on", "restore"),
    Mutant(
        "any-lineage-is-right",
        "a lineage that was copied wrong is refused",
        "restore",
        any_lineage_is_right,
        tests=(
            "unit/test_restore.py::test_a_digit_of_the_lineage_that_was_copied_wrong_is_noticed_at_once_and_both_checks_are_named",
        ),
        why="simulated operators carry the lineage from machine to machine as bytes and make no slips",
    ),
    Mutant(
        "versions-go-on",
        "a version of the former life carries no site",
        "restore",
        versions_go_on,
        tests=("unit/test_restore.py::test_a_version_of_the_former_life_carries_nothing",),
        why="no schedule adds a site to a group",
    ),
    Mutant(
        "reports-go-on",
        "what sites said in the former life is forgotten",
        "restore",
        reports_go_on,
        tests=("unit/test_restore.py::test_what_the_sites_said_is_forgotten_and_what_operators_said_stays",),
        why="sites are asked again before a grant, and by then each has said how it is now",
    ),
    Mutant(
        "one-witness-ends-the-bar",
        "a majority ends a restore's wait",
        "restore",
        one_witness_ends_the_bar,
        tests=("unit/test_restore_bar.py::test_votes_on_the_bar_name_this_restore_and_one_witness_counts_once",),
        why="the bar for groups that are made anew; those of the backup have bars of their own, which schedules test",
    ),
    Mutant(
        "bar-is-not-counted",
        "each witness votes for the end of a restore's wait when it has counted it in full",
        "restore",
        the_bar_is_not_counted_for_new_groups,
        tests=("unit/test_restore_bar.py::test_each_witness_counts_the_bar_from_its_own_start_and_in_full",),
        why="as before: it holds up groups that are made anew, and schedules make none after a restore",
    ),
    Mutant(
        "version-used-again",
        "a group that is made again has no version of a former life, whose sites an agent may know",
        "ADR 16: who asks",
        rewritten(group_rules._first_version, "max(spent + 1, state.generation)", "1"),
        tests=(f"{LIVES}::test_a_holder_does_not_go_on_by_the_sites_of_a_group_that_was_deleted_and_made_again",),
        why=MADE_ANEW,
    ),
    Mutant(
        "versions-not-spent",
        "a deleted group's versions are spent like its epochs",
        "ADR 16: who asks",
        rewritten(group_rules.delete, "later = (group.version, group.permits.floor)", "later = (group.permits.floor,)"),
        tests=(f"{LIVES}::test_a_group_that_is_made_again_has_versions_that_no_former_life_had",),
        why=MADE_ANEW,
    ),
    Mutant(
        "hold-wait-of-the-backup",
        "after a restore a cold start waits for the longest lease, whatever the backup says of holds",
        "ADR 16: cold starts",
        rewritten(restore.restore, "bar if holds_rules.known(state)", "bar if state.groups[name].hold_wait"),
        tests=(f"{LIVES}::test_cold_starts_wait_after_a_restore_whatever_the_backup_says_of_holds",),
        why="no schedule allows holds after the backup that it restores",
    ),
    Mutant(
        "hold-wait-not-of-a-new-life",
        "a cold start waits in a group that may have had a former life",
        "ADR 16: cold starts",
        rewritten(group_rules._create, "if anew and group.lease", "if not anew and group.lease"),
        tests=(f"{LIVES}::test_cold_starts_wait_in_a_group_that_had_a_former_life_somewhere",),
        why=MADE_ANEW,
    ),
)
