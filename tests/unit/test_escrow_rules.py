"""E1 to E5, E10: who may put which sealed key, what is kept of it, and whom it is handed to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_rig import AUTHOR, A, B, C, G, W, config, token
from escrow_rig import KEY, REQUIRED, EscrowRig, licensed, sealed, version

from proto import codec
from proto.commands import ConfigureGroup, DeleteGroup, VoteKind
from proto.decisions import Reason
from proto.errors import BadValue
from proto.groups import check_group
from proto.license import (
    BOX_BYTES_MAX,
    NO_VERSION,
    VERSION_MAX,
    VERSION_SKIP_MAX,
    EscrowPolicy,
    EscrowVersion,
    LicenseSpec,
    SealedKey,
    check_sealed,
    read_version,
    version_words,
)
from proto.license_codec import associated_data
from proto.messages import AgentMessage, EscrowPut, NoticeKind
from proto.units import Claim, Epoch, GroupId, Incarnation, LicenseName, Nonce
from witness.core import licenses
from witness.core.machine import Machine
from witness.core.transitions import Phase

OTHER = LicenseName("maps")


def test_the_holder_puts_version_after_version_and_everybody_is_told_at_once():
    rig = EscrowRig()
    done = rig.put(sealed(rig.epoch, 1))
    assert (done.reason, done.stored, done.version_next) == (Reason.OK, version(rig.epoch, 1), 2)
    assert rig.kinds() == ["escrow-stored"]
    assert {site for site, _, kind, _ in rig.changes.notices if kind is NoticeKind.CHANGED} == {A, B}
    assert rig.put(sealed(rig.epoch, 2)).ok
    assert rig.kept() == sealed(rig.epoch, 2)
    event = rig.last.events[0]
    assert event.text == f"fingerprint: version {rig.epoch}.2, sealed with key 0a1b2c3d"
    assert (event.site, event.epoch, event.author) == (A, rig.epoch, "agent dc-a")
    assert rig.group.escrow.kept[KEY].put_ms == 1_000


@pytest.mark.parametrize("phase", ["held", "revoking", "overdue"])
def test_a_holder_that_is_handed_over_may_put_until_its_lease_has_ended(phase):
    rig = EscrowRig()
    if phase != "held":
        assert rig.one(rig.revoke_command()).ok
    if phase == "overdue":
        for witness in W[:2]:
            rig.vote(witness, epoch=rig.epoch, number=1, kind=VoteKind.REVOKE_DUE)
    assert rig.group.phase is Phase(phase)
    assert rig.put(sealed(rig.epoch, 1)).ok


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"site": B}, Reason.NOT_HOLDER),
        ({"incarnation": Incarnation(token("i2"))}, Reason.WRONG_INCARNATION),
        ({"claim": Claim(token("another"))}, Reason.WRONG_CLAIM),
        ({"group": GroupId("mail")}, Reason.UNKNOWN_GROUP),
        ({"license": OTHER}, Reason.UNKNOWN_LICENSE),
    ],
    ids=["site", "incarnation", "claim", "group", "license"],
)
def test_nobody_but_the_holder_puts(changes, reason):
    rig = EscrowRig()
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 1), **changes)).reason is reason


def test_a_put_of_another_epoch_than_the_lease_is_refused_and_names_what_comes_next():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    for epoch in (rig.epoch - 1, rig.epoch + 1):
        outcome = rig.unchanged(rig.put_command(sealed(epoch, 2), claim=Claim(token(f"claim-{A}-{rig.epoch}"))))
        assert (outcome.reason, outcome.stored, outcome.version_next) == (Reason.NOT_HOLDER, version(rig.epoch, 1), 2)


def test_nobody_puts_before_the_claim_nor_after_the_release_nor_the_expiry():
    rig = EscrowRig(hold=False)
    assert rig.one(rig.grant_command(A)).ok
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 1))).reason is Reason.NOT_CLAIMED
    rig.say(A, epoch=rig.epoch)
    rig.end()
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 1))).reason is Reason.NOT_HOLDER
    rig.take(B)
    rig.expire()
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 1), B)).reason is Reason.NOT_HOLDER


def test_a_former_holder_puts_nothing_after_a_takeover_though_its_number_would_come_next():
    rig = EscrowRig()
    first = rig.epoch
    assert rig.put(sealed(first, 1)).ok
    rig.held = {A: version(first, 1), B: version(first, 1)}
    rig.expire()
    rig.say(B)
    second = rig.take(B)
    assert rig.unchanged(rig.put_command(sealed(first, 2))).reason is Reason.NOT_HOLDER
    assert rig.put(sealed(second, 2), B).ok
    assert rig.unchanged(rig.put_command(sealed(first, 3))).reason is Reason.NOT_HOLDER
    assert rig.unchanged(rig.put_command(sealed(first, 1))).reason is Reason.NOT_HOLDER, "not stored any more"
    assert rig.kept() == sealed(second, 2)


def test_the_same_bytes_again_are_done_and_tell_nothing_twice_also_when_the_lease_is_over():
    rig = EscrowRig()
    value = sealed(rig.epoch, 1)
    assert rig.put(value).ok
    for _ in range(2):
        again = rig.put(value)
        assert (again.ok, again.stored, again.version_next, rig.kinds()) == (True, value.version, 2, [])
    rig.expire()
    assert rig.put(value).ok, "it is stored: that the answer was lost changes nothing"
    assert rig.unchanged(rig.put_command(value, B)).reason is Reason.NOT_HOLDER, "B did not seal it"


def test_other_bytes_under_a_stored_version_are_refused():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    outcome = rig.unchanged(rig.put_command(sealed(rig.epoch, 1, b"another")))
    assert (outcome.reason, outcome.version_next) == (Reason.ESCROW_CONFLICT, 2)
    assert outcome.detail == f"{rig.epoch}.1 was put, stored is {rig.epoch}.1: the next number is 2"


def test_a_number_may_leave_out_those_that_were_sealed_without_witnesses_but_never_goes_back():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 7)).ok
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 6))).reason is Reason.ESCROW_CONFLICT
    rig.say(B, licensed(version(rig.epoch, 30)))
    told = rig.unchanged(rig.put_command(sealed(rig.epoch, 7, b"another")))
    assert told.version_next == 31, "above what a site holds that no witness ever saw"
    assert rig.put(sealed(rig.epoch, 31 + VERSION_SKIP_MAX)).ok
    far = sealed(rig.epoch, 33 + 2 * VERSION_SKIP_MAX)
    assert rig.unchanged(rig.put_command(far)).reason is Reason.ESCROW_CONFLICT


def test_a_new_epoch_goes_on_with_the_numbers():
    rig = EscrowRig()
    first = rig.epoch
    assert rig.put(sealed(first, 5)).ok
    rig.held = {A: version(first, 5), B: version(first, 5)}
    rig.end()
    rig.say(B)
    second = rig.take(B)
    assert rig.unchanged(rig.put_command(sealed(second, 5), B)).reason is Reason.ESCROW_CONFLICT
    assert rig.unchanged(rig.put_command(sealed(second, 1), B)).reason is Reason.ESCROW_CONFLICT
    assert rig.put(sealed(second, 6), B).ok
    assert rig.kept().version > version(first, 5)


@pytest.mark.parametrize(
    "bad",
    [
        {"box": b"x" * 16},
        {"box": b"x" * (BOX_BYTES_MAX + 1)},
        {"nonce": b"n" * 11},
        {"key_id": "0A1B2C3D"},
        {"key_id": "0a1b2c3"},
        {"version": EscrowVersion(Epoch(0), 1)},
        {"version": EscrowVersion(Epoch(2), 0)},
        {"version": EscrowVersion(Epoch(2), VERSION_MAX + 1)},
    ],
    ids=["short", "long", "nonce", "upper", "id", "epoch", "number", "far"],
)
def test_what_cannot_be_a_sealed_key_is_refused_without_a_word_of_its_box(bad):
    rig = EscrowRig()
    value = replace(sealed(rig.epoch, 1, b"secret"), **bad)
    outcome = rig.unchanged(rig.put_command(value))
    assert outcome.reason is Reason.MALFORMED
    assert "secret" not in outcome.detail
    assert value.box.hex() not in outcome.detail
    with pytest.raises(BadValue, match=next(iter(bad))):
        check_sealed(value, "put")


def test_the_longest_box_fits_a_frame_and_a_command():
    value = SealedKey(version(1 << 61, 1 << 61), "0a1b2c3d", b"n" * 12, b"x" * BOX_BYTES_MAX)
    name = LicenseName("l" * 63)
    put: AgentMessage = EscrowPut(A, Incarnation(bytes(16)), G, Claim(bytes(16)), name, value, Nonce(bytes(16)))
    assert codec.AGENT_MESSAGES.decode(codec.AGENT_MESSAGES.encode(put)) == put


def test_a_license_without_escrow_takes_no_value():
    rig = EscrowRig(EscrowPolicy.NONE)
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 1))).reason is Reason.ESCROW_OFF


def test_below_the_level_there_is_no_escrow():
    rig = EscrowRig()
    first = Machine()
    for index, data in enumerate(rig.log[:3], start=1):
        first.apply(index, data)
    assert first.state.feature_level == 1
    need = codec.COMMANDS.need(rig.put_command(sealed(1, 1)))
    assert need == codec.COMMANDS.need(ConfigureGroup(config(licenses=REQUIRED), 1, AUTHOR)) == 2
    assert codec.COMMANDS.need(ConfigureGroup(config(), 1, AUTHOR)) == 1


# -- handing out ----------------------------------------------------------------------------------------------


def values(rig: EscrowRig) -> tuple:
    return rig.last.outcomes[0].values


def test_a_site_that_holds_less_is_handed_the_newest_until_it_says_that_it_has_it():
    rig = EscrowRig()
    value = sealed(rig.epoch, 1)
    assert rig.put(value).ok
    for _ in range(2):
        rig.say(B)
        ((one),) = values(rig)
        assert (one.group, one.item.license, one.item.sealed) == (G, KEY, value)
    rig.held[B] = value.version
    rig.say(B)
    assert values(rig) == ()
    rig.say(A, epoch=rig.epoch)
    assert len(values(rig)) == 1, "the holder, too, when its disk lost it"
    rig.say(B, licensed(version(rig.epoch, 3)))
    assert values(rig) == (), "it holds a newer one"


def test_an_agent_that_does_not_know_the_license_is_handed_nothing_but_told_that_it_may_speak_of_it():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.say(B)
    assert rig.last.outcomes[0].sites == ()
    rig.beat(B, said=rig.said(B, licenses=()))
    assert values(rig) == ()
    assert [told.version for told in rig.last.outcomes[0].sites] == [rig.group.version]


def test_many_values_have_their_turn_one_answer_after_the_other():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 1)).ok
    rig.say(B)
    one = values(rig)[0]
    many = [replace(one, group=GroupId(f"g{number}")) for number in range(10)]
    assert len(licenses.some_of(many, 3)) == licenses.VALUES_MAX
    seen = {value.group for turn in range(5) for value in licenses.some_of(many, turn)}
    assert seen == {value.group for value in many}
    assert licenses.some_of(many[:2], 9) == tuple(many[:2])


# -- what is kept ---------------------------------------------------------------------------------------------


def test_pins_and_images_hold_the_escrow_and_a_restored_machine_goes_on_with_it():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 3)).ok
    again = Machine()
    again.restore(rig.machine.snapshot())
    assert again.state.groups[G].escrow.kept[KEY].sealed == sealed(rig.epoch, 3)
    assert again.state_hash() == rig.machine.state_hash()
    assert rig.machine.state.feature_level == 2
    replay = Machine()
    for index, data in enumerate(rig.log, start=1):
        replay.apply(index, data)
    assert replay.snapshot() == rig.machine.snapshot()


def reconfigured(rig: EscrowRig, *specs: LicenseSpec) -> None:
    wanted = replace(rig.group.config, licenses=specs)
    assert rig.one(ConfigureGroup(wanted, rig.group.version, AUTHOR)).ok


@pytest.mark.parametrize("by", ["removal", "none"])
def test_a_license_that_is_kept_no_more_leaves_no_value_and_its_numbers_stay_spent(by):
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 4)).ok
    reconfigured(rig, *([] if by == "removal" else [LicenseSpec(KEY, EscrowPolicy.NONE)]))
    assert (rig.kept(), rig.group.escrow.floor) == (None, 4)
    reconfigured(rig, *REQUIRED)
    for number in (1, 4):
        assert rig.unchanged(rig.put_command(sealed(rig.epoch, number))).reason is Reason.ESCROW_CONFLICT
    assert rig.put(sealed(rig.epoch, 5)).ok


def test_a_change_of_policy_between_the_two_that_keep_values_loses_nothing():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 4)).ok
    reconfigured(rig, LicenseSpec(KEY, EscrowPolicy.OPTIONAL), LicenseSpec(OTHER))
    assert rig.kept() == sealed(rig.epoch, 4)
    assert rig.put(sealed(rig.epoch, 1), license=OTHER).ok, "another license counts for itself"


def test_a_deleted_group_leaves_its_numbers_and_none_of_its_values():
    rig = EscrowRig()
    assert rig.put(sealed(rig.epoch, 9)).ok
    rig.end()
    assert rig.one(DeleteGroup(G, AUTHOR)).ok
    assert rig.machine.state.escrow_floors == {G: 9}
    assert sealed(2, 9).box not in rig.machine.snapshot()
    assert rig.one(ConfigureGroup(config(licenses=REQUIRED), 0, AUTHOR)).ok
    assert (rig.group.escrow.floor, rig.kept(), rig.machine.state.escrow_floors) == (9, None, {})
    for witness in W[:2]:
        rig.vote(witness, epoch=rig.epoch)
    for site in (A, B):
        rig.say(site)
    rig.take(A)
    assert rig.unchanged(rig.put_command(sealed(rig.epoch, 9))).reason is Reason.ESCROW_CONFLICT
    assert rig.put(sealed(rig.epoch, 10)).ok


# -- configuration --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        ([LicenseSpec(KEY), LicenseSpec(KEY, EscrowPolicy.NONE)], "groups.erp.licenses.*licenses must differ; remove"),
        ([LicenseSpec(LicenseName(f"l{number}")) for number in range(5)], "a group has at most 4 licenses; remove"),
        ([LicenseSpec(LicenseName("Big Key"))], "groups.erp.licenses.0.name: 'Big Key' is refused: 1 to 63 of"),
    ],
    ids=["twice", "many", "name"],
)
def test_a_refused_license_names_field_value_rule_and_remedy(specs, words):
    with pytest.raises(BadValue, match=words):
        check_group(config(licenses=tuple(specs)))


def test_a_cluster_has_so_many_licenses(monkeypatch):
    monkeypatch.setattr("witness.core.group_rules.LICENSES_MAX", 2)
    rig = EscrowRig(hold=False)
    mail = config(group=GroupId("mail"), licenses=(LicenseSpec(KEY), LicenseSpec(OTHER)))
    assert rig.unchanged(ConfigureGroup(mail, 0, AUTHOR)).reason is Reason.TOO_MANY_LICENSES
    assert rig.one(ConfigureGroup(replace(mail, licenses=REQUIRED), 0, AUTHOR)).ok
    assert rig.one(ConfigureGroup(replace(rig.group.config, sites=(A, B, C)), 2, AUTHOR)).ok, "not twice"


def test_versions_are_ordered_written_and_read():
    assert version(2, 9) < version(3, 1) < version(3, 2)
    assert (version_words(version(7, 12)), version_words(None), version_words(NO_VERSION)) == ("7.12", "none", "none")
    assert (read_version("7.12", "--version"), read_version("none", "--version")) == (version(7, 12), NO_VERSION)
    for bad in ("", "7", "7.", ".3", "0.1", "1.0", "7.1.2", "-1.2", "७.1", f"1.{1 << 62}", "9" * 30 + ".1"):
        with pytest.raises(BadValue, match="--version"):
            read_version(bad, "--version")


def test_a_box_is_bound_to_everything_that_names_it():
    base = ("c" * 32, G, KEY, version(3, 4), "0a1b2c3d")
    others = [("d" * 32,), (base[0], GroupId("mail")), (*base[:2], OTHER), (*base[:3], version(3, 5))]
    others += [(*base[:3], version(4, 4)), (*base[:4], "0a1b2c3e")]
    made = {associated_data(*base)} | {associated_data(*(*other, *base[len(other) :])) for other in others}
    assert len(made) == 1 + len(others)
    assert b"thirdsite-escrow-1" in associated_data(*base)
