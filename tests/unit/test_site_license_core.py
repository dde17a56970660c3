"""A group's licenses in the agent's core: what is sealed and put, what is kept, what is told, and when it fences."""

from __future__ import annotations

import pytest
from agent_rig import TTL_MS, W1, W2, W3, G
from site_license_core_rig import LicenseRig, holder, kept, stopping
from site_license_rig import L, sealed, version

from agents.core.effects import ExtendDeadline, KeepSealed, LookAtKey
from agents.core.last_look import LAST_LOOK_MAX_NS
from agents.core.license import CANNOT_OPEN, STORE_DAMAGED, KeptKeys, Look
from agents.core.licenses import PUT_AGAIN_NS
from proto.decisions import Reason
from proto.health import SiteState
from proto.messages import EscrowPutAnswer
from proto.units import NS_PER_MS, Epoch, InstantNs, Nonce

# -- sealing ----------------------------------------------------------------------------------------------


def test_the_first_look_of_an_epoch_seals_and_the_key_is_put_and_reported():
    rig = holder()
    rig.looks(Look.CHANGED)
    assert [one.version for one in rig.asked()] == [version(2, 1)]
    assert rig.puts() == []
    made = rig.seals()
    (put,) = rig.puts()
    assert (put.group, put.license, put.sealed, put.claim) == (G, L, made, rig.group.holder.claim)
    rig.fresh_beat()
    assert rig.said.held == version(2, 1)


def test_a_dormant_site_seals_nothing():
    rig = LicenseRig().standby()
    rig.looks(Look.CHANGED)
    rig.looks(Look.CHANGED, epoch=2)
    assert rig.asked() == []


def test_a_look_of_another_epoch_seals_nothing():
    rig = holder(4)
    rig.looks(Look.CHANGED, epoch=3)
    assert rig.asked() == []


def test_the_number_goes_on_over_epochs():
    rig = holder(5, at_start=kept(sealed(3, 7)))
    rig.looks()
    assert rig.asked()[-1].version == version(5, 8)


def test_nothing_new_is_sealed_while_nothing_changes():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered()
    for _ in range(3):
        rig.looks()
    assert len(rig.asked()) == 1
    rig.looks(Look.CHANGED)
    assert rig.asked()[-1].version == version(2, 2)


def test_one_sealing_at_a_time():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.looks(Look.CHANGED)
    assert len(rig.asked()) == 1


def test_a_new_sealing_key_seals_the_same_value_again():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.looks(reseal=True)
    assert rig.asked()[-1].version == version(2, 2)


def test_a_source_that_cannot_be_read_is_a_problem_and_seals_nothing():
    rig = holder()
    rig.looks(Look.FAILED, "source-unreachable")
    rig.fresh_beat()
    assert (rig.said.problem, rig.asked()) == ("source-unreachable", [])
    rig.looks()
    rig.fresh_beat()
    assert rig.said.problem == ""


# -- putting ----------------------------------------------------------------------------------------------


