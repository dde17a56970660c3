"""A group's licenses in the agent's core: what is sealed and put, what is kept, what is told, and when it fences."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agent_rig import TTL_MS, W1, AgentRig, G
from site_license_rig import L, sealed, version

from agents.core.effects import Fence, KeepSealed, SealKey, Send
from agents.core.licenses import (
    ACTIVE_WHILE_DORMANT,
    CANNOT_OPEN,
    PUT_AGAIN_NS,
    STORE_DAMAGED,
    KeptKeys,
    Look,
)
from agents.core.settings import LicenseSettings
from proto.decisions import Reason
from proto.health import SiteState
from proto.license import EscrowItem, SealedKey
from proto.messages import EscrowPut, EscrowPutAnswer, EscrowValue
from proto.units import NS_PER_MS, Epoch, Nonce

LICENSE = LicenseSettings(L, required=True, lock_delay_ms=0)


def kept(newest: SealedKey | None, *, opens: bool = True, **fields) -> KeptKeys:
    held = newest.version if newest is not None and opens else None
    return KeptKeys(newest, opens, held, **fields)


class LicenseRig(AgentRig):
    """With a disk that keeps what the core asks to be sealed, and a witness that is asked by hand."""

    def __init__(self, at_start: KeptKeys | None = None, lock_delay_ms: int = 0, **group) -> None:
        super().__init__(licenses=(replace(LICENSE, lock_delay_ms=lock_delay_ms),), **group)
        self.group.licenses.told = True
        if at_start is not None:
            self.agent.license_kept(G, L, at_start, "", self.clock.read())
            self.take()

    def looks(
        self, look: Look = Look.SAME, problem: str = "", *, epoch: int | None = None, reseal: bool = False
    ) -> None:
        held = self.group.holder.epoch if epoch is None else Epoch(epoch)
        self.agent.license_looked(G, L, look, problem, held, self.clock.read(), reseal=reseal)
        self.take()

    def asked(self) -> list[SealKey]:
        return self.all_of(SealKey)

    def seals(self) -> SealedKey:
        """The shell does what it was asked last."""
        found = self.asked()[-1].version
        made = sealed(*found)
        self.agent.license_sealed(G, L, kept(made), "", self.clock.read())
        self.take()
        return made

    def puts(self) -> list[EscrowPut]:
        return [one.message for one in self.all_of(Send) if isinstance(one.message, EscrowPut)]

    def put_answered(self, reason: Reason = Reason.OK, stored=None, version_next: int = 0) -> None:
        put = self.puts()[-1]
        stored = put.sealed.version if stored is None and reason is Reason.OK else stored
        answer = EscrowPutAnswer(put.nonce, G, L, reason, stored, version_next or put.sealed.version.version + 1)
        self.agent.received(W1, answer, self.clock.read())
        self.take()

    def value(self, one: SealedKey) -> None:
        self.agent.received(W1, EscrowValue(G, EscrowItem(L, one)), self.clock.read())
        self.take()

    def probed(self, activated: bool | None, problem: str = "") -> None:
        self.agent.license_probed(G, L, activated, problem, self.clock.read())
        self.take()

    @property
    def said(self):
        (one,) = self.report.licenses
        return one


def holder(epoch: int = 2, **fields) -> LicenseRig:
    rig = LicenseRig(**fields)
    rig.active(epoch)
    return rig


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
def test_witnesses_that_keep_no_such_license_are_not_asked_again(reason):
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    rig.put_answered(reason, version_next=0)
    count = len(rig.puts())
    for _ in range(6):
        rig.renewed(rig.fresh_beat())
    assert len(rig.puts()) == count
    assert rig.said.problem == reason.value


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


def stopping(rig: LicenseRig) -> None:
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.finished()
    rig.stored()
    rig.answer(rig.fresh_beat())


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
    assert not rig.report.ready


# -- both active ------------------------------------------------------------------------------------------


def test_a_dormant_site_with_an_activated_license_tells_it_and_fences_at_once():
    rig = LicenseRig().standby()
    rig.probed(True)
    assert rig.state is SiteState.FENCING
    assert rig.fences() == 1
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.state) == (
        True,
        ACTIVE_WHILE_DORMANT,
        SiteState.FENCING,
    )


def test_the_alarm_is_in_a_heartbeat_however_fast_the_fence_is():
    rig = LicenseRig().standby()
    rig.fresh_beat()
    rig.probed(True)
    rig.fenced()
    rig.stored()
    rig.fresh_beat()
    assert (rig.state, rig.said.activated) == (SiteState.FENCED, True)
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.ready) == (None, ACTIVE_WHILE_DORMANT, False)
    rig.probed(False)
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.report.ready) == (False, "", True)


def test_what_is_found_again_is_fenced_again():
    rig = LicenseRig().standby()
    for count in (1, 2):
        rig.probed(True)
        rig.fenced()
        rig.stored()
        assert rig.fences() == count


def test_a_claim_on_its_way_is_dropped_and_its_answer_begins_nothing():
    rig = LicenseRig()
    rig.claiming()
    beat = rig.beat
    rig.probed(True)
    assert rig.state is SiteState.FENCING
    rig.renewed(beat)
    rig.fenced()
    rig.stored()
    assert (rig.state, rig.group.holder.epoch, rig.group.holder.finished) == (SiteState.FENCED, 0, 2)


def test_a_bound_that_is_being_stored_is_over_after_the_fence():
    from proto.messages import Verdict

    rig = LicenseRig().standby()
    rig.fresh_beat()
    rig.answer(verdict=Verdict.GRANTED, epoch=Epoch(2))
    rig.probed(True)
    rig.stored()
    rig.fenced()
    rig.stored()
    assert (rig.state, rig.group.holder.bound, rig.group.holder.finished) == (SiteState.FENCED, 2, 2)


def test_an_active_site_has_its_license_activated_and_nothing_happens():
    rig = holder()
    rig.probed(True)
    rig.fresh_beat()
    assert (rig.state, rig.said.activated, rig.all_of(Fence)) == (SiteState.ACTIVE, True, [])


def test_what_a_probe_saw_before_the_role_changed_is_not_said_after_it():
    rig = holder()
    rig.probed(True)
    role = rig.group.licenses.role
    stopping(rig)
    assert rig.said.activated is None
    assert rig.group.licenses.role > role


def test_a_watching_agent_tells_and_stops_nothing():
    rig = LicenseRig(enforce=False)
    rig.probed(True)
    assert rig.fences() == 0


def test_a_probe_without_an_answer_is_a_problem_and_no_alarm():
    rig = LicenseRig().standby()
    rig.probed(None, "probe-failed")
    rig.fresh_beat()
    assert (rig.said.activated, rig.said.problem, rig.fences()) == (None, "probe-failed", 0)


# -- holds ------------------------------------------------------------------------------------------------


def test_an_answer_of_another_group_or_license_changes_nothing():
    rig = holder()
    rig.looks(Look.CHANGED)
    rig.seals()
    other = EscrowPutAnswer(Nonce(b"n" * 16), G, "other", Reason.OK, version(2, 1), 2)
    rig.agent.received(W1, other, rig.clock.read())
    assert rig.group.licenses.due(rig.clock.boottime_ns + PUT_AGAIN_NS) is not None
