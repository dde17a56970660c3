"""Break-glass: each rule of a site and of the witnesses, taken away (docs/adr/0018)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant

from agents.core import group_permit, lease_holder, permit_desk
from agents.core.group import GroupAgent
from agents.core.group_permit import PermittedGroup
from agents.core.lock_delay import LockDelay
from agents.core.permit_desk import PermitDesk
from proto import permit as permits_of_proto
from proto.lease import LeaseConstants
from witness.core import calendar, decide, group_rules, heartbeats, permits, session_wait
from witness.core import machine as machine_room

AGENT = ("unit/test_permit_agent.py",)
MACHINE = ("unit/test_permit_machine.py",)
SESSION = ("unit/test_permit_session.py",)
MODES = ("unit/test_permit_modes.py",)
PROPERTY = ("unit/test_permit_property.py",)
WHY = "schedules do not break the glass; a world of the two cores and the unit tests do"


def passes(name: str):
    """A rule of the desk that is always content."""
    return lambda patch: patch.setattr(PermitDesk, name, lambda *_: "")


def silence_by_the_clock_that_says_more(patch: pytest.MonkeyPatch) -> None:
    def silent_ns(self, now):
        since = self._silent_since
        return max(now.boottime_ns - since.boottime_ns, now.monotonic_raw_ns - since.monotonic_raw_ns)

    patch.setattr(PermitDesk, "silent_ns", silent_ns)


def answers_do_not_end_the_silence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermitDesk, "heard", lambda self, now: None)


def used_in_memory_alone(patch: pytest.MonkeyPatch) -> None:
    """What was used is not on disk: the next life takes it again."""
    right = PermitDesk._store
    patch.setattr(PermitDesk, "_store", lambda self, record: right(self, replace(record, used=())))


def begins_before_the_use_is_on_disk(patch: pytest.MonkeyPatch) -> None:
    right = PermittedGroup.break_glass

    def break_glass(self, permit, now):
        words = right(self, permit, now)
        if not words:
            self.permit_stored(now)
            self.desk._storing += 1
        return words

    patch.setattr(PermittedGroup, "break_glass", break_glass)


def a_later_life_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "start", GroupAgent.start)


def authority_without_an_end(patch: pytest.MonkeyPatch) -> None:
    hour_ns = 3_600_000_000_000
    patch.setattr(group_permit, "Authority", lambda at, raw_ns: lease_holder.Authority(at + hour_ns, raw_ns + hour_ns))


def a_permit_is_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "_end_epoch", GroupAgent._end_epoch)


def overruled_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_permit.PermittedGroup, "answered", GroupAgent.answered)


def sites_wait_as_long_as_witnesses(patch: pytest.MonkeyPatch) -> None:
    """Without drift and skew."""
    patch.setattr(permit_desk, "unanswered_wait", lambda after_ms, constants: after_ms * 1_000_000)
    patch.setattr(permits_of_proto, "unanswered_wait", lambda after_ms, constants: after_ms * 1_000_000)


def a_clock_behind_is_trusted(patch: pytest.MonkeyPatch) -> None:
    right = permits_of_proto.calendar_problem
    patch.setattr(permit_desk, "calendar_problem", lambda permit, wall_ms, _seen: right(permit, wall_ms, 0))


def nobody_is_away(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "is_silent", lambda group, site, counted_ms: False)


def a_heartbeat_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Heard when it is applied, whatever its sender knows."""
    right = permits.heard
    patch.setattr(permits, "heard", lambda state, agent, seq, answered: _now(state, agent, right, seq))


def _now(state, agent, right, seq):
    right(state, agent, seq, seq)
    agent.heard_ms = state.calendar.counted_ms


def granted_beside_a_permit(patch: pytest.MonkeyPatch) -> None:
    """Only what is heard now counts: a site that fell silent under its permit is passed over."""
    right = permits.under_permit

    def under_permit(group):
        return [site for site in right(group) if not permits.is_silent(group, site, group.permits.seen_ms)]

    patch.setattr(permits, "under_permit", under_permit)
    patch.setattr(permits, "is_away", lambda group, site, counted_ms: False)


def claimed_from_before_the_outage(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "withholds", lambda state, group, lease, site: False)


