"""After an operator's word that no permit is in use: what ran there may have ended a moment before (seed 151200)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G, W, config
from permit_rig import AFTER_MS, RECONCILE, PermitRig
from test_permit_decisions import Leader

from proto.commands import Cause, ConfigureGroup, DeleteGroup, VoteKind
from proto.decisions import DecisionKind, Reason
from proto.health import SiteState
from proto.lease import LeaseConstants, lock_delay_wait
from proto.messages import Verdict
from proto.permit import CLEARED_LEAP
from proto.units import NS_PER_MS, Epoch, InstantNs, WallMs
from witness.core import permits, session_wait
from witness.core.decide import blockers_of
from witness.core.effects import Outcome
from witness.core.operator_moves import plan_switchover
from witness.core.restore import bar_of, new_lineage, restore
from witness.core.snapshot import decode_image, encode_image
from witness.core.timers import LeaseTimers
from witness.ctl.render import group_detail
from witness.group_fields import to_fields

FREE = config().constants
LOCKED = replace(FREE, lock_delay_ms=700)
STEP_NS = 100 * NS_PER_MS


class Vouched(PermitRig):
    """dc-a is heard and dc-b is away; with `word`, an operator vouched for it."""

    def __init__(self, constants: LeaseConstants = LOCKED, *, word: bool = True, granted: bool = False) -> None:
        super().__init__(constants=constants)
        self.known()
        if granted:
            assert self.one(self.grant_command(A)).ok
        self.lost()
        self.heard_a()
        assert self.away() == [B]
        if word:
            assert self.one(RECONCILE).ok

    def heard_a(self) -> None:
        for _ in range(2):
            self.says(A)

    def configures(self, **changes) -> Outcome:
        wanted = replace(self.group.config, **changes)
        return self.one(ConfigureGroup(wanted, self.group.version, AUTHOR))

    def counted(self, *witnesses) -> list[Outcome]:
        session = self.group.permits.session
        assert session is not None
        return [self.vote(one, epoch=session.floor, kind=VoteKind.SESSION_OVER) for one in witnesses]

    def grant_now(self, **changes) -> Outcome:
        floor = max(self.group.permits.floor, self.group.epoch)
        return self.one(self.grant_command(A, epoch=Epoch(floor + 1), **changes))


# -- the machine ----------------------------------------------------------------------------------------------


def test_nothing_is_granted_behind_the_word_until_a_majority_has_counted_the_lock_delay():
    rig = Vouched()
    assert rig.grant_now().reason is Reason.SESSION_MAY_LIVE
    assert all(one.ok for one in rig.counted(W[0], W[0]))
    assert rig.grant_now().reason is Reason.SESSION_MAY_LIVE, "one witness, as often as it likes, is no majority"
    assert rig.counted(W[1])[0].ok
    assert rig.group.permits.session is None
    assert rig.grant_now().ok


def test_without_a_lock_delay_the_word_is_enough():
    assert Vouched(FREE).grant_now().ok


def test_a_second_word_begins_the_wait_anew():
    rig = Vouched()
    first = rig.group.permits.session
    assert first is not None
    rig.counted(W[0])
    rig.known()
    rig.lost()
    rig.heard_a()
    assert rig.one(RECONCILE).ok
    stale = rig.vote(W[1], epoch=first.floor, kind=VoteKind.SESSION_OVER)
    assert stale.reason is Reason.STALE_VOTE
    assert rig.grant_now().reason is Reason.SESSION_MAY_LIVE
    rig.counted(W[0], W[1])
    assert rig.grant_now().ok


@pytest.mark.parametrize("lowered_after", [False, True])
def test_the_delay_is_the_longest_that_the_site_may_have_known(lowered_after):
    rig = Vouched(word=lowered_after)
    assert rig.configures(constants=FREE).ok
    if not lowered_after:
        assert rig.one(RECONCILE).ok
    session = rig.group.permits.session
    assert session is not None
    assert session.constants.lock_delay_ms == LOCKED.lock_delay_ms


def test_a_site_that_knows_the_new_configuration_may_go_by_the_lease_that_is_in_force():
    rig = PermitRig(constants=LOCKED).known()
    assert rig.one(rig.grant_command(A)).ok
    assert rig.says(A, epoch=2).verdict is Verdict.RENEWED
    wanted = replace(rig.group.config, constants=FREE)
    assert rig.one(ConfigureGroup(wanted, rig.group.version, AUTHOR)).ok
    told = [rig.says(B), rig.says(A, epoch=2, state=SiteState.ACTIVE, epoch_bound=Epoch(2))]
    assert {answer.lock_delay_ms for answer in told} == {LOCKED.lock_delay_ms}
    rig.expire()
    rig.known()
    rig.lost()
    for _ in range(2):
        rig.says(A)
    assert rig.one(RECONCILE).ok
    assert rig.one(rig.grant_command(A, epoch=Epoch(rig.group.permits.floor + 1))).reason is Reason.SESSION_MAY_LIVE


def test_a_site_that_was_removed_and_added_again_may_go_by_what_it_knew():
    rig = PermitRig(sites=(A, B, C), constants=LOCKED).known(A, B, C)
    for sites in ((A, C), (A, B, C)):
        wanted = replace(rig.group.config, sites=sites, constants=FREE)
        assert rig.one(ConfigureGroup(wanted, rig.group.version, AUTHOR)).ok
        rig.known(A, C)
    rig.lost()
    rig.known(A, C)
    assert rig.away() == [B]
    assert rig.one(RECONCILE).ok
    assert rig.group.permits.session is not None


def test_permits_that_are_enabled_together_with_a_shorter_delay():
    rig = PermitRig().known()
    off = replace(rig.group.config, break_glass_key="", break_glass_after_ms=0, constants=LOCKED)
    on = replace(rig.group.config, constants=FREE)
    for wanted in (off, on):
        assert rig.one(ConfigureGroup(wanted, rig.group.version, AUTHOR)).ok
    rig.lost()
    for _ in range(2):
        rig.says(A)
    assert rig.one(RECONCILE).ok
    assert rig.group.permits.session is not None


@pytest.mark.parametrize("cause", [Cause.ADOPTED, Cause.REGRANT])
def test_what_goes_on_in_place_keeps_the_delay_that_its_session_was_opened_under(cause):
    rig = Vouched(word=False)
    assert rig.configures(constants=FREE).ok
    assert session_wait.in_place(rig.group) == replace(FREE, lock_delay_ms=LOCKED.lock_delay_ms)
    if cause is Cause.ADOPTED:
        rig.under_permit()
        assert rig.one(rig.adoption()).ok
        assert rig.lease.constants.lock_delay_ms == LOCKED.lock_delay_ms


def test_a_lease_and_holds_may_have_had_a_longer_delay():
    rig = Vouched(FREE, word=False)
    rig.group.hold_wait = LOCKED
    assert rig.one(RECONCILE).ok
    assert rig.grant_now().reason is Reason.SESSION_MAY_LIVE


def test_a_grant_from_before_the_word_is_claimed_only_when_the_wait_is_over():
    rig = Vouched(granted=True)
    assert rig.says(A).verdict is Verdict.DORMANT
    assert rig.says(A, epoch=2).verdict is Verdict.REFUSED
    rig.counted(W[0], W[1])
    assert rig.says(A).verdict is Verdict.GRANTED
    assert rig.says(A, epoch=2).verdict is Verdict.RENEWED


def test_the_wait_outlives_permits_that_are_disabled_meanwhile():
    rig = Vouched(granted=True)
    assert rig.configures(break_glass_key="", break_glass_after_ms=0).ok
    rig.group.permits.after_ms = 0
    assert rig.says(A).verdict is Verdict.DORMANT


def test_what_is_active_renews_on_and_a_grant_in_place_waits_for_nobody():
    rig = PermitRig(constants=LOCKED).known()
    assert rig.one(rig.grant_command(A)).ok
    assert rig.says(A, epoch=2).verdict is Verdict.RENEWED
    running = {"state": SiteState.ACTIVE, "epoch_bound": Epoch(2)}
    rig.says(A, epoch=2, **running)
    rig.lost()
    for _ in range(2):
        rig.says(A, epoch=2, **running)
    assert rig.one(RECONCILE).ok
    assert rig.group.permits.session is not None
    assert rig.says(A, epoch=2, **running).verdict is Verdict.RENEWED
    rig.expire()
    grant = rig.grant_command(A, epoch=Epoch(rig.group.permits.floor + 1))
    state = rig.machine.state
    assert permits.against_grant(state, rig.group, grant) is Reason.SESSION_MAY_LIVE
    assert permits.against_grant(state, rig.group, replace(grant, cause=Cause.REGRANT)) is None


def test_no_handover_is_begun_that_no_grant_could_end():
    rig = Vouched()
    assert permits.against_revoke(rig.machine.state, rig.group, A) is Reason.SESSION_MAY_LIVE


def test_a_group_is_not_deleted_while_somebody_may_be_under_a_permit_nor_in_the_wait():
    rig = Vouched(word=False)
    assert rig.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.RECONCILING
    assert rig.one(RECONCILE).ok
    assert rig.unchanged(DeleteGroup(G, AUTHOR)).reason is Reason.SESSION_MAY_LIVE
    rig.counted(W[0], W[1])
    floor = rig.group.permits.floor
    assert rig.one(DeleteGroup(G, AUTHOR)).ok
    assert rig.one(ConfigureGroup(config(), 0, AUTHOR)).ok
    assert rig.group.epoch > floor > CLEARED_LEAP, "no epoch that was vouched away comes again"
    assert rig.group.permits.lock_delay_ms == LOCKED.lock_delay_ms, "nor is the delay forgotten"
    assert rig.machine.state.lock_delays == {}


def test_a_restore_waits_for_what_may_be_lived_on_by_holds_and_the_next_word_waits_as_the_first():
    rig = Vouched()
    rig.group.hold_wait = replace(FREE, ttl_ms=60_000)
    bar = bar_of(rig.machine.state, FREE)
    assert bar.ttl_ms == 60_000
    made = restore(rig.machine.state, new_lineage(WallMs(1_900_000_000_000), bytes(12)), FREE, rig.machine.feature_max)
    permits_then = made.state.groups[G].permits
    assert permits_then.session is None
    assert permits_then.lock_delay_ms == LOCKED.lock_delay_ms


def test_the_wait_and_its_votes_are_in_a_snapshot():
    rig = Vouched()
    rig.counted(W[2])
    back = decode_image(encode_image(rig.machine.state), rig.machine.feature_max).groups[G]
    assert back.permits.session == rig.group.permits.session
    assert back.permits.lock_delay_ms == rig.group.permits.lock_delay_ms


# -- each witness's own timer ---------------------------------------------------------------------------------


def test_a_witness_counts_in_capped_steps_from_its_own_apply():
    rig = Vouched()
    session = rig.group.permits.session
    assert session is not None
    now = 1_000
    timers = LeaseTimers(InstantNs(now))
    timers.follow(G, rig.group)
    timers.count(InstantNs(now + 3_600 * 1_000 * NS_PER_MS))  # the clock leaps by an hour
    assert VoteKind.SESSION_OVER not in {vote.kind for vote in timers.due_votes()}
    now += 3_600 * 1_000 * NS_PER_MS
    for _ in range(lock_delay_wait(session.constants) // STEP_NS + 1):
        now += STEP_NS
        timers.count(InstantNs(now))
    (vote,) = [one for one in timers.due_votes() if one.kind is VoteKind.SESSION_OVER]
    assert (vote.group, vote.epoch, vote.number) == (G, session.floor, 0)
    rig.counted(W[0], W[1])
    timers.follow(G, rig.group)
    timers.count(InstantNs(now + STEP_NS))
    assert VoteKind.SESSION_OVER not in {vote.kind for vote in timers.due_votes()}


# -- what a leader decides, and people read ---------------------------------------------------------------------


class Away(Leader):
    def __init__(self) -> None:
        super().__init__()
        wanted = replace(self.group.config, constants=LOCKED)
        self.foreign(ConfigureGroup(wanted, self.group.version, AUTHOR))
        self.both()
        self.wall_ms += AFTER_MS
        self.heard_a()
        self.foreign(RECONCILE)

    def heard_a(self) -> None:
        for _ in range(2):
            self.seq += 1
            self.says(A)


def test_the_leader_waits_says_why_and_votes_by_itself():
    rig = Away()
    rig.heard_a()
    found = rig.decision()
    assert found.kind is DecisionKind.NOTHING
    told = [(one.site, one.reason, one.seen) for one in found.blockers]
    assert (A, Reason.SESSION_MAY_LIVE, "0.7 s from the word on") in told
    rig.commit_all()
    rig.passes(lock_delay_wait(LOCKED) - STEP_NS)
    assert VoteKind.SESSION_OVER not in _kinds(rig)
    rig.passes(5 * STEP_NS)
    assert VoteKind.SESSION_OVER in _kinds(rig)


def _kinds(rig: Away) -> set[VoteKind]:
    return {vote.kind for command in rig.commands() for vote in getattr(command, "votes", ())}


def test_a_switchover_in_the_wait_is_told_to_come_again():
    rig = Away()
    rig.heard_a()
    now = InstantNs(rig.now)
    answer = plan_switchover(rig.group, rig.node.sight(G, now), A, AUTHOR, now)
    assert isinstance(answer, Outcome)
    assert answer.reason is Reason.SESSION_MAY_LIVE


def test_people_read_that_no_takeover_comes_meanwhile():
    rig = Away()
    status = rig.node.group_status(G, InstantNs(rig.now))
    assert status is not None
    assert status["permits"]["session_ms"] == LOCKED.lock_delay_ms
    from rich.console import Console

    console = Console(width=300)
    with console.capture() as shown:
        console.print(group_detail({**status, "config": to_fields(rig.group.config)}))
    assert "takeover  none now: an operator vouched; 700ms of lock delay pass first" in shown.get()


def test_the_wait_is_against_every_site_while_it_lasts_and_no_longer():
    rig = Away()
    now = InstantNs(rig.now)
    for site in (A, B):
        assert session_wait.blockers(rig.group, site)
    rig.group.permits.session = None
    assert not session_wait.blockers(rig.group, A)
    found = blockers_of(rig.group, A, rig.node.sight(G, now), now)
    assert Reason.SESSION_MAY_LIVE not in [one.reason for one in found]
