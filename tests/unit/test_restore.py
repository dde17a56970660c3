"""What a restore keeps, what it resets, and that nothing of the former life can act on the new one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, CLUSTER, CONSTANTS, A, B, C, G, Rig, W, config, entry_bytes, report, token
from core_strategies import ENTRIES
from hypothesis import given, settings
from hypothesis import strategies as st

from proto import limits
from proto.commands import (
    EVERY_GROUP,
    ConfigureGroup,
    DeleteGroup,
    QuarantineCause,
    SetMaintenance,
    SetMode,
    SetQuarantine,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import GENESIS_HASH, EventKind
from proto.features import FEATURE_MAX
from proto.groups import Mode
from proto.lease import LeaseConstants, witness_wait
from proto.messages import Verdict
from proto.units import (
    EPOCH_MAX,
    NO_LINEAGE,
    RESTORE_GENERATION_MAX,
    RESTORE_GENERATION_SHIFT,
    Epoch,
    GroupId,
    InstantNs,
    WallMs,
)
from witness.core.ledger import verify
from witness.core.machine import Machine
from witness.core.node import WitnessNode
from witness.core.restore import (
    LONGEST_POSSIBLE,
    bar_of,
    begun_ms,
    new_lineage,
    next_generation,
    read_lineage,
    restore,
)
from witness.core.snapshot import encode_image
from witness.core.state import ClusterState
from witness.core.timers import LeaseTimers
from witness.core.transitions import Phase

LINEAGE = new_lineage(WallMs(1_760_000_000_000), b"r" * 12)
SHORT = LeaseConstants(1_000, 100, 0)
OTHER = GroupId("other")


def restored(rig: Rig, lineage: bytes = LINEAGE, claimed: LeaseConstants = SHORT) -> Rig:
    """The rig goes on with the restored state."""
    made = restore(rig.machine.state, lineage, claimed, FEATURE_MAX)
    rig.machine = Machine()
    rig.machine.restore(encode_image(made.state))
    rig.index = made.state.applied_index
    return rig


def unbarred(rig: Rig) -> Rig:
    for witness in W[:2]:
        assert rig.vote(witness, epoch=rig.group.epoch).ok
    assert rig.group.phase is Phase.VACANT
    return rig


# -- what is kept and what is reset -----------------------------------------------------------------------


def busy() -> Rig:
    """A holder, a handover under way with a vote, a quarantined site, a site in maintenance, votes, a tombstone."""
    rig = Rig(config(sites=(A, B, C)))
    assert rig.one(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).ok
    for witness in W[:2]:
        rig.vote(witness, epoch=1, group=OTHER)
    assert rig.one(DeleteGroup(OTHER, AUTHOR)).ok
    rig.hold(A)
    assert rig.one(SetQuarantine(G, C, True, (), AUTHOR)).ok
    assert rig.one(rig.revoke_command(B)).ok
    assert rig.vote(W[0], epoch=2, number=1, kind=VoteKind.REVOKE_DUE).ok
    assert rig.vote(W[2], epoch=2, number=1).ok
    assert rig.one(SetMaintenance(G, B, True, AUTHOR)).ok
    return rig


def test_every_group_is_barred_under_an_epoch_of_the_new_generation():
    rig = restored(busy())
    state, group = rig.machine.state, rig.group
    assert group.epoch == (state.generation << RESTORE_GENERATION_SHIFT) + 1
    assert (group.phase, group.lease.site, group.lease.claim) == (Phase.BARRED, None, None)
    assert group.lease.votes == set()
    assert group.lease.revocation is None
    assert (group.successor, group.last_end, group.last_holder, group.unclaimed_by) == (None, None, None, None)


def test_what_the_sites_said_is_forgotten_and_what_operators_said_stays():
    before = busy()
    stores = {site: record.store_id for site, record in before.group.sites.items()}
    rig = restored(before)
    sites = rig.group.sites
    assert all(r.report is None and r.incarnation is None and r.lag_ms == -1 for r in sites.values())
    assert set(sites[C].quarantine) == {QuarantineCause.OPERATOR}
    assert sites[B].maintenance
    assert {site: record.store_id for site, record in sites.items()} == stores
    assert rig.machine.state.tombstones == {OTHER: 1}
    assert rig.machine.state.witnesses == W


@pytest.mark.parametrize("mode", Mode)
def test_modes_stay(mode):
    rig = Rig()
    if mode is not Mode.AUTOMATIC:
        assert rig.one(SetMode(G, mode, AUTHOR)).ok
    assert restored(rig).group.mode is mode


def test_agents_that_were_superseded_stay_so():
    rig = Rig()
    rig.beat(A, incarnation="i1")
    rig.beat(A, incarnation="i2")
    restored(rig)
    assert rig.beat(A, incarnation="i1", seq=99).reason is Reason.INCARNATION_SUPERSEDED
    assert rig.beat(A, incarnation="i2", seq=99).reason is Reason.OK


def test_the_ledger_goes_on_with_its_chain_and_says_what_happened():
    rig = busy()
    before = list(rig.machine.state.ledger.recent)
    made = restore(rig.machine.state, LINEAGE, SHORT, FEATURE_MAX)
    assert verify([*before, *made.events], GENESIS_HASH) is None
    assert made.state.ledger.head_seq == before[-1].seq + 2
    first, group = made.events
    assert {first.kind, group.kind} == {EventKind.RESTORED}
    assert LINEAGE.hex() in first.text
    assert group.text == "barred; in the backup dc-a held epoch 2"
    assert first.wall_ms == begun_ms(LINEAGE) == 1_760_000_000_000
    assert first.index == rig.machine.state.applied_index + 1 == made.state.applied_index


def test_equal_arguments_give_equal_bytes_and_the_backup_is_left_alone():
    rig = busy()
    image = rig.machine.snapshot()
    one = restore(rig.machine.state, LINEAGE, SHORT, FEATURE_MAX)
    other = restore(rig.machine.state, LINEAGE, SHORT, FEATURE_MAX)
    assert encode_image(one.state) == encode_image(other.state)
    assert rig.machine.snapshot() == image


# -- epochs -----------------------------------------------------------------------------------------------


def test_two_restores_of_one_backup_share_no_epoch():
    state = busy().machine.state
    first = next_generation(state, LINEAGE)
    assert next_generation(state, new_lineage(WallMs(begun_ms(LINEAGE) + 10_000), b"s" * 12)) == first + 1
    again = restore(restore(state, LINEAGE, SHORT, FEATURE_MAX).state, LINEAGE, SHORT, FEATURE_MAX)
    assert again.state.generation > first


@pytest.mark.parametrize(
    ("change", "above"),
    [
        (lambda s: setattr(s, "generation", 900_000_000), 900_000_000),
        (lambda s: s.tombstones.update({OTHER: Epoch(900_000_000 << 32)}), 900_000_000),
        (lambda s: setattr(s.groups[G], "epoch", Epoch((900_000_000 << 32) + 7)), 900_000_000),
        (
            lambda s: setattr(s.groups[G].sites[A], "report", report(epoch_bound=Epoch((900_000_000 << 32) + 7))),
            900_000_000,
        ),
    ],
    ids=["generation", "tombstone", "epoch", "bound"],
)
def test_the_generation_is_above_all_that_the_backup_knows_whatever_the_clock_says(change, above):
    state = busy().machine.state
    change(state)
    assert next_generation(state, LINEAGE) == above + 1


def test_a_generation_that_fits_no_epoch_is_refused():
    state = ClusterState(generation=RESTORE_GENERATION_MAX)
    with pytest.raises(BadValue, match="fits into an epoch"):
        restore(state, LINEAGE, SHORT, FEATURE_MAX)


def test_a_grant_stands_above_the_bounds_that_sites_report_after_the_restore():
    """A site that the backup knows nothing of, or that lived on after a wrong clock, keeps the last word."""
    rig = unbarred(restored(Rig()))
    bound = Epoch(rig.group.epoch + 5)
    rig.beat(A, seq=99)
    rig.beat(B, seq=99, said=report(epoch_bound=bound))
    refused = rig.one(rig.grant_command(epoch=Epoch(bound)))
    assert refused.reason is Reason.EPOCH_TOO_LOW
    assert rig.one(rig.grant_command(epoch=Epoch(bound + 1))).ok


def test_a_re_created_cluster_honours_the_sites_bounds_too():
    """`witness init` anew under the same id, without a backup: the machine knows nothing, the sites do."""
    rig = Rig()
    rig.beat(A, said=report(epoch_bound=Epoch(41)))
    rig.beat(B, said=report(epoch_bound=Epoch(40)))
    assert rig.one(rig.grant_command(epoch=Epoch(41))).reason is Reason.EPOCH_TOO_LOW
    assert rig.one(rig.grant_command(epoch=Epoch(42))).ok


def test_a_tombstone_of_the_former_life_is_stepped_over():
    rig = restored(busy())
    assert rig.one(ConfigureGroup(config(group=OTHER), 0, AUTHOR)).ok
    assert rig.machine.state.groups[OTHER].epoch == (rig.machine.state.generation << RESTORE_GENERATION_SHIFT) + 1


# -- the bar ----------------------------------------------------------------------------------------------


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
    assert (made.state.applied_index, made.state.cluster, made.state.groups) == (2, None, {})
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


# -- nothing of the former life acts ----------------------------------------------------------------------


def test_the_former_holder_can_neither_renew_nor_release_and_no_vote_for_it_counts():
    before = busy()
    epoch = before.group.epoch
    rig = restored(before)
    answer = rig.beat(A, seq=99, epoch=epoch, claim=token("claim"), said=report(epoch_bound=epoch))
    assert (answer.verdict, answer.reason) == (Verdict.REFUSED, Reason.NOT_HOLDER)
    assert rig.unchanged(rig.release_command(epoch=epoch)).reason is Reason.NOT_HOLDER
    assert rig.unchanged(Votes(W[1], (Vote(VoteKind.EXPIRY, G, epoch, 1),))).reason is Reason.STALE_VOTE
    assert rig.unchanged(rig.revoke_command(B, epoch=epoch)).reason is Reason.NOT_HOLDER
    grant = replace(rig.grant_command(), expected_epoch=epoch, epoch=Epoch(epoch + 1))
    assert rig.unchanged(grant).reason is Reason.NOT_VACANT
    assert unbarred(rig).unchanged(grant).reason is Reason.EPOCH_CONFLICT


def test_nobody_is_granted_while_the_bar_stands_even_when_every_site_is_heard_and_down():
    rig = restored(Rig())
    for site in (A, B):
        rig.beat(site, seq=99)
    assert rig.unchanged(rig.grant_command()).reason is Reason.NOT_VACANT
    assert rig.vote(W[0], epoch=rig.group.epoch).ok
    assert rig.vote(W[0], epoch=rig.group.epoch).ok
    assert rig.group.phase is Phase.BARRED


def test_a_version_of_the_former_life_carries_nothing():
    """An agent that still knows a later version of the former life does not vouch for sites that it never met."""
    rig = Rig()
    assert rig.one(ConfigureGroup(config(sites=(A, B, C)), 1, AUTHOR)).ok
    assert not rig.group.sites[C].carried
    unbarred(restored(rig))
    assert rig.group.version > 1_000
    rig.beat(A, seq=99)
    assert rig.one(rig.grant_command()).ok
    epoch = rig.group.epoch
    said = report(epoch_bound=epoch, group_version=rig.group.version + 1)
    assert rig.beat(A, seq=100, epoch=epoch, claim=token("c"), said=said).verdict is Verdict.RENEWED
    assert not rig.group.sites[C].carried
    said = report(epoch_bound=epoch, group_version=rig.group.version)
    assert rig.beat(A, seq=101, epoch=epoch, claim=token("c"), said=said).verdict is Verdict.RENEWED
    assert rig.group.sites[C].carried


@given(ENTRIES, ENTRIES, st.integers(1_000, limits.TTL_MS_MAX))
@settings(max_examples=60)
def test_whatever_was_backed_up_the_new_life_keeps_the_rules(before, after, ttl_ms):
    machine = Rig().machine
    for number, commands in enumerate(before, start=100):
        machine.apply(number, entry_bytes(commands))
    old = machine.state
    made = restore(old, LINEAGE, LeaseConstants(ttl_ms, 100, 0), FEATURE_MAX)
    assert made.state.groups.keys() == old.groups.keys()
    assert made.state.tombstones == old.tombstones
    for name, group in made.state.groups.items():
        assert group.phase is Phase.BARRED
        assert old.groups[name].epoch < group.epoch < EPOCH_MAX - (1 << 40)
        assert made.bar.ttl_ms >= max(ttl_ms, group.config.constants.ttl_ms)
        assert group.lease.constants == made.bar
        assert group.mode is old.groups[name].mode
        assert {s: r.quarantine for s, r in group.sites.items()} == {
            s: r.quarantine for s, r in old.groups[name].sites.items()
        }
    barred = {name: group.epoch for name, group in made.state.groups.items()}
    new = Machine()
    new.restore(encode_image(made.state))
    for number, commands in enumerate(after, start=made.state.applied_index + 1):
        events = new.apply(number, entry_bytes(commands)).events
        granted = [event for event in events if event.kind is EventKind.GRANTED]
        assert all(event.epoch > barred.get(event.group, 0) for event in granted)
    assert new.state.lineage == LINEAGE


# -- the lineage ------------------------------------------------------------------------------------------


def test_a_lineage_comes_back_from_its_text_and_says_when():
    assert read_lineage(LINEAGE.hex()) == LINEAGE
    assert begun_ms(LINEAGE) == 1_760_000_000_000
    assert new_lineage(WallMs(1_760_000_000_999), b"r" * 12) == LINEAGE


@pytest.mark.parametrize("text", ["", "zz" * 16, "ab" * 15, "ab" * 17, NO_LINEAGE.hex(), "w1"])
def test_what_is_no_lineage_is_refused_with_the_remedy(text):
    with pytest.raises(BadValue, match="copy it from what `witness restore` printed"):
        read_lineage(text)