def first_answers_pass_for_renewals(patch: pytest.MonkeyPatch) -> None:
    """A claim whose answer was lost is renewed by a site that is dormant."""
    right = permits.withholds

    def withholds(state, group, lease, site):
        return lease.claim is None and right(state, group, lease, site)

    patch.setattr(permits, "withholds", withholds)


def two_that_are_active_are_adopted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "contested_by", lambda group, site, counted_ms: [])


def used_twice_is_adopted(patch: pytest.MonkeyPatch) -> None:
    right = permits.reported

    def reported(scope, group, record, site, before):
        group.permits.used.clear()
        right(scope, group, record, site, before)

    patch.setattr(permits, "reported", reported)


def a_next_life_is_a_second_use(patch: pytest.MonkeyPatch) -> None:
    right = permits._second_use

    def second_use(note, site, record, *, anew):
        other = (note.site, note.incarnation) != (site, record.incarnation)
        return right(note, site, record, anew=anew) or (anew and other and not note.clash_told)

    patch.setattr(permits, "_second_use", second_use)


def a_second_use_without_a_pause_is_none(patch: pytest.MonkeyPatch) -> None:
    right = permits._second_use
    patch.setattr(
        permits, "_second_use", lambda note, site, record, *, anew: anew and right(note, site, record, anew=anew)
    )


def vouched_for_ever(patch: pytest.MonkeyPatch) -> None:
    right = permits.spoke

    def spoke(state, group, record, site):
        kept = record.vouched_ms
        right(state, group, record, site)
        record.vouched_ms = kept

    patch.setattr(permits, "spoke", spoke)


def epochs_of_unknown_permits_come_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "CLEARED_LEAP", 0)


def disabled_at_once(patch: pytest.MonkeyPatch) -> None:
    """A configuration without permits counts before every site knows it."""
    right = permits.configured

    def configured(state, group):
        right(state, group)
        group.permits.after_ms = group.config.permits.after_ms if group.config.permits.enabled else 0

    patch.setattr(permits, "configured", configured)


def a_clock_that_went_back_is_no_doubt(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(calendar, "DOUBT_MS", 0)


def neighbouring_entries_alone(patch: pytest.MonkeyPatch) -> None:
    """The calendar forgets each proposer's own clock."""
    right = calendar.pass_time

    def pass_time(counted, proposer, wall_ms):
        counted.marks = {"any": next(iter(counted.marks.values()))} if counted.marks else {}
        right(counted, proposer, wall_ms)

    patch.setattr(machine_room.calendar, "pass_time", pass_time)
    patch.setattr(calendar, "pass_time", pass_time)


def observe_adopts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "moves_nothing", lambda mode, command: command.cause is permits.Cause.ADOPTED)


def a_leader_never_adopts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_adoption", lambda group, sight, now: None)


def handovers_that_no_grant_can_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "against_revoke", lambda state, group, holder: None)


def beside_the_session_of_whoever_was_stopped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LockDelay, "begin", lambda delay, constants, now: 0)


def unclean_ends_are_told_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "_session_kept", lambda group, now: False)


def what_a_former_life_left_is_nobodys(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "told_permit", PermittedGroup.under_permit)


def waits_are_left_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LockDelay, "forget", lambda delay: None)


def the_lock_delay_of_the_present(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "_left_constants", PermittedGroup.permit_constants)


def an_unknown_lock_delay_is_none(patch: pytest.MonkeyPatch) -> None:
    right = PermittedGroup._left_constants
    none = LeaseConstants(1_000, 10_000, 0)
    patch.setattr(PermittedGroup, "_left_constants", lambda group: right(group) or none)


def begins_beside_an_answer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "_silence_over", lambda self, why, now: self.desk.heard(now))


def goes_on_beside_a_second_agent(patch: pytest.MonkeyPatch) -> None:
    right = PermittedGroup.fence
    words = "another agent speaks"
    patch.setattr(PermittedGroup, "fence", lambda self, text: None if words in text else right(self, text))


def the_lock_delay_that_was_told_last(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PermittedGroup, "_cold_wait", PermittedGroup.permit_constants)


def ended_by_anybody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(permits, "as_it_counts", lambda group, site, incarnation, before, report: report)


def another_store_is_heard(patch: pytest.MonkeyPatch) -> None:
    def spoke(state, group, record, site):
        record.heard_ms, record.vouched_ms = state.agents[site].heard_ms, 0
        group.permits.seen_ms = state.calendar.counted_ms

    patch.setattr(permits, "spoke", spoke)


