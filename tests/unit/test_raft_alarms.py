"""What no sound and honest peer sends: dropped, counted, and logged as an alarm."""

from __future__ import annotations

import hashlib

import pytest
from trio_rig import CLUSTER, IDS, STEP_NS, State, Trio

from proto.units import NS_PER_S, WitnessId
from tests.unit.test_raft_filter import W1, W2, W3, View, append, make
from witness.raft.message_filter import Verdict
from witness.raft.messages import NUMBER_MAX, Message
from witness.raft.peer_log import AlarmLog
from witness.raft.port import Role, SnapshotRefused
from witness.raft.snapshot_file import Snapshot, encode_snapshot


def test_two_leaders_of_one_term_are_noticed() -> None:
    for view in (View(role=Role.LEADER, leader=W1), View(leader=W3)):
        filter_ = make()
        assert filter_.inbound(W2, append(8, []), view, 0) == Verdict()
        assert filter_.counters["two_leaders"] == 1


def test_a_conflict_with_what_is_committed_is_dropped() -> None:
    filter_ = make()
    assert filter_.inbound(W2, append(6, [(b"\0x", 7, 5)]), View(), 0) == Verdict()
    assert filter_.counters["committed_conflict"] == 1


@pytest.mark.parametrize(
    ("entries", "dropped"),
    [
        ([(b"\0x", 7, 3), (b"\0x", 8, 4), (b"\0x", 9, 4), (b"\0x", 10, 5), (b"\0y", 11, 5)], False),
        ([(b"\0y", 7, 3)], True),  # committed
        ([(b"\0x", 7, 3), (b"\0x", 8, 4), (b"\0y", 9, 4)], True),  # not committed: no truncation without a conflict
        ([(b"\0x", 7, 3), (b"\0x", 8, 4), (b"\0y", 9, 5)], False),  # a conflict of terms
    ],
)
def test_d57_an_entry_with_other_bytes_under_its_index_and_term_is_dropped(
    entries: list[tuple[bytes, int, int]], dropped: bool
) -> None:
    filter_ = make()
    verdict = filter_.inbound(W2, append(6, entries, prevLogTerm=3), View(), 0)
    assert (verdict == Verdict()) is dropped
    assert filter_.counters["entry_altered"] == dropped
    assert ("entry_altered" in filter_.alarms) is dropped
    assert filter_.leader_heard_ns == (None if dropped else 0), "who sends it is not heard as a leader"


def test_d57_an_alarm_is_logged_once_a_minute_while_it_lasts() -> None:
    log, alarms, second = AlarmLog(W1), {"entry_altered": "w2 sends it"}, NS_PER_S
    assert log.look({}, {}, 0) == []
    assert log.look(alarms, {"entry_altered": 1}, 0) == ["entry_altered"]
    assert log.look(alarms, {"entry_altered": 2}, second) == []
    assert log.look(alarms, {"entry_altered": 2}, 61 * second) == ["entry_altered"]
    assert log.look(alarms, {"entry_altered": 2}, 200 * second) == []


@pytest.mark.parametrize(("ahead", "taken"), [(0, True), (1, False), (NUMBER_MAX // 2, False)])
def test_a_snapshot_of_a_later_term_than_its_senders_is_not_taken(trio: Trio, ahead: int, taken: bool) -> None:
    """It would carry us past every bound for terms, up to the last one, after which no election is possible."""
    victim, term = follower_of(trio)
    node = trio.nodes[victim]
    answers = sends(trio, victim, Snapshot((b"\1", 998, term), (b"\1", 999, term + ahead), b"forged"))
    status = node.status()
    assert (trio.states[victim].data == [b"forged"], status.applied_index == 999) == (taken, taken)
    assert any(message.get("success") and message["next_node_idx"] == 1_000 for message in answers) is taken
    assert status.term == term
    assert node.transfer.refused == node.filter.counters["snapshot_of_later_term"] == (not taken)
    assert list(node.filter.alarms) == ([] if taken else ["snapshot_of_later_term"])
    trio.step(1_000)
    assert taken or trio.nodes[victim].status().leader == trio.leader(), "it goes on as before"


@pytest.mark.parametrize(("of_entry", "taken"), [(999, True), (1_000, False)])
def test_a_snapshot_with_an_image_beyond_its_end_is_not_taken(
    trio: Trio, monkeypatch: pytest.MonkeyPatch, of_entry: int, taken: bool
) -> None:
    """The next entry would be applied twice, which ends the process, at every start again."""

    def restore(state: State, image: bytes, last_index: int) -> None:
        if int(image) > last_index:
            raise SnapshotRefused(f"its state is of entry {int(image)}, but it ends at {last_index}")
        state.data = [image]

    monkeypatch.setattr(State, "restore", restore)
    victim, term = follower_of(trio)
    node, before = trio.nodes[victim], trio.nodes[victim].status()
    answers = sends(trio, victim, Snapshot((b"\1", 998, term), (b"\1", 999, term), b"%d" % of_entry))
    assert (trio.states[victim].data == [b"before"]) is not taken
    assert (node.status().applied_index == before.applied_index) is not taken
    assert (trio.stores[victim].snapshot_bytes() is None) is not taken, "nothing of it is on the disk"
    assert any(message.get("success") and message["next_node_idx"] == 1_000 for message in answers) is taken
    assert node.transfer.refused == node.filter.counters["snapshot_of_no_use"] == (not taken)
    assert list(node.filter.alarms) == ([] if taken else ["snapshot_of_no_use"])
    trio.step(1_000)
    assert taken or trio.nodes[victim].status().leader == trio.leader(), "it goes on as before"


def follower_of(trio: Trio) -> tuple[WitnessId, int]:
    """One that the leader can deceive, and its term."""
    trio.commit(b"before")
    victim = next(witness for witness in IDS if witness != trio.leader())
    return victim, trio.nodes[victim].status().term


def sends(trio: Trio, victim: WitnessId, snapshot: Snapshot) -> list[Message]:
    """The leader sends a snapshot in one chunk; what the victim says next."""
    leader = trio.leader()
    node, term, data = trio.nodes[victim], trio.nodes[victim].status().term, encode_snapshot(snapshot, CLUSTER)
    chunk = (data, True, True, hashlib.sha256(data).digest(), 0, len(data))
    stamps = {"last": 999, "sent": 1, "echo": 0, "pace": 0}
    node.receive(leader, {"type": "append_entries", "term": term, "commit_index": 0, "serialized": chunk, **stamps}, 9)
    trio.sent.clear()
    trio.step(STEP_NS // 1_000_000)
    return [message for sender, _, message in trio.sent if sender == victim]
