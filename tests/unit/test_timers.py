"""A witness's timers: in full from the apply, capped steps, nothing shortened by anything."""

from __future__ import annotations

import pytest
from core_rig import G
from hypothesis import given
from hypothesis import strategies as st

from proto import limits
from proto.commands import Cause, Vote, VoteKind
from proto.decisions import Reason
from proto.groups import GroupConfig, Mode
from proto.lease import LeaseConstants, witness_wait
from proto.units import NS_PER_MS, Epoch, GroupId, InstantNs, SiteId
from witness.core.state import GroupState, Lease, Revocation
from witness.core.timers import VOTE_AGAIN_NS, LeaseTimers
from witness.core.transitions import Phase

CONSTANTS = LeaseConstants(1_000, 10_000, 0)
WAIT = witness_wait(CONSTANTS)
STEP = limits.TIMER_WAKE_NS


def group(epoch: int = 2, renewal: int = 1, constants: LeaseConstants = CONSTANTS) -> GroupState:
    config = GroupConfig(G, (SiteId("dc-a"), SiteId("dc-b")), constants)
    lease = Lease(Epoch(epoch), SiteId("dc-a"), None, constants, Cause.FIRST, renewal=renewal)
    return GroupState(config, 1, Mode.AUTOMATIC, Epoch(epoch), Phase.HELD, lease, {})


class Clocked:
    """Timers, and time that passes in wake-ups of the usual length."""

    def __init__(self) -> None:
        self.now = 1_000
        self.timers = LeaseTimers(InstantNs(self.now))
        self.votes: list[tuple[int, Vote]] = []

    def wake(self, step: int = STEP) -> None:
        self.now += step
        self.timers.count(InstantNs(self.now))
        self.votes += [(self.now, vote) for vote in self.timers.due_votes()]

    def until(self, duration: int) -> None:
        end = self.now + duration
        while self.now < end:
            self.wake(min(STEP, end - self.now))


def test_a_vote_is_cast_after_the_whole_wait_and_not_before():
    clock = Clocked()
    clock.timers.follow(G, group())
    clock.until(WAIT - 1)
    assert clock.votes == []
    clock.wake(1)
    assert [vote for _, vote in clock.votes] == [Vote(VoteKind.EXPIRY, G, Epoch(2), 1)]


def test_a_vote_without_effect_is_cast_again():
    clock = Clocked()
    clock.timers.follow(G, group())
    clock.until(WAIT + 2 * VOTE_AGAIN_NS + STEP)
    assert len(clock.votes) == 3


@given(st.lists(st.integers(0, 900), min_size=1, max_size=8))
def test_every_renewal_starts_the_wait_in_full(gaps_ms):
    clock = Clocked()
    clock.timers.follow(G, group())
    for number, gap_ms in enumerate(gaps_ms, start=2):
        clock.until(gap_ms * NS_PER_MS)
        assert clock.votes == []
        clock.timers.follow(G, group(renewal=number))
    clock.until(WAIT - 1)
    assert clock.votes == []
    clock.until(STEP)
    assert [vote.number for _, vote in clock.votes] == [len(gaps_ms) + 1]


@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=40))
def test_however_time_comes_a_step_counts_at_most_the_cap(steps):
    """Pauses and leaps make a lease longer: the vote is never before the sum of the capped steps says so."""
    clock = Clocked()
    clock.timers.follow(G, group())
    counted = 0
    for step in steps:
        clock.wake(step)
        counted += min(step, limits.TIMER_STEP_MAX_NS)
        assert bool(clock.votes) == (counted >= WAIT)
        if clock.votes:
            break


def test_a_clock_that_goes_back_counts_nothing():
    clock = Clocked()
    clock.timers.follow(G, group())
    clock.until(WAIT - 10)
    clock.timers.count(InstantNs(0))
    assert clock.timers.due_votes() == ()


