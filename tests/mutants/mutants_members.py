"""Members on further hosts: what they may hold, and what their lead waits for before it says verified down."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant

from agents.core import member_group, members
from agents.core.lease_holder import Authority
from agents.core.member import SiteMember
from agents.core.members import MemberBook
from agents.member.steps import MemberSteps
from agents.members.desk import MemberDesk
from proto.lease import member_deadline
from proto.units import InstantNs

WHERE = "docs/adr/0015-members-on-further-hosts.md"
WHY = "a schedule rarely meets it; two cores, two clocks and the network between them are in the property test"
PROPERTY = ("unit/test_members_property.py",)
CLOCKS = ("unit/test_members_lead_clocks.py",)
CORE = ("unit/test_members_core.py",)
IN_ORDER = ("unit/test_members_in_order.py",)


def counted_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    right = SiteMember.answered

    def answered(self, message, now):
        if message.nonce in self._asks:
            self._asks[message.nonce] = now
        right(self, message, now)

    patch.setattr(SiteMember, "answered", answered)


def not_shortened_for_drift(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        member_group, "member_deadline", lambda asked, left_ns, _ppm: InstantNs(member_deadline(asked, left_ns, 0))
    )


def released_without_waiting_for_members(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberBook, "may_hold", lambda _self, _now: {})


def a_member_that_says_down_is_out_whatever_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """Its last word was of before it was handed authority: the answer may still be on its way."""
    patch.setattr(members.Seat, "verified_down", lambda self, _epoch: self.said.phase.value == "down")


def a_new_lead_forgets_what_the_former_one_handed_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members, "left_by_a_former_lead", lambda _handed, _started: {})


def handed_out_by_one_clock_of_the_lead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "left_ns", lambda self, now: self.deadline - now.boottime_ns)


def run_out_by_one_clock_of_the_lead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "over_in_ns", lambda self, now: self.deadline - now.boottime_ns)


def handed_out_in_the_end(patch: pytest.MonkeyPatch) -> None:
    """Authority goes out while the lead waits for its members' end."""
    right = MemberBook.end

    def end(self, order, grace_ms=0):
        handing = self._handing
        right(self, order, grace_ms)
        if handing is not None:
            self._handing = replace(handing)

    patch.setattr(MemberBook, "end", end)


def handed_out_before_it_is_on_disk(patch: pytest.MonkeyPatch) -> None:
    right = MemberBook.asked

    def asked(self, name, instance, ask, now, *, durable=True, known=None):
        del durable
        return right(self, name, instance, ask, now, known=known)

    patch.setattr(MemberBook, "asked", asked)


def anybodys_word_counts(patch: pytest.MonkeyPatch) -> None:
    right = members.Seat.hear
    patch.setattr(members.Seat, "hear", lambda self, _instance, said: right(self, self.instance, said))


def handed_to_two_processes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members.Seat, "held_by_another", lambda _self, _instance: False)


def a_copy_keeps_its_instance(patch: pytest.MonkeyPatch) -> None:
    right = SiteMember._distrust

    def distrust(self, text, now):
        kept = self.instance
        right(self, text, now)
        self.instance = kept

    patch.setattr(SiteMember, "_distrust", distrust)


def a_fence_on_a_member_is_orderly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members.Seat, "orderly", members.Seat.verified_down)


def a_stop_is_in_order_however_it_ended(patch: pytest.MonkeyPatch) -> None:
    right = member_group.MemberGroup.plan_finished

    def plan_finished(self, plan, ok, text, now, *, orderly=True):
        right(self, plan, ok, text, now, orderly=True)

    patch.setattr(member_group.MemberGroup, "plan_finished", plan_finished)


def an_over_epoch_begins_again(patch: pytest.MonkeyPatch) -> None:
    right = member_group.MemberGroup._hold

    def hold(self, order, asked, now):
        if self.held is None:
            self.bound, self.finished = min(self.bound, order.epoch - 1), min(self.finished, order.epoch - 1)
        right(self, order, asked, now)

    patch.setattr(member_group.MemberGroup, "_hold", hold)


