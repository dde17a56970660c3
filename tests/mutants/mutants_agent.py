"""The agent and the guard: when authority begins, until when it lasts, what must be proven before it is given back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mutant import Mutant, SimFocus, sim_broken

from agents.core.agent import SiteAgent
from agents.core.effects import PlanKind
from agents.core.group import GroupAgent
from agents.core.group_parts import Storing
from agents.core.lease_holder import NO_EPOCH, Authority, LeaseHolder
from agents.core.licenses import GroupLicenses
from agents.core.release import EpochEnd
from agents.core.site import SiteInput
from agents.core.streams import StreamTable
from agents.fencing import authority as guard
from proto.lease import LeaseConstants, holder_deadline
from proto.units import Claim, InstantNs

OVERLAP = frozenset({"overlap"})
KEYS = "unit/test_site_license_core.py"
BEGUN = frozenset({"overlap", "epoch", "crash"})


def any_nonce_answers_the_newest(patch: pytest.MonkeyPatch) -> None:
    right = StreamTable.answered

    def answered(self, nonce, now):
        newest = next(reversed(self._attempts), nonce)
        return right(self, newest, now)

    patch.setattr(StreamTable, "answered", answered)


def ends_without_a_last_look(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(GroupLicenses, "looking", lambda self, now: False)


def a_last_look_knows_no_end(patch: pytest.MonkeyPatch) -> None:
    right = GroupLicenses.look_last
    patch.setattr(GroupLicenses, "look_last", lambda self, now, until: right(self, now, InstantNs(1 << 62)))


def a_release_leaves_unheard(patch: pytest.MonkeyPatch) -> None:
    """Whether a twin is ahead is not waited for."""
    right = EpochEnd.down

    def down(self, seq, heard_seq):
        right(self, seq, seq)

    patch.setattr(EpochEnd, "down", down)


def an_ended_epoch_revives(patch: pytest.MonkeyPatch) -> None:
    """A late answer of an epoch that is over gives authority again."""
    right = LeaseHolder.renewed

    def renewed(self, epoch, sent, constants, now):
        if self.epoch == NO_EPOCH:
            self.epoch, self.finished = epoch, min(self.finished, type(epoch)(epoch - 1))
        return right(self, epoch, sent, constants, now)

    patch.setattr(LeaseHolder, "renewed", renewed)


def a_grant_is_authority(patch: pytest.MonkeyPatch) -> None:
    """The site begins when it is told of the grant, before its claim was answered."""
    right = GroupAgent.bounds_stored

    def bounds_stored(self, now):
        claiming = self._storing is Storing.CLAIM
        right(self, now)
        constants = self.known_constants
        if not claiming or self.holder.epoch == NO_EPOCH or constants is None:
            return
        until = holder_deadline(now.boottime_ns, constants)
        self.holder.constants = constants
        self.holder.authority = Authority(until, now.monotonic_raw_ns + constants.ttl_ns)
        self._move(SiteInput.AUTHORITY)
        self._start(PlanKind.ACTIVATE, self.settings.activation_timeout_ms, self.deadlines())

    patch.setattr(GroupAgent, "bounds_stored", bounds_stored)


def an_unproven_stop_is_down(patch: pytest.MonkeyPatch) -> None:
    right = GroupAgent.plan_finished

    def plan_finished(self, plan, ok, text, now, *, orderly=True):
        stopping = self._plans._running == (plan, PlanKind.DEACTIVATE)
        right(self, plan, ok or stopping, text, now, orderly=orderly)

    patch.setattr(GroupAgent, "plan_finished", plan_finished)


def claimed_before_the_bound_is_stored(patch: pytest.MonkeyPatch) -> None:
    right = GroupAgent._store

    def store(self, storing):
        right(self, storing)
        if storing is Storing.CLAIM:
            self.holder.begin(self.holder.bound, Claim(self._tokens()))

    patch.setattr(GroupAgent, "_store", store)


def bounds_are_lost_with_the_agent(patch: pytest.MonkeyPatch) -> None:
    """What a former life acted upon may be begun again."""
    right = LeaseHolder.__init__

    def init(self, bound, finished):
        right(self, NO_EPOCH, NO_EPOCH)

    patch.setattr(LeaseHolder, "__init__", init)


def authority_by_one_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Authority, "alive", lambda self, now: now.boottime_ns < self.deadline)


def authority_comes_back(patch: pytest.MonkeyPatch) -> None:
    right = LeaseHolder.renewed

    def renewed(self, epoch, sent, constants, now):
        before = self.authority
        if before is not None and not before.alive(now):
            self.authority = None
        grown = right(self, epoch, sent, constants, now)
        self.authority = self.authority or before
        return grown

    patch.setattr(LeaseHolder, "renewed", renewed)


def clocks_are_believed(patch: pytest.MonkeyPatch) -> None:
    from agents.core import clock_watch

    patch.setattr(clock_watch, "clock_disagreement", lambda base, now, drift: None)


def a_twin_is_not_noticed(patch: pytest.MonkeyPatch) -> None:
    right = SiteAgent._answer

    def answer(self, message, now):
        from proto.decisions import Reason

        kept = tuple(one for one in message.groups if one.reason is not Reason.STALE_HEARTBEAT)
        right(self, replace(message, groups=kept), now)

    patch.setattr(SiteAgent, "_answer", answer)


def a_fence_is_believed(patch: pytest.MonkeyPatch) -> None:
    right = GroupAgent.fenced
    patch.setattr(GroupAgent, "fenced", lambda self, ok, text, now: right(self, True, text, now))


def guard_takes_a_passed_deadline(patch: pytest.MonkeyPatch) -> None:
    right = guard.Authority.check

    def check(self, new, now):
        try:
            right(self, new, now)
        except guard.Refused as refused:
            if refused.code != "deadline-passed":
                raise

    patch.setattr(guard.Authority, "check", check)


def guard_by_boottime_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guard.Authority, "_later_of_both", staticmethod(lambda since, now: now.boot_ns))


def guard_believes_its_clocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(guard, "disagreement", lambda since, now: None)


def guard_takes_lower_epochs(patch: pytest.MonkeyPatch) -> None:
    right = guard.Authority.check

    def check(self, new, now):
        try:
            right(self, new, now)
        except guard.Refused as refused:
            if refused.code != "epoch-too-low":
                raise

    patch.setattr(guard.Authority, "check", check)


def no_lock_delay(patch: pytest.MonkeyPatch) -> None:
    from agents.core import group_life

    patch.setattr(group_life, "lock_delay_wait", lambda constants: 0)


MUTANTS = (
    sim_broken("counted-from-the-answer", "authority counts from before the question was sent", "lease: holder"),
    sim_broken("released-before-down", "a release follows the proof that all is down", "agent: release"),
    sim_broken("no-kernel-floor", "the kernel ends the guard when the guard stands still", "guard"),
    Mutant(
        "any-nonce-answers",
        "an answer counts for the attempt whose nonce it carries",
        "lease: holder",
        any_nonce_answers_the_newest,
        SimFocus(("slow", "site-freeze", "cut-site", "stop-deaf"), OVERLAP, 90, drift_max_ppm=1_000),
    ),
    Mutant(
        "ended-epoch-revives",
        "an epoch that ended here is over for good",
        "lease: holder",
        an_ended_epoch_revives,
        tests=("unit/test_lease_holder.py::test_the_end_is_final",),
        why="a new guard knows the epoch as finished and refuses it",
    ),
    Mutant(
        "grant-is-authority",
        "only the answer to a claim gives authority",
        "lease: claim",
        a_grant_is_authority,
        SimFocus(("slow", "site-freeze", "cut-site", "slow-disk"), BEGUN, 60),
    ),
    Mutant(
        "ends-without-a-last-look",
        "a holder that stops looks at its license's key once more before its epoch ends",
        "agent: release",
        ends_without_a_last_look,
        tests=(f"{KEYS}::test_a_key_that_is_exchanged_as_the_platform_stops_is_sealed_and_put_before_the_release",),
        why="what a platform exchanged as it stopped and nobody saw is no acknowledged key, so no checker misses it",
    ),
    Mutant(
        "last-look-without-end",
        "a last look ends before the kill budget begins",
        "agent: release",
        a_last_look_knows_no_end,
        tests=(f"{KEYS}::test_a_source_that_hangs_never_holds_the_end_up_to_the_kill",),
        why="no simulated source hangs",
    ),
    Mutant(
        "release-leaves-unheard",
        "a release leaves only when the newest heartbeat, or a later one, was answered and is not stale",
        "agent: release",
        a_release_leaves_unheard,
        tests=(
            "unit/test_agent_endings.py::test_a_release_waits_until_the_newest_heartbeat_or_a_later_one_is_answered",
        ),
        why="no simulated machine is cloned with its memory yet",
    ),
    Mutant(
        "unproven-stop-is-down",
        "a deactivation that is not proven leads to a fence",
        "agent: release",
        an_unproven_stop_is_down,
        tests=("unit/test_agent_endings.py::test_a_deactivation_that_is_not_proven_is_fenced",),
        why="a guard ends what a stop leaves before the plan says so; what no kill ends is left to the watchdog",
    ),
    Mutant(
        "claimed-before-stored",
        "a bound is durable before its epoch is claimed",
        "agent: bounds",
        claimed_before_the_bound_is_stored,
        tests=("unit/test_agent_stories.py::test_a_grant_is_claimed_only_after_its_bound_is_durable",),
        why="the witnesses never grant an epoch twice; a bound that was lost shows only after they were restored",
    ),
    Mutant(
        "bounds-lost",
        "what a former life acted upon is finished by proof",
        "agent: bounds",
        bounds_are_lost_with_the_agent,
        tests=("unit/test_agent_stories.py::test_what_a_former_life_acted_upon_is_finished_by_the_proof",),
        why="as before: the witnesses' epochs alone suffice until they are restored",
    ),
    Mutant(
        "authority-by-one-clock",
        "authority ends on BOOTTIME or MONOTONIC_RAW, whichever is first",
        "lease: clocks",
        authority_by_one_clock,
        tests=("unit/test_lease_holder.py::test_either_clock_ends_it",),
        why="the guard counts on the clock that is ahead, whatever the agent believes",
    ),
    Mutant(
        "authority-comes-back",
        "authority that has ended is not extended",
        "lease: holder",
        authority_comes_back,
        tests=("unit/test_lease_holder.py::test_once_ended_no_answer_brings_it_back",),
        why="the guard has ended the platform by then, and refuses the extension too",
    ),
    Mutant(
        "clocks-are-believed",
        "an agent whose clocks disagree begins a new incarnation",
        "lease: clocks",
        clocks_are_believed,
        tests=("unit/test_agent_clocks_and_closing.py::test_clocks_that_disagree_end_the_incarnation",),
        why="the guard compares its clocks itself, and ends what runs",
    ),
    Mutant(
        "twin-not-noticed",
        "an agent whose newest heartbeat is stale has a twin, and ends",
        "agent: incarnation",
        a_twin_is_not_noticed,
        tests=(
            "unit/test_agent_endings.py::test_a_newest_attempt_that_is_stale_shows_a_twin_and_ends_the_incarnation",
        ),
        why="no schedule copies a running agent's memory",
    ),
    Mutant(
        "fence-is-believed",
        "only a proven fence leads out of FENCING",
        "agent: release",
        a_fence_is_believed,
        tests=("unit/test_agent_endings.py::test_a_deactivation_that_is_not_proven_is_fenced",),
        why="what a simulated platform runs lives in its guard, and a fence ends the guard in any case",
    ),
    Mutant(
        "no-lock-delay",
        "a fenced site releases only after the lock delay",
        "agent: release",
        no_lock_delay,
        SimFocus(
            ("site-freeze", "guard-kill", "site-power"),
            frozenset({"license"}),
            10,
            group=(("constants", LeaseConstants(1_000, 10_000, 2_000)),),
        ),
    ),
    Mutant(
        "guard-takes-passed-deadline",
        "a guard refuses a deadline that has passed",
        "guard",
        guard_takes_a_passed_deadline,
        tests=("unit/test_guard_authority.py::test_refusals",),
        why="the agent fences at the same instant and asks for nothing afterwards",
    ),
    Mutant(
        "guard-by-boottime-only",
        "a guard counts on BOOTTIME and MONOTONIC_RAW",
        "guard",
        guard_by_boottime_only,
        tests=("unit/test_guard_authority.py::test_monotonic_raw_counts_too_and_the_earlier_end_wins",),
        why="clocks that part far enough to matter disagree, and that ends it before",
    ),
    Mutant(
        "guard-believes-its-clocks",
        "clocks that disagree are an expiry",
        "guard",
        guard_believes_its_clocks,
        tests=("unit/test_guard_authority.py::test_disagreeing_clocks_are_expiry",),
        why="the guard counts on the clock that is ahead in any case",
    ),
    Mutant(
        "guard-takes-lower-epochs",
        "a guard refuses an epoch that is below one that it saw",
        "guard",
        guard_takes_lower_epochs,
        tests=("unit/test_guard_authority.py::test_refusals",),
        why="an agent never asks for one: its bound is durable",
    ),
)