def test_a_lost_answer_is_followed_by_the_very_same_bytes():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    for _ in range(6):
        rig.passes(PUT_AGAIN_NS // NS_PER_MS // 3 + 1)
        rig.renewed(rig.fresh_beat())
    puts = rig.puts()
    assert len(puts) >= 3
    assert len({put.sealed for put in puts}) == 1
    assert len({put.nonce for put in puts}) == len(puts)
    rig.put_answered()
    count = len(rig.puts())
    for _ in range(6):
        rig.renewed(rig.fresh_beat())
    assert len(rig.puts()) == count


@pytest.mark.parametrize("put_before", [False, True])
def test_a_put_without_any_stream_waits_without_spinning_and_leaves_with_the_next_one(put_before):
    """Once the core asked to be woken at the same instant for ever (simulation seed 9 of license-...)."""
    rig = holder()
    rig.looks(Look.CHANGED)
    if put_before:
        rig.seals()
        rig.passes(PUT_AGAIN_NS // NS_PER_MS // 2)
    for witness in (W1, W2, W3):
        rig.agent.stream_closed(witness, rig.clock.read())
    if not put_before:
        rig.seals()
    rig.passes(PUT_AGAIN_NS // NS_PER_MS)
    count = len(rig.puts())
    rig.agent.stream_opened(W2, True, rig.clock.read())
    rig.take()
    assert len(rig.puts()) == count + 1


def test_a_refusal_with_a_higher_number_seals_the_same_value_above_it():
    """This disk lost what it had put: a store that was removed."""
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered(Reason.ESCROW_CONFLICT, stored=version(2, 5), version_next=6)
    assert rig.asked()[-1].version == version(2, 6)
    rig.seals()
    assert rig.puts()[-1].sealed.version == version(2, 6)


def test_an_answer_to_a_former_version_does_not_settle_the_newer_one():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered(stored=version(2, 1))
    rig.passes(PUT_AGAIN_NS // NS_PER_MS + 1)
    assert rig.puts()[-1].sealed.version == version(2, 2)


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_LICENSE, Reason.ESCROW_OFF])
def test_witnesses_that_keep_no_such_license_are_asked_now_and_then(reason):
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered(reason, version_next=0)
    for _ in range(9):
        rig.renewed(rig.fresh_beat())
    assert len(rig.puts()) <= 2
    assert rig.said.problem == reason.value
    stopping(rig)
    rig.passes(10)
    assert rig.releases(), "no release waits for it"


def test_after_a_new_epoch_in_place_the_same_key_is_sealed_under_it():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered()
    rig.group.holder.epoch = rig.group.holder.bound = Epoch(9)
    rig.agent.tick(rig.clock.read())
    rig.looks()
    assert rig.asked()[-1].version == version(9, 2)


# -- the end of an epoch ----------------------------------------------------------------------------------


def test_a_release_waits_for_the_last_key_and_goes_out_with_its_answer():
    rig = holder()
    rig.looks(Look.CHANGED)
    made = rig.seals()
    stopping(rig)
    rig.passes(300)
    assert rig.releases() == []
    assert rig.puts()[-1].sealed == made
    rig.put_answered()
    rig.passes(400)
    assert rig.releases()


def test_a_release_waits_no_longer_than_its_bound():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    stopping(rig)
    rig.passes(TTL_MS - 400)
    waiting = rig.releases() == []
    rig.passes(700)
    assert waiting
    assert rig.releases()


def test_without_a_key_on_its_way_nothing_waits():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered()
    stopping(rig)
    rig.passes(10)
    assert rig.releases()


# -- the last look ----------------------------------------------------------------------------------------


def down(**fields) -> LicenseRig:
    """It had one look as a holder, was told to stop, and everything is verified down."""
    rig = holder(watched=True, **fields)
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered()
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.finished()
    return rig


def test_a_key_that_is_exchanged_as_the_platform_stops_is_sealed_and_put_before_the_release():
    rig = down()
    assert (rig.state, len(rig.all_of(LookAtKey))) == (SiteState.DEACTIVATING, 1)
    rig.looks(Look.CHANGED)
    rig.looked_last()
    assert rig.state is SiteState.DEACTIVATING, "what was seen is not sealed yet, and only the holder seals"
    made = rig.seals()
    assert (rig.state, made.version) == (SiteState.STANDBY, version(2, 2))
    rig.stored()
    rig.alone()
    assert (rig.puts()[-1].sealed, rig.releases()) == (made, [])
    rig.put_answered()
    rig.passes(400)
    assert rig.releases()


def test_a_key_that_did_not_change_costs_one_look():
    rig = down()
    rig.looks(Look.SAME)
    rig.looked_last()
    assert rig.state is SiteState.STANDBY
    rig.stored()
    rig.alone()
    rig.passes(10)
    assert rig.releases()


def test_a_source_that_hangs_never_holds_the_end_up_to_the_kill():
    rig = down()
    left_ms = (rig.group.deadlines().kill_at - rig.clock.boottime_ns) // NS_PER_MS
    rig.passes(left_ms - 1)
    assert rig.state is SiteState.DEACTIVATING
    rig.passes(1)
    assert (rig.state, rig.fences()) == (SiteState.STANDBY, 0)


def test_a_long_lease_is_not_held_up_for_longer_than_a_moment():
    rig = down()
    rig.group.licenses.look_last(rig.clock.boottime_ns, InstantNs(rig.clock.boottime_ns + 10 * LAST_LOOK_MAX_NS))
    assert rig.group.licenses.looking(InstantNs(rig.clock.boottime_ns + LAST_LOOK_MAX_NS - 1))
    assert not rig.group.licenses.looking(InstantNs(rig.clock.boottime_ns + LAST_LOOK_MAX_NS))


def test_nothing_is_looked_at_where_a_look_could_not_be_believed():
    """No look was taken under this epoch, as with an activation that failed before its restore."""
    rig = holder(watched=True)
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.finished()
    assert (rig.state, rig.all_of(LookAtKey)) == (SiteState.STANDBY, [])


def test_while_the_last_look_is_taken_no_guard_hears_of_a_later_deadline():
    """What is verified down stays so: a renewal that comes meanwhile is for the key alone."""
    rig = down()
    before = len(rig.all_of(ExtendDeadline))
    rig.fresh_beat()
    rig.renewed(renewal=3)
    assert (rig.state, len(rig.all_of(ExtendDeadline))) == (SiteState.DEACTIVATING, before)


def test_a_fence_during_the_last_look_ends_it():
    rig = down()
    rig.agent.guard_lost(G, "gone", rig.clock.read())
    rig.take()
    rig.looked_last()
    assert rig.state is SiteState.FENCING
    rig.passes(2 * LAST_LOOK_MAX_NS // NS_PER_MS)  # and nobody asks to be woken for it again and again
    rig.fenced()
    assert rig.state is SiteState.FENCED


def test_an_end_that_is_proven_after_the_authority_leaves_no_look_to_wait_for():
    """A site that stood still in its stop: the agent asked to be woken at an instant that had passed, without end."""
    rig = holder(watched=True)
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.clock.advance(10_000 * NS_PER_MS)
    rig.finished()
    assert rig.state is SiteState.STANDBY
    assert rig.group.licenses.next_deadline() is None
    rig.passes(2 * LAST_LOOK_MAX_NS // NS_PER_MS)


# -- keeping ----------------------------------------------------------------------------------------------


def test_a_newer_value_of_the_witnesses_is_kept_and_held_only_when_it_opens():
    rig = LicenseRig().standby()
    rig.value(sealed(2, 3))
    assert rig.all_of(KeepSealed)[-1].item.sealed == sealed(2, 3)
    rig.agent.license_kept(G, L, kept(sealed(2, 3), opens=False), "", rig.clock.read())
    rig.take()
    rig.fresh_beat()
    assert (rig.said.held, rig.said.problem, rig.report.ready) == (None, CANNOT_OPEN, False)
    rig.agent.license_kept(G, L, kept(sealed(2, 3)), "", rig.clock.read())
    rig.take()
    rig.fresh_beat()
    assert (rig.said.held, rig.said.problem, rig.report.ready) == (version(2, 3), "", True)


def test_an_older_value_is_not_kept():
    rig = LicenseRig(kept(sealed(3, 4))).standby()
    rig.value(sealed(2, 9))
    rig.value(sealed(3, 4))
    assert rig.all_of(KeepSealed) == []


def test_a_damaged_store_is_told_and_takes_what_comes():
    rig = LicenseRig(KeptKeys(damaged=True)).standby()
    rig.fresh_beat()
    assert rig.said.problem == STORE_DAMAGED
    rig.value(sealed(2, 1))
    assert rig.all_of(KeepSealed)


def test_nothing_is_said_before_a_witness_spoke_of_it():
    rig = LicenseRig()
    rig.group.licenses.told = False
    rig.standby()
    assert rig.report.licenses == ()
    rig.value(sealed(2, 1))
    rig.fresh_beat()
    assert [one.name for one in rig.report.licenses] == [L]


def test_a_site_whose_newest_key_does_not_open_claims_nothing():
    rig = LicenseRig(kept(sealed(2, 3), opens=False)).standby()
    rig.fresh_beat()
    from proto.messages import Verdict

    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(3))
    assert rig.group.holder.bound == 0


def test_a_lock_delay_that_the_group_does_not_keep_is_a_blocker_with_both_numbers():
    rig = LicenseRig(lock_delay_ms=30_000).standby()
    rig.fresh_beat()
    (words,) = [line for line in rig.report.blockers if "lock_delay" in line]
    assert "30000" in words
    assert " 0 ms" in words
    assert words.endswith("one that was raised counts from the next epoch"), "a lease has the delay it was granted with"
    assert not rig.report.ready


def test_an_answer_of_another_group_or_license_changes_nothing():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    other = EscrowPutAnswer(Nonce(b"n" * 16), G, "other", Reason.OK, version(2, 1), 2)
    rig.agent.received(W1, other, rig.clock.read())
    assert rig.group.licenses.due(rig.clock.boottime_ns + PUT_AGAIN_NS) is not None