def undone_beside_an_end(patch: pytest.MonkeyPatch) -> None:
    async def at_once(_self, _limit_ms):
        return True

    patch.setattr(MemberSteps, "_until_down", at_once)


def a_twin_is_taken_for_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemberDesk, "_is_twin", lambda _self, _hello: False)


def twins_go_on_as_they_are(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(members.Seat, "disown", lambda _self, _instance: None)


MUTANTS = (
    Mutant(
        "member-twin-is-a-reconnect", "two machines that speak as one process of a member are told apart", WHERE,
        a_twin_is_taken_for_a_reconnect, tests=("unit/test_members_desk.py",),
        why="no simulated machine is copied with the memory of its processes",
    ),
    Mutant(
        "member-twins-word-counts", "of a process with a twin nobody's word ends what was handed out", WHERE,
        twins_go_on_as_they_are, tests=("unit/test_members_desk.py",),
        why="no simulated machine is copied with the memory of its processes",
    ),
    Mutant(
        "undo-beside-an-end", "an undo without a lease runs when everything is down there", WHERE,
        undone_beside_an_end, tests=("unit/test_members_steps.py",),
        why="most schedules end a member's part before the undo comes",
    ),
    Mutant(
        "member-counts-from-answer", "a member counts from before it asked", WHERE, counted_from_the_answer,
        tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "member-not-shortened", "what the lead has left is shortened for both clocks", WHERE, not_shortened_for_drift,
        tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "lead-does-not-wait-for-members", "verified down needs every member verified down or out of authority", WHERE,
        released_without_waiting_for_members, tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "any-down-counts", "a member's word counts for the epoch that it finished, for good", WHERE,
        a_member_that_says_down_is_out_whatever_the_epoch, tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "new-lead-forgets-members", "a new lead counts a full ttl against whoever was handed authority", WHERE,
        a_new_lead_forgets_what_the_former_one_handed_out, tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "handed-out-by-one-clock", "a member is handed what is left on the lead's clock that says less", WHERE,
        handed_out_by_one_clock_of_the_lead, tests=(*PROPERTY, *CLOCKS), why=WHY,
    ),
    Mutant(
        "run-out-by-one-clock", "a member has run out when both clocks of its lead say so", WHERE,
        run_out_by_one_clock_of_the_lead, tests=(*PROPERTY, *CLOCKS), why=WHY,
    ),
    Mutant(
        "handed-out-in-the-end", "nothing is handed out from the moment at which the end begins", WHERE,
        handed_out_in_the_end, tests=(*PROPERTY, *CORE), why=WHY,
    ),
    Mutant(
        "handed-out-before-disk",
        "it is on disk to whom authority is handed out before it is",
        WHERE,
        handed_out_before_it_is_on_disk,
        tests=(*CORE, "unit/test_members_desk.py"),
        why=WHY,
    ),
    Mutant(
        "any-member-process-counts",
        "only the process that was handed authority ends it by its word",
        WHERE,
        anybodys_word_counts,
        tests=CORE,
        why=WHY,
    ),
    Mutant(
        "handed-to-two-processes", "one process of a member is handed authority, until it is out", WHERE,
        handed_to_two_processes, tests=CORE, why=WHY,
    ),
    Mutant(
        "copied-member-keeps-its-instance", "a copy of a member's machine is another process", WHERE,
        a_copy_keeps_its_instance, tests=CORE, why=WHY,
    ),
    Mutant(
        "fenced-member-is-orderly", "after a fence on a member the lock delay passes", WHERE,
        a_fence_on_a_member_is_orderly, tests=IN_ORDER, why=WHY,
    ),
    Mutant(
        "members-guard-dies-in-order", "a member whose guard died in the middle of a stop did not end in order", WHERE,
        a_stop_is_in_order_however_it_ended, tests=IN_ORDER, why=WHY,
    ),
    Mutant(
        "member-epoch-revives", "an epoch that is over on a member is over for good", WHERE, an_over_epoch_begins_again,
        tests=(*PROPERTY, *CORE), why=WHY,
    ),
)  # fmt: skip
