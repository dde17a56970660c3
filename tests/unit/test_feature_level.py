"""FAULTS O7: witnesses of two versions in one cluster; what is raised, refused, and where an older one stops."""

from __future__ import annotations

import pytest
from core_rig import AUTHOR, A, W, config, entry, entry_bytes, frame, report
from version_rig import NEW, OLD, Cluster, Praise, level_two

from proto import codec
from proto.commands import ConfigureGroup, RaiseFeatureLevel
from proto.decisions import Reason
from proto.errors import FrameRefused
from proto.events import EventKind
from proto.features import UpgradeRequired
from witness.core.features import holding_back, next_level
from witness.core.machine import Machine
from witness.core.snapshot import decode_image, encode_image

pytestmark = pytest.mark.usefixtures("level_two")
CREATE = ConfigureGroup(config(), 0, AUTHOR)
__all__ = ["level_two"]


def heard(cluster: Cluster, seq: int) -> None:
    """An agent speaks, so that the state has a record with the field of level 2."""
    assert cluster.ask(W[0], frame(A, entry(said=report()), seq=seq)).reason is Reason.OK


def test_a_mixed_cluster_works_at_the_level_of_the_oldest_and_its_states_are_equal():
    cluster = Cluster(NEW, OLD, NEW)
    cluster.passes()
    for number, witness in enumerate(W):
        outcome = cluster.ask(witness, CREATE if number == 0 else ConfigureGroup(config(), number + 1, AUTHOR))
        assert outcome.reason in (Reason.OK, Reason.VERSION_CONFLICT, Reason.ALREADY_SO)
    heard(cluster, 1)
    assert {host.level for host in cluster.hosts.values()} == {1}
    assert cluster.equal()


def test_what_needs_more_is_refused_before_the_log_and_the_older_witness_is_named():
    cluster = Cluster(NEW, OLD, NEW)
    cluster.passes()
    outcome = cluster.ask(W[0], Praise(AUTHOR))
    assert outcome.reason is Reason.FEATURE_LEVEL
    assert outcome.detail == (
        "this needs feature level 2, the cluster works at 1: upgrade w2 (it can work up to level 1) first"
    )
    assert len(cluster.hosts) == 3
    assert cluster.equal()


def test_the_level_rises_once_the_last_witness_is_upgraded_and_not_before():
    cluster = Cluster(OLD, OLD, OLD)
    cluster.passes()
    cluster.ask(W[0], CREATE)
    heard(cluster, 1)
    for witness in W:
        assert {host.level for host in cluster.hosts.values()} == {1}
        cluster.stop(witness)
        cluster.passes()
        assert {host.level for host in cluster.hosts.values()} == {1}, "a missing witness holds the level back"
        cluster.start(witness, NEW)
        cluster.passes()
    assert {host.level for host in cluster.hosts.values()} == {2}
    assert cluster.equal()
    events = cluster.hosts[W[0]].node.machine.state.ledger.recent
    assert [event.kind for event in events].count(EventKind.FEATURE_RAISED) == 1
    assert all(host.marks[-1].level == 2 for host in cluster.hosts.values())
    assert cluster.ask(W[1], Praise(AUTHOR)).ok
    assert all(host.node.machine.state.agents[A].clash_told for host in cluster.hosts.values())
    assert cluster.equal()


@pytest.mark.parametrize("by_snapshot", [False, True], ids=["log", "snapshot"])
def test_a_downgraded_witness_stops_with_the_remedy_and_the_others_go_on(by_snapshot):
    cluster = Cluster(NEW, NEW, NEW)
    cluster.passes()
    assert {host.level for host in cluster.hosts.values()} == {2}
    if by_snapshot:
        cluster.keep_snapshot(W[2])
    cluster.stop(W[2])
    cluster.start(W[2], OLD)
    cluster.passes()
    assert set(cluster.hosts) == {W[0], W[1]}
    assert "install the version that the other witnesses run" in cluster.stopped[W[2]]
    assert cluster.ask(W[0], Praise(AUTHOR)).ok
    cluster.start(W[2], NEW)
    cluster.passes()
    assert cluster.equal()


