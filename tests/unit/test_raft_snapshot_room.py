"""A snapshot for which the disk has no room: refused before it is taken, tried again seldom, and nobody ends by it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NoReturn

import pytest
from trio_rig import W3, Trio

from proto.errors import DurabilityLost
from proto.units import NS_PER_MS, NS_PER_S, ClusterId, WitnessId
from witness.raft.peer_log import RoomLog
from witness.raft.snapshot_file import Snapshot, encode_snapshot
from witness.raft.snapshot_transfer import RESTART_LONGEST_NS, Chunk, SnapshotTransfer
from witness.raft.space import SPACE_CRITICAL_BYTES, Space
from witness.raft.space import Verdict as SpaceVerdict

CLUSTER = ClusterId("ab" * 16)
W1, W2 = WitnessId("w1"), WitnessId("w2")
IMAGE = encode_snapshot(Snapshot((b"\1", 8, 1), (b"\1", 9, 1), bytes(100_000)), CLUSTER)


@pytest.mark.parametrize(("verdict", "attempts"), [(SpaceVerdict.LOW, range(1, 2)), (SpaceVerdict.OK, range(2, 6))])
def test_a_witness_refuses_what_does_not_fit_serves_on_and_takes_it_when_there_is_room(
    trio: Trio, monkeypatch: pytest.MonkeyPatch, verdict: SpaceVerdict, attempts: range
) -> None:
    """While it is LOW it asks for nothing; else the leader tries again, ever more seldom."""

    def full(_data: bytes) -> NoReturn:
        raise DurabilityLost("no space left on device")

    trio.commit(b"before")
    if trio.leader() == W3:
        trio.stop(W3)
        trio.leader()
    else:
        trio.stop(W3)
    for number in range(60):
        trio.commit(b"meanwhile%d" % number)
    trio.start(W3)
    with monkeypatch.context() as narrow:
        narrow.setattr(trio.stores[W3], "space", lambda _now_ns: Space(SPACE_CRITICAL_BYTES + 10, verdict))
        narrow.setattr(trio.stores[W3], "save_snapshot", full)
        trio.sent.clear()
        trio.step(10_000)
        status, transfer = trio.nodes[W3].status(), trio.nodes[W3].transfer
        firsts = [m for _, to, m in trio.sent if to == W3 and (m.get("serialized") or (0, 0))[1]]
        assert transfer.without_room in attempts
        assert len(firsts) == transfer.without_room, "each attempt is one, and they become seldom"
        assert transfer.lacks_room_for is not None
        assert status.leader == trio.leader(), "it follows"
        assert b"meanwhile0" not in trio.states[W3].data
    trio.step(RESTART_LONGEST_NS // NS_PER_MS + 1_000)
    assert trio.nodes[W3].transfer.lacks_room_for is None
    assert trio.states[W3].data == trio.states[trio.leader()].data


def chunks(sender: SnapshotTransfer, now_ns: int) -> list[Chunk]:
    found = []
    while True:
        chunk = sender.next_chunk(W2, now_ns)
        if chunk is None:
            return found
        found.append(chunk)
        sender.answered(W2, now_ns)
        if chunk[2]:
            return found


def test_the_room_is_judged_by_the_total_with_the_first_chunk_and_again_at_the_end() -> None:
    rooms = iter([True, False])
    asked = []

    def fits(size: int) -> bool:
        asked.append(size)
        return next(rooms)

    receiver = SnapshotTransfer(CLUSTER, lambda: None, fits)
    parts = chunks(SnapshotTransfer(CLUSTER, lambda: IMAGE), 0)
    assert len(parts) == 2
    assert [receiver.received(W1, part) for part in parts] == [None, None]
    assert asked == [len(IMAGE)] * 2
    assert (receiver.without_room, receiver.refused) == (1, 0)
    rooms = iter([False])
    assert [receiver.received(W1, part) for part in parts] == [None, None]
    assert receiver.without_room == 2, "what follows a refused first chunk is not judged again"
    rooms = iter([True, True])
    taken = [receiver.received(W1, part) for part in parts][-1]
    assert taken is not None
    assert hashlib.sha256(taken[1]).digest() == hashlib.sha256(IMAGE).digest()
    assert receiver.lacks_room_for is None


def test_an_image_that_is_not_taken_is_sent_ever_more_seldom_over_one_connection() -> None:
    sender = SnapshotTransfer(CLUSTER, lambda: IMAGE)
    starts = [tenth / 10 for tenth in range(400) if chunks(sender, tenth * NS_PER_S // 10)]
    assert starts == [0, 1, 3, 7, 15, 23, 31, 39]
    sender.cancel(W2)
    assert chunks(sender, 40 * NS_PER_S), "a new connection begins anew"
    assert not chunks(sender, 40 * NS_PER_S + NS_PER_MS)


def test_it_is_logged_once_with_the_remedy_until_one_was_taken() -> None:
    log = RoomLog(W1, Path("/var/lib/witness"))
    assert [log.look(size) for size in (None, 100, 100, 90, 200, None, 100)] == [
        *(False, True, False, False),
        *(True, False, True),
    ]