def test_the_same_lease_again_does_not_restart():
    clock = Clocked()
    clock.timers.follow(G, group())
    clock.until(WAIT // 2)
    clock.timers.follow(G, group())
    clock.until(WAIT - WAIT // 2 + 1)
    assert len(clock.votes) == 1


def test_the_end_of_a_lease_and_of_a_group_drop_the_timers():
    clock = Clocked()
    clock.timers.follow(G, group())
    vacant = group()
    vacant.lease = None
    for gone in (vacant, None):
        clock.timers.follow(G, gone)
        assert len(clock.timers) == 0
        clock.until(2 * WAIT)
        assert clock.votes == []


@pytest.mark.parametrize("ttl_ms", [500, 3_000])
def test_a_new_epoch_waits_by_its_own_constants(ttl_ms):
    clock = Clocked()
    clock.timers.follow(G, group())
    clock.until(WAIT // 2)
    constants = LeaseConstants(ttl_ms, 10_000, 0)
    clock.timers.follow(G, group(epoch=3, renewal=0, constants=constants))
    clock.until(witness_wait(constants) - 1)
    assert clock.votes == []
    clock.until(STEP)
    assert [vote.epoch for _, vote in clock.votes] == [3]


def test_a_renewal_after_a_lost_vote_is_waited_out_by_its_own_ttl():
    """A short lease that was voted for and renewed all the same is not left to the second vote's time."""
    constants = LeaseConstants(500, 100, 0)
    clock = Clocked()
    clock.timers.follow(G, group(constants=constants))
    clock.until(witness_wait(constants) + STEP)
    assert len(clock.votes) == 1
    clock.timers.follow(G, group(renewal=2, constants=constants))
    clock.until(witness_wait(constants) + STEP)
    assert [vote.number for _, vote in clock.votes] == [1, 2]


def test_a_revocation_counts_beside_the_lease_and_renewals_do_not_restart_it():
    clock = Clocked()
    revoking = group()
    assert revoking.lease is not None
    revoking.lease.revocation = Revocation(1, SiteId("dc-b"), Cause.HANDOVER, Reason.OPERATOR_ASKED, 1_500)
    revoking.phase = Phase.REVOKING
    clock.timers.follow(G, revoking)
    assert len(clock.timers) == 2
    for renewal in range(2, 6):
        clock.until(300 * NS_PER_MS)
        revoking.lease.renewal = renewal
        clock.timers.follow(G, revoking)
    clock.until(300 * NS_PER_MS)
    assert [vote.kind for _, vote in clock.votes] == [VoteKind.REVOKE_DUE]
    revoking.phase = Phase.OVERDUE
    clock.timers.follow(G, revoking)
    assert len(clock.timers) == 1


def test_the_next_wake_up_is_told():
    clock = Clocked()
    assert clock.timers.next_in_ns() is None
    clock.timers.follow(G, group())
    assert clock.timers.next_in_ns() == WAIT
    clock.wake(STEP)
    assert clock.timers.next_in_ns() == WAIT - STEP


def test_ten_thousand_groups_are_voted_for_in_bounded_lots():
    clock = Clocked()
    for number in range(3_000):
        clock.timers.follow(GroupId(f"g{number}"), group())
    clock.until(WAIT + STEP)
    first = len(clock.votes)
    assert first >= limits.ITEMS_MAX
    clock.until(3 * STEP)
    assert len({vote.group for _, vote in clock.votes}) == 3_000


@given(st.lists(st.integers(0, 1_500), max_size=6))
def test_a_change_of_leader_casts_again_what_counted_out_and_shortens_nothing_else(gaps_ms):
    """Leaders come and go: before the wait is over no vote leaves, and a renewal takes a cast one back."""
    clock = Clocked()
    clock.timers.follow(G, group())
    left = WAIT
    for gap_ms in gaps_ms:
        gap = min(gap_ms * NS_PER_MS, left - 1)
        clock.until(gap)
        left -= gap
        clock.timers.cast_again()
        clock.wake(0)
        assert clock.votes == []
    clock.until(left)
    assert len(clock.votes) == 1
    clock.timers.cast_again()
    clock.wake(0)
    assert len(clock.votes) == 2
    clock.timers.follow(G, group(renewal=2))
    clock.timers.cast_again()
    clock.until(WAIT - 1)
    assert len(clock.votes) == 2
    clock.wake(1)
    assert clock.votes[-1][1] == Vote(VoteKind.EXPIRY, G, Epoch(2), 2)
