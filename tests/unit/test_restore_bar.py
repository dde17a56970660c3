"""How long nothing is granted after a restore: the longest lease that can be in force, counted by each witness."""

from __future__ import annotations

import pytest
from core_rig import AUTHOR, CLUSTER, CONSTANTS, G, Rig, W, config
from restore_rig import LINEAGE, OTHER, SHORT, busy, restored

from proto import limits
from proto.commands import (
    EVERY_GROUP,
    ConfigureGroup,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.events import GENESIS_HASH
from proto.features import FEATURE_MAX
from proto.lease import LONGEST_POSSIBLE, LeaseConstants, witness_wait
from proto.units import (
    Epoch,
    GroupId,
    InstantNs,
)
from witness.core.ledger import verify
from witness.core.node import WitnessNode
from witness.core.restore import (
    bar_of,
    restore,
)
from witness.core.snapshot import encode_image
from witness.core.state import ClusterState
from witness.core.timers import LeaseTimers


@pytest.mark.parametrize(
    ("configured", "claimed", "ttl_ms", "lock_delay_ms"),
    [
        (LeaseConstants(1_000, 10_000, 0), SHORT, 1_000, 0),
        (LeaseConstants(60_000, 10_000, 5_000), SHORT, 60_000, 5_000),
        (LeaseConstants(1_000, 10_000, 7_000), LeaseConstants(30_000, 100, 0), 30_000, 7_000),
        (LeaseConstants(1_000, 10_000, 0), LONGEST_POSSIBLE, limits.TTL_MS_MAX, limits.LOCK_DELAY_MS_MAX),
    ],
)
def test_the_bar_is_the_longest_of_what_is_claimed_and_known(configured, claimed, ttl_ms, lock_delay_ms):
    rig = Rig(config(constants=configured))
    bar = bar_of(rig.machine.state, claimed)
    assert bar == LeaseConstants(ttl_ms, limits.DRIFT_MAX_PPM_MAX, lock_delay_ms)
    assert restored(rig, claimed=claimed).lease.constants == bar


def test_the_lease_in_force_counts_also_when_the_configuration_has_a_shorter_one_by_now():
    rig = Rig(config(constants=LeaseConstants(60_000, 10_000, 0)))
    rig.hold()
    assert rig.one(ConfigureGroup(config(constants=CONSTANTS), 1, AUTHOR)).ok
    assert bar_of(rig.machine.state, SHORT).ttl_ms == 60_000


def test_a_group_that_is_made_while_the_bar_stands_waits_for_it_too():
    """It may have lived before the loss with a longer lease than is configured now: nobody remembers."""
    long = LeaseConstants(60_000, 10_000, 0)
    rig = restored(Rig(), claimed=long)
    assert rig.one(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).ok
    made = rig.machine.state.groups[OTHER].lease.constants
    assert witness_wait(made) >= witness_wait(long)
    for witness in W[:2]:
        assert rig.machine.state.bar is not None
        assert bar_vote(rig, witness, rig.machine.state.generation).ok
    assert rig.machine.state.bar is None
    assert bar_vote(rig, W[2], rig.machine.state.generation).reason is Reason.STALE_VOTE
    third = GroupId("third")
    assert rig.one(ConfigureGroup(config(group=third), 0, AUTHOR)).ok
    assert rig.machine.state.groups[third].lease.constants == CONSTANTS


def bar_vote(rig: Rig, witness, generation: int):
    return rig.one(Votes(witness, (Vote(VoteKind.BAR_OVER, EVERY_GROUP, Epoch(generation), 0),)))


def test_votes_on_the_bar_name_this_restore_and_one_witness_counts_once():
    rig = restored(Rig())
    generation = rig.machine.state.generation
    assert bar_vote(rig, W[0], generation - 1).reason is Reason.STALE_VOTE
    for _ in range(3):
        assert bar_vote(rig, W[0], generation).ok
    assert bar_vote(rig, "w9", generation).reason is Reason.NOT_A_MEMBER
    assert rig.machine.state.bar is not None


def test_without_any_backup_the_cluster_begins_with_nothing_but_the_bar():
    made = restore(ClusterState(), LINEAGE, LONGEST_POSSIBLE, FEATURE_MAX)
    assert (made.state.applied_index, made.state.cluster, made.state.groups) == (3, None, {})
    assert made.state.bar is not None
    assert [event.seq for event in made.events] == [1]
    assert verify(made.events, GENESIS_HASH) is None
    assert made.wait_s == pytest.approx(1_466.7, abs=0.1)


def test_each_witness_counts_the_bar_from_its_own_start_and_in_full():
    made = restore(busy().machine.state, LINEAGE, SHORT, FEATURE_MAX)
    wait_ns = witness_wait(made.bar)
    timers = LeaseTimers(InstantNs(0))
    timers.follow_bar(made.state.bar, made.state.generation)
    timers.follow(G, made.state.groups[G])
    assert timers.left_ns(G) == wait_ns
    now = 0
    while now + 100_000_000 < wait_ns:
        now += 100_000_000
        timers.count(InstantNs(now))
        assert timers.due_votes() == ()
    timers.count(InstantNs(wait_ns))
    assert {vote.kind for vote in timers.due_votes()} == {VoteKind.EXPIRY, VoteKind.BAR_OVER}
    timers.follow_bar(None, made.state.generation)
    assert len(timers) == 1


def test_a_node_votes_for_the_bar_only_after_its_full_wait_and_shows_what_is_left():
    made = restore(busy().machine.state, LINEAGE, SHORT, FEATURE_MAX)
    node = WitnessNode(self_id=W[0], cluster=CLUSTER, witnesses=W, session=b"s" * 16, now=InstantNs(0))
    node.restore(encode_image(made.state), InstantNs(0))
    status = node.group_status(G, InstantNs(0))
    assert status is not None
    assert status["bar_left_ms"] == witness_wait(made.bar) // 1_000_000
    assert status["constants"]["ttl_ms"] == CONSTANTS.ttl_ms
    assert status["decision"]["reason"] == Reason.BARRED_AFTER_CREATION.value
    assert node.armed() == 2


def test_a_restored_log_does_not_begin_with_the_entry_that_a_blank_log_has():
    """Entry 1, of another term: a leader with nothing before it would never send a blank witness the state."""
    made = restore(ClusterState(), LINEAGE, LONGEST_POSSIBLE, FEATURE_MAX)
    assert made.state.applied_index - 1 > 1