def terms_end_beside_a_permit(patch: pytest.MonkeyPatch) -> None:
    def settle(group):
        reports = (record.report for record in group.sites.values())
        if all(one is not None and one.group_version == group.version for one in reports):
            group.permits.after_ms = group.config.permits.after_ms if group.config.permits.enabled else 0

    patch.setattr(permits, "settle", settle)


def granted_at_the_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session_wait, "begin", lambda *_: None)


def claimed_in_the_wait(patch: pytest.MonkeyPatch) -> None:
    right = permits.withholds

    def withholds(state, group, lease, site):
        held = replace(group, permits=replace(group.permits, session=None))
        return right(state, held, lease, site)

    patch.setattr(permits, "withholds", withholds)


def the_delay_of_now(patch: pytest.MonkeyPatch) -> None:
    def noted(state, group, before):
        group.permits.lock_delay_ms = group.config.constants.lock_delay_ms

    patch.setattr(session_wait, "noted", noted)


def in_place_with_the_delay_of_now(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session_wait, "in_place", lambda group: group.config.constants)


def deleted_beside_a_permit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group_rules.permits, "away_sites", lambda *_: [])


def one_witness_counts_it_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(session_wait, "majority", lambda _: 1)


def told_by_the_version_alone(patch: pytest.MonkeyPatch) -> None:
    right = heartbeats.holds_rules.is_told
    patch.setattr(heartbeats.holds_rules, "is_told", lambda group, record, _: right(group, record, 0))


def _mutant(name: str, rule: str, patch, *tests: str) -> Mutant:
    return Mutant(name, rule, "permits", patch, tests=tests, why=WHY)


