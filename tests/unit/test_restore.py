"""What a restore keeps, what it resets, and that nothing of the former life can act on the new one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G, Rig, W, config, entry_bytes, report, token
from core_strategies import ENTRIES
from hypothesis import given, settings
from hypothesis import strategies as st
from restore_rig import LINEAGE, OTHER, SHORT, busy, restored, unbarred

from proto import limits
from proto.commands import (
    ConfigureGroup,
    QuarantineCause,
    SetMode,
    Vote,
    VoteKind,
    Votes,
)
from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import GENESIS_HASH, EventKind
from proto.features import FEATURE_MAX
from proto.groups import Mode
from proto.lease import LeaseConstants
from proto.messages import Verdict
from proto.units import (
    EPOCH_MAX,
    NO_LINEAGE,
    RESTORE_GENERATION_MAX,
    RESTORE_GENERATION_SHIFT,
    Epoch,
    WallMs,
)
from witness.core.ledger import verify
from witness.core.machine import Machine
from witness.core.restore import (
    begun_ms,
    lineage_words,
    new_lineage,
    next_generation,
    read_lineage,
    restore,
)
from witness.core.snapshot import encode_image
from witness.core.state import ClusterState
from witness.core.transitions import Phase

# -- what is kept and what is reset -----------------------------------------------------------------------


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
    assert read_lineage(lineage_words(LINEAGE)) == LINEAGE
    assert begun_ms(LINEAGE) == 1_760_000_000_000
    assert new_lineage(WallMs(1_760_000_000_999), b"r" * 12) == LINEAGE


@pytest.mark.parametrize("text", ["", "zz" * 16, "ab" * 15, "ab" * 17, lineage_words(NO_LINEAGE), "w1", LINEAGE.hex()])
def test_what_is_no_lineage_is_refused_with_the_remedy(text):
    with pytest.raises(BadValue, match="copy it from what `witness restore` printed"):
        read_lineage(text)


def test_a_digit_of_the_lineage_that_was_copied_wrong_is_noticed_at_once_and_both_checks_are_named():
    text = lineage_words(LINEAGE)
    for at, digit in enumerate(text):
        if digit != "-":
            wrong = text[:at] + ("0" if digit != "0" else "1") + text[at + 1 :]
            with pytest.raises(BadValue, match=r"copied wrong: its check is \w{8}, but its digits give \w{8}"):
                read_lineage(wrong)