def test_an_older_machine_stops_at_the_entry_that_raises_and_has_changed_nothing():
    old, new = Machine(feature_max=OLD), Machine(feature_max=NEW)
    data = entry_bytes([CREATE, RaiseFeatureLevel(2)])
    assert codec.level_of(data) == 2
    before = old.snapshot()
    with pytest.raises(UpgradeRequired, match="an entry of the log needs feature level 2"):
        old.apply(1, data)
    assert old.snapshot() == before
    assert new.apply(1, data).outcomes[1].ok
    with pytest.raises(UpgradeRequired, match="image"):
        old.restore(new.snapshot())
    assert old.snapshot() == before


def test_the_level_is_seen_before_anything_else_of_the_entry():
    with pytest.raises(UpgradeRequired):
        Machine(feature_max=OLD).apply(1, bytes([0x93, 2]) + b"whatever a later version puts there")


def test_a_command_unknown_at_a_known_level_stops_too_and_is_never_skipped():
    known = bytearray(codec.encode_command(Praise(AUTHOR)))
    known[1] = 1
    data = codec.encode_entry(codec.decode_entry(entry_bytes([])), [bytes(known)])
    with pytest.raises(UpgradeRequired, match="unknown tag 99"):
        Machine(feature_max=OLD).apply(1, data)


def test_a_proposal_above_the_level_is_refused_by_every_machine_that_can_read_it():
    """No proposer of ours writes it; a machine that got it all the same agrees with the others."""
    machine = Machine(feature_max=NEW)
    outcomes = machine.apply(1, entry_bytes([Praise(AUTHOR), CREATE])).outcomes
    assert [outcome.reason for outcome in outcomes] == [Reason.FEATURE_LEVEL, Reason.OK]


def test_real_garbage_is_still_refused_alike():
    for data in (b"", b"\xc1", b"rubbish", codec.pack([1, "w1"]), codec.pack([0, "w1", b"", 1, 1, []])):
        assert [o.reason for o in Machine(feature_max=OLD).apply(1, data).outcomes] == [Reason.MALFORMED]


def test_levels_rise_by_single_steps_and_never_fall():
    machine = Machine(feature_max=100)
    steps = [(3, Reason.FEATURE_LEVEL), (1, Reason.ALREADY_SO), (2, Reason.OK), (2, Reason.ALREADY_SO), (3, Reason.OK)]
    for index, (level, reason) in enumerate(steps, start=1):
        assert machine.apply(index, entry_bytes([RaiseFeatureLevel(level)], index)).outcomes[0].reason is reason
    assert machine.state.feature_level == 3


def test_a_raise_that_hides_behind_a_lower_level_is_malformed():
    hidden = codec.pack([1, 12, 2])
    with pytest.raises(FrameRefused, match="says level 1 and needs 2"):
        codec.COMMANDS.decode(hidden, 2)


def test_the_image_of_a_level_has_the_fields_of_that_level_and_comes_back():
    machine = Machine(feature_max=NEW)
    machine.apply(1, entry_bytes([CREATE, frame(A, entry(said=report()))]))
    at_one = encode_image(machine.state)
    assert encode_image(decode_image(at_one, OLD)) == at_one
    machine.apply(2, entry_bytes([RaiseFeatureLevel(2), Praise(AUTHOR)]))
    again = decode_image(machine.snapshot(), NEW)
    assert again.agents[A].clash_told
    assert encode_image(again) == machine.snapshot()


def test_an_agents_words_are_read_at_the_clusters_level_on_every_version():
    """A report of level 2 is refused alike by both versions while the cluster works at level 1."""
    said = bytearray(codec.REPORTS.encode(report()))
    said[1] = 2
    beat = frame(A, entry(said=bytes(said)))
    states = []
    for version in (OLD, NEW):
        machine = Machine(feature_max=version)
        outcomes = machine.apply(1, entry_bytes([CREATE, beat])).outcomes
        assert outcomes[1].answers[0].reason is Reason.MALFORMED
        states.append(machine.snapshot())
    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("known", "level", "back"),
    [
        ({W[0]: 2, W[1]: 2, W[2]: 2}, 2, []),
        ({W[0]: 2, W[1]: 3, W[2]: 1}, None, [(W[2], 1)]),
        ({W[0]: 2, W[1]: 2}, None, [(W[2], None)]),
        ({W[0]: 2}, None, [(W[1], None), (W[2], None)]),
    ],
)
def test_who_holds_the_level_back(known, level, back):
    assert next_level(1, W, known) == level
    assert holding_back(2, W, known) == back
