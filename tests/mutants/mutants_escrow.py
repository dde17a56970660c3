"""Licenses and their escrow at the witnesses: who may put, who is current, what is told, what an auditor is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant, SimFocus, rewritten, sim_broken

from agents.core.licenses import GroupLicenses
from proto.license import LicenseSpec
from proto.units import LicenseName
from witness.activity import evidence, intervals
from witness.core import escrow_rules, group_rules, licenses
from witness.core import restore as restoring

PUTS, RULES = "unit/test_escrow_rules.py", "unit/test_license_rules.py"
TOLD, STORY = "unit/test_license_told.py", "unit/test_activity.py"
WHY = "one order of commands decides it, which a test writes down and a schedule seldom has"


def no_writer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(escrow_rules, "_not_the_writer", lambda group, command: None)


def any_epoch_of_the_holder(patch: pytest.MonkeyPatch) -> None:
    right = escrow_rules._not_the_writer

    def not_the_writer(group, command):
        lease = group.lease
        version = command.sealed.version if lease is None else command.sealed.version._replace(epoch=lease.epoch)
        return right(group, replace(command, sealed=replace(command.sealed, version=version)))

    patch.setattr(escrow_rules, "_not_the_writer", not_the_writer)


def any_claim(patch: pytest.MonkeyPatch) -> None:
    right = escrow_rules._not_the_writer

    def not_the_writer(group, command):
        claim = None if group.lease is None else group.lease.claim
        return right(group, command if claim is None else replace(command, claim=claim))

    patch.setattr(escrow_rules, "_not_the_writer", not_the_writer)


def numbers_count_from_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "number_min", lambda group, name: 1)


same_version_is_done = rewritten(
    escrow_rules._put,
    "(kept.sealed, kept.site) == (sealed, command.site)",
    "(kept.sealed.version, kept.site) == (sealed.version, command.site)",
)
same_bytes_of_anybody = rewritten(
    escrow_rules._put, "(kept.sealed, kept.site) == (sealed, command.site)", "kept.sealed == sealed"
)


def no_repetition(patch: pytest.MonkeyPatch) -> None:
    rewritten(escrow_rules._put, "(kept.sealed, kept.site) == (sealed, command.site)", "False")(patch)


def any_number_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "believed", lambda scope, group, site, report: report)


def only_epochs_that_are_known_count(patch: pytest.MonkeyPatch) -> None:
    right = licenses._believed

    def believed(scope, group, site, said):
        reports = [record.report for record in group.sites.values() if record.report is not None]
        known = max([group.epoch, *(report.epoch_bound for report in reports)])
        absurd = said.held is not None and said.held.epoch > known
        return replace(said, held=None) if absurd else right(scope, group, site, said)

    patch.setattr(licenses, "_believed", believed)


def any_box(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(escrow_rules, "check_sealed", lambda sealed, field: sealed)


def nobody_is_handed_a_value(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "behind", lambda group, record: [])


def the_first_ones_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "some_of", lambda values, turn: tuple(values[: licenses.VALUES_MAX]))


def nobody_is_told_of_a_put(patch: pytest.MonkeyPatch) -> None:
    rewritten(escrow_rules._put, "scope.tell_sites(group, NoticeKind.CHANGED)", "pass")(patch)


def everybody_is_current(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "not_current", lambda group, site: [])


def only_what_is_stored_counts(patch: pytest.MonkeyPatch) -> None:
    right = licenses.stored
    patch.setattr(licenses, "newest", lambda group, name: right(group, name) or licenses.NO_VERSION)


def an_unknown_license_is_current(patch: pytest.MonkeyPatch) -> None:
    right = licenses._behind

    def behind(group, site, name):
        return "" if licenses.said_of(group.sites[site], name) is None else right(group, site, name)

    patch.setattr(licenses, "_behind", behind)


def a_backup_is_the_newest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(restoring.licenses, "restored", lambda group: None)


def a_waiver_lasts(patch: pytest.MonkeyPatch) -> None:
    def claimed(group):
        group.escrow.unsure = False

    patch.setattr(licenses, "claimed", claimed)


a_put_leaves_the_waiver = rewritten(escrow_rules._put, "group.escrow.waived.pop(command.license, None)", "pass")
a_waiver_of_any_version = rewritten(escrow_rules.waive, "command.version != top", "False")
a_waiver_without_need = rewritten(escrow_rules.waive, "if not kept_back:", "if False:")
a_waiver_without_a_reason = rewritten(escrow_rules.waive, "not command.author.reason.strip()", "False")


def a_waiver_for_whatever_comes(patch: pytest.MonkeyPatch) -> None:
    rewritten(licenses.not_current, "waived is None or waived < newest(group, spec.name)", "waived is None")(patch)


def decided_is_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "against_grant", lambda group, command: None)


def what_is_removed_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    right = licenses.configured

    def configured(group):
        right(group)
        group.escrow.floor = 0

    patch.setattr(group_rules.licenses, "configured", configured)


def what_is_removed_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_rules.licenses, "configured", lambda group: None)


def what_is_deleted_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_rules.licenses, "deleted", lambda state, group: None)


def nobody_watches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "watch", lambda scope, group, site: None)


a_grant_is_a_right = rewritten(licenses.may_be_active, " and lease.claim is not None", "")
any_incarnation_is_the_holder = rewritten(
    licenses.may_be_active, "return lease.incarnation == record.incarnation", "return True"
)
any_holds_are_a_right = rewritten(
    licenses.may_be_active, "return (former.site, former.incarnation) == (site, record.incarnation)", "return True"
)
told_again_and_again = rewritten(licenses.watch, "wrong.keys() - record.both_active)", "wrong.keys())")


def problems_are_kept_quiet(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "reported", lambda scope, group, site, before: None)


def a_second_activation_is_granted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "activated_at", lambda record: [])


def overlaps_are_overlooked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intervals, "_overlap", lambda found, event, last: None)


def no_chain(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "broken_chain", lambda events: ())


def an_expiry_ends_holds(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(intervals._RULES, intervals.EventKind.HOLDS_BEGAN, intervals._nothing)


def escrow_for_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(licenses, "behind", lambda group, record: [])
    patch.setattr(licenses, "not_current", lambda group, site: [])


def acknowledged_and_not_kept(patch: pytest.MonkeyPatch) -> None:
    right = escrow_rules._put

    def put(scope, group, command):
        before = dict(group.escrow.kept)
        outcome = right(scope, group, command)
        group.escrow.kept.clear()
        group.escrow.kept.update(before)
        return outcome

    patch.setattr(escrow_rules, "_put", put)


LICENSED = (("licenses", (LicenseSpec(LicenseName("fingerprint")),)),)
"""In the simulation the vendor gives another key at every start, and now and then."""


def _shown(name: str, rule: str, where: str, patch, budget: int) -> Mutant:
    focus = SimFocus(("site-power",), frozenset({"escrow"}), budget, group=LICENSED)
    return Mutant(name, rule, f"escrow {where}", patch, focus)


def _mutant(name: str, rule: str, where: str, patch, *tests: str) -> Mutant:
    return Mutant(name, rule, f"escrow {where}", patch, tests=tests, why=WHY)


CORE = "unit/test_site_license_core.py"
MUTANTS = (
    sim_broken("probe-ends-what-is-active", "a probe watches, the lease decides", "DESIGN 8"),
    Mutant(
        "put-without-a-way-is-due",
        "what cannot leave wakes nobody",
        "DESIGN 8",
        rewritten(GroupLicenses.next_deadline, " and self.may_put", ""),
        tests=(f"{CORE}::test_a_put_without_any_stream_waits_without_spinning_and_leaves_with_the_next_one",),
        why="schedules find it as a busy loop, which costs each of them a minute",
    ),
    _mutant("escrow-without-a-writer", "only the holder puts", "E1", no_writer, PUTS),
    _mutant("escrow-of-another-epoch", "a put is of the lease's epoch", "E1", any_epoch_of_the_holder, PUTS),
    _mutant("escrow-of-any-claim", "of two instances the claim's puts", "E1", any_claim, PUTS),
    _mutant("escrow-goes-back", "numbers only go up", "E2", numbers_count_from_one, PUTS),
    _mutant("license-any-number", "no site says numbers up", "E2", any_number_is_believed, TOLD),
    _mutant("escrow-not-repeated", "the same bytes again are done", "E3", no_repetition, PUTS),
    _mutant("escrow-other-bytes-are-done", "only the same bytes are", "E3", same_version_is_done, PUTS),
    _mutant("escrow-repeated-by-anybody", "only by the site that sealed them", "E3", same_bytes_of_anybody, PUTS),
    _mutant("escrow-any-box", "a sealed key has its form", "E4", any_box, PUTS),
    _mutant("escrow-not-handed-out", "who holds less is handed the newest", "E5", nobody_is_handed_a_value, PUTS),
    _mutant("escrow-first-ones-alone", "each value has its turn", "E5", the_first_ones_alone, PUTS),
    _mutant("escrow-told-nobody", "every site is told of a put at once", "E5", nobody_is_told_of_a_put, PUTS),
    _shown("escrow-for-nothing", "who has not the newest gets it or waits", "E5", escrow_for_nothing, 6),
    _shown("escrow-acknowledged-not-kept", "what is acknowledged is kept", "E1", acknowledged_and_not_kept, 6),
    _mutant("license-all-current", "no site without the newest key", "E6", everybody_is_current, RULES),
    _mutant("license-stored-alone", "what sites hold counts as newest", "E6", only_what_is_stored_counts, RULES),
    _mutant("license-known-epochs-alone", "so does any epoch", "E6", only_epochs_that_are_known_count, TOLD),
    _mutant("license-unknown-is-current", "its agent must know it", "E6", an_unknown_license_is_current, RULES),
    _mutant("license-backup-is-newest", "after a restore all are heard first", "E7", a_backup_is_the_newest, RULES),
    _mutant("waiver-lasts", "a waiver is for one activation", "E8", a_waiver_lasts, RULES),
    _mutant("waiver-survives-a-put", "a put ends it", "E8", a_put_leaves_the_waiver, RULES),
    _mutant("waiver-of-any-version", "it names the newest version", "E8", a_waiver_of_any_version, RULES),
    _mutant("waiver-without-need", "only when a site is kept back", "E8", a_waiver_without_need, RULES),
    _mutant("waiver-without-a-reason", "it has a reason", "E8", a_waiver_without_a_reason, RULES),
    _mutant("waiver-of-what-comes", "not of newer versions", "E8", a_waiver_for_whatever_comes, RULES),
    _mutant("license-decided-is-granted", "the grant itself is judged", "E9", decided_is_granted, RULES),
    _mutant("escrow-removed-is-forgotten", "numbers stay spent", "E10", what_is_removed_is_forgotten, PUTS),
    _mutant("escrow-removed-is-kept", "values of what is not kept go", "E10", what_is_removed_is_kept, PUTS),
    _mutant("escrow-deleted-is-forgotten", "also those of a group", "E10", what_is_deleted_is_forgotten, PUTS),
    _mutant("both-active-unwatched", "a second activation is an alarm", "E11", nobody_watches, RULES),
    _mutant("both-active-by-grant", "a grant is no right to be active", "E11", a_grant_is_a_right, RULES),
    _mutant("both-active-any-life", "nor is another life's lease", "E11", any_incarnation_is_the_holder, RULES),
    _mutant("both-active-any-holds", "nor are holds of another", "E11", any_holds_are_a_right, RULES),
    _mutant("both-active-again", "it is told once", "E11", told_again_and_again, RULES),
    _mutant("license-problems-untold", "problems and their end are told", "E12", problems_are_kept_quiet, TOLD),
    _mutant("license-granted-twice", "an active one elsewhere blocks", "E13", a_second_activation_is_granted, RULES),
    _mutant("activity-overlap-unseen", "two intervals do not overlap", "A1", overlaps_are_overlooked, STORY),
    _mutant("activity-without-chain", "the ledger is as it was written", "A2", no_chain, STORY),
    _mutant("activity-holds-unseen", "holds go on after the lease", "A3", an_expiry_ends_holds, STORY),
)