DECISIONS = ("unit/test_permit_decisions.py",)
LOCKED = ("unit/test_permit_lock_delay.py",)
NEXT_LIFE = ("unit/test_permit_next_life.py",)
WAITS = ("unit/test_review_waits.py",)
CALENDAR = ("unit/test_permit_calendar.py",)
ANSWERED = ("unit/test_permit_answered.py",)
STORES = ("unit/test_permit_stores.py",)
MUTANTS = (
    _mutant(
        "permits-told-once",
        "who says nothing of answers is told of permits",
        told_by_the_version_alone,
        "unit/test_permit_told.py::test_it_is_told_again_until_it_says_what_it_was_answered",
    ),
    _mutant("permit-beside-an-answer", "it begins in silence, or never", begins_beside_an_answer, *ANSWERED),
    _mutant("permit-superseded", "a second agent ends it", goes_on_beside_a_second_agent, *ANSWERED),
    _mutant("permit-delay-told-last", "the longest delay passes first", the_lock_delay_that_was_told_last, *ANSWERED),
    _mutant("permit-ended-by-anybody", "who took it ends it", ended_by_anybody, *STORES),
    _mutant("another-store-is-heard", "who is another one vouches for nobody", another_store_is_heard, *STORES),
    _mutant("terms-end-beside-a-permit", "terms last as long as their permit", terms_end_beside_a_permit, *STORES),
    _mutant("permit-of-another-site", "a permit is for one cluster, group and site, once", passes("_binding"), *AGENT),
    _mutant("permit-after-its-time", "a permit ends by the calendar", passes("_calendar"), *AGENT),
    _mutant("permit-while-witnesses-answer", "no permit while witnesses answer", passes("_silence"), *AGENT, *PROPERTY),
    _mutant("permit-below-the-bound", "its epoch is above all that was acted upon", passes("_epoch"), *AGENT),
    _mutant("permit-of-a-site-that-is-up", "only a site that is verified down takes it", passes("_fitness"), *AGENT),
    _mutant("permit-silence-by-one-clock", "both clocks count it", silence_by_the_clock_that_says_more, *AGENT),
    _mutant("permit-answers-unheard", "an answer ends the silence", answers_do_not_end_the_silence, *AGENT, *PROPERTY),
    _mutant("permit-used-again", "what was used stays used over a restart", used_in_memory_alone, *AGENT),
    _mutant("permit-begins-early", "the use is on disk before its effect", begins_before_the_use_is_on_disk, *AGENT),
    _mutant("permit-outlives-its-process", "a cold start ends it", a_later_life_goes_on, *AGENT),
    _mutant("permit-without-a-deadline", "a ttl at a time", authority_without_an_end, *AGENT),
    _mutant("permit-at-once", "the lock delay passes first", beside_the_session_of_whoever_was_stopped, *LOCKED),
    _mutant("permit-ends-at-once", "so it does behind an unclean end", unclean_ends_are_told_at_once, *LOCKED),
    _mutant(
        "permit-unsaid-by-a-next-life",
        "what it left counts until it is down",
        what_a_former_life_left_is_nobodys,
        *WAITS,
    ),
    _mutant("permit-delay-lowered-since", "the delay of what ran passes", the_lock_delay_of_the_present, *NEXT_LIFE),
    _mutant("permit-delay-unknown", "an unknown delay has not passed", an_unknown_lock_delay_is_none, *NEXT_LIFE),
    _mutant("permit-waits-for-ever", "a wait that is over wakes nobody", waits_are_left_behind, *WAITS),
    _mutant("permit-released", "what no witness granted is not released", a_permit_is_released, *AGENT),
    _mutant("permit-overruled-goes-on", "a higher epoch elsewhere ends it", overruled_goes_on, *AGENT),
    _mutant("permit-site-waits-too-short", "sites wait longer than witnesses", sites_wait_as_long_as_witnesses, *AGENT),
    _mutant("permit-clock-behind", "a wall clock that went back is not trusted", a_clock_behind_is_trusted, *AGENT),
    _mutant("nobody-away", "nothing is granted while a permit may be in use", nobody_is_away, *MACHINE, *PROPERTY),
    _mutant("heard-without-answer", "heard is who has the answer", a_heartbeat_is_enough, *MACHINE),
    _mutant("silent-permit-passed-over", "a word of a permit counts on", granted_beside_a_permit, *MACHINE, *PROPERTY),
    _mutant("claims-not-withheld", "nothing is claimed meanwhile", claimed_from_before_the_outage, *MACHINE),
    _mutant("first-answer-as-renewal", "who is dormant does not renew", first_answers_pass_for_renewals, *MACHINE),
    _mutant("clash-adopted", "two that are active are no adoption", two_that_are_active_are_adopted, *MACHINE),
    _mutant("second-use-adopted", "a permit is one incarnation's", used_twice_is_adopted, *MACHINE),
    _mutant("next-life-a-second-use", "a next life may name what is over", a_next_life_is_a_second_use, *NEXT_LIFE),
    _mutant("second-use-unsaid", "a second use is told", a_second_use_without_a_pause_is_none, *NEXT_LIFE),
    _mutant("vouched-for-ever", "who speaks is vouched for no more", vouched_for_ever, *MACHINE),
    _mutant("cleared-epochs-again", "grants leap past permits", epochs_of_unknown_permits_come_again, *MACHINE),
    _mutant("granted-beside-a-session", "the lock delay passes behind a word", granted_at_the_word, *SESSION),
    _mutant("claimed-beside-a-session", "nothing is claimed in the wait", claimed_in_the_wait, *SESSION),
    _mutant("session-delay-lowered", "the longest delay of then passes", the_delay_of_now, *SESSION),
    _mutant("session-in-place-shorter", "what goes on keeps its delay", in_place_with_the_delay_of_now, *SESSION),
    _mutant("deleted-beside-a-permit", "no group goes beside a permit", deleted_beside_a_permit, *SESSION),
    _mutant("session-counted-by-one", "a majority counts it", one_witness_counts_it_out, *SESSION),
    _mutant("terms-end-at-once", "old terms count until all know the new ones", disabled_at_once, *MACHINE),
    _mutant("calendar-trusts-a-step-back", "doubt counts as long", a_clock_that_went_back_is_no_doubt, *CALENDAR),
    _mutant("calendar-of-neighbours", "each clock bounds its own time", neighbouring_entries_alone, *CALENDAR),
    _mutant("observe-adopts", "observe grants nothing", observe_adopts, *MODES),
    _mutant("never-adopted", "a site under a permit is adopted in place", a_leader_never_adopts, *DECISIONS, *PROPERTY),
    _mutant("handover-into-nothing", "no handover that nobody could end", handovers_that_no_grant_can_end, *MACHINE),
)
