"""The machine is total and deterministic: whatever comes, every replica answers alike and goes on."""

from __future__ import annotations

import pytest
from core_rig import AUTHOR, SESSION, A, B, G, Rig, W, config, entry_bytes, frame, report, token
from core_rig import entry as group_entry
from core_strategies import ENTRIES
from hypothesis import given, settings
from hypothesis import strategies as st

from proto.codec import level_of
from proto.commands import ConfigureGroup, DeleteGroup, FoundCluster
from proto.decisions import Reason
from proto.events import GENESIS_HASH
from proto.features import FEATURE_MAX, UpgradeRequired
from proto.health import SiteState
from proto.invariants import InvariantViolation
from proto.units import InstantNs
from witness.core import machine as machine_room
from witness.core.ledger import verify
from witness.core.machine import Machine
from witness.core.node import WitnessNode
from witness.core.transitions import Phase


def prelude() -> Machine:
    rig = Rig()
    rig.beat(A)
    rig.beat(B)
    return rig.machine


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_change_nothing_but_the_index(data):
    machine = prelude()
    machine.state.applied_index = 50
    before = machine.state_hash()
    try:
        applied = machine.apply(51, data)
    except UpgradeRequired:
        assert level_of(data) > FEATURE_MAX
        assert machine.state_hash() == before
        return
    assert [outcome.reason for outcome in applied.outcomes] in ([Reason.MALFORMED], [])
    machine.state.applied_index = 50
    assert machine.state_hash() == before


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_is_judged_alike_and_replicas_stay_equal(at, value):
    data = bytearray(entry_bytes([frame(A, group_entry(said=report())), ConfigureGroup(config(), 1, AUTHOR)]))
    data[at % len(data)] = value
    one, other = prelude(), prelude()
    assert what_becomes(one, bytes(data)) == what_becomes(other, bytes(data))
    assert one.state_hash() == other.state_hash()


def what_becomes(machine: Machine, data: bytes) -> object:
    try:
        return [outcome.reason for outcome in machine.apply(100, data).outcomes]
    except UpgradeRequired as error:  # the flipped byte is the level's or a tag: of a newer version, as far as it shows
        return str(error)


@given(ENTRIES)
@settings(max_examples=60)
def test_any_commands_are_answered_one_by_one_and_keep_the_rules(entries):
    machine = prelude()
    epoch = {G: machine.state.groups[G].epoch}
    events = list(machine.state.ledger.recent)
    for number, commands in enumerate(entries, start=100):
        applied = machine.apply(number, entry_bytes(commands))
        events += applied.events
        assert len(applied.outcomes) == len(commands)
        for name, group in machine.state.groups.items():
            assert group.epoch >= epoch.get(name, 0)
            epoch[name] = group.epoch
            check_shape(group)
    assert verify(events, GENESIS_HASH) is None


def check_shape(group):
    """Phase and lease record always fit each other."""
    lease = group.lease
    assert (lease is None) == (group.phase is Phase.VACANT)
    if lease is None:
        return
    assert (lease.site is None) == (group.phase is Phase.BARRED)
    assert (lease.claim is not None) == (group.phase in (Phase.HELD, Phase.REVOKING, Phase.OVERDUE))
    assert (lease.revocation is not None) == (group.phase in (Phase.REVOKING, Phase.OVERDUE))
    assert (lease.renewal >= 1) == (lease.claim is not None)
    assert lease.epoch == group.epoch
    assert len(lease.votes) < 2


@given(ENTRIES, st.data())
@settings(max_examples=60)
def test_a_snapshot_in_the_middle_changes_nothing(entries, data):
    straight, through = prelude(), prelude()
    cut = data.draw(st.integers(0, len(entries)))
    for number, commands in enumerate(entries):
        if number == cut:
            image = through.snapshot()
            through = Machine()
            through.restore(image)
            assert through.snapshot() == image
        bytes_of = entry_bytes(commands)
        one, other = straight.apply(100 + number, bytes_of), through.apply(100 + number, bytes_of)
        assert one.outcomes == other.outcomes
        assert one.events == other.events
    assert straight.snapshot() == through.snapshot()


@given(ENTRIES)
@settings(max_examples=30)
def test_who_asked_changes_the_answers_and_never_the_state(entries):
    """Answers are made only for the session that asks; the replicated state must not know."""
    image = prelude().snapshot()
    asked, other = Machine(SESSION), Machine(b"t" * 16)
    asked.restore(image)
    other.restore(image)
    for number, commands in enumerate(entries, start=100):
        data = entry_bytes(commands)
        mine, theirs = asked.apply(number, data), other.apply(number, data)
        assert [outcome.reason for outcome in mine.outcomes] == [outcome.reason for outcome in theirs.outcomes]
    assert asked.state_hash() == other.state_hash()


def test_an_index_is_applied_once():
    machine = prelude()
    machine.apply(100, b"")
    with pytest.raises(InvariantViolation):
        machine.apply(100, b"")


def test_a_rule_that_raises_ends_the_process(monkeypatch):
    def broken(scope, command):
        raise KeyError("a bug of ours")

    monkeypatch.setitem(machine_room._RULES, FoundCluster, broken)
    with pytest.raises(InvariantViolation):
        prelude().apply(100, entry_bytes([FoundCluster("c" * 32, W)]))


def test_every_command_has_a_rule():
    from typing import get_args

    from proto.commands import Command

    assert set(machine_room._RULES) == set(get_args(Command))


def test_a_group_that_is_heard_and_deleted_in_one_entry_does_not_end_the_witness():
    """Once a KeyError in the node on every witness at once."""
    node = WitnessNode(self_id=W[0], cluster="c" * 32, witnesses=W, session=SESSION, now=InstantNs(0))
    rig = Rig()
    node.restore(rig.machine.snapshot(), InstantNs(1))
    beat = frame(A, group_entry(said=report(state=SiteState.STANDBY)), incarnation="i1", seq=9)
    node.apply(rig.index + 1, entry_bytes([beat, DeleteGroup(G, AUTHOR)]), 0, InstantNs(2))
    assert G not in node.machine.state.groups


def test_tokens_are_sixteen_bytes():
    assert len(token("x")) == 16
