"""The snapshot file: whole and of this cluster, or refused; and the transfer that puts one together from chunks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto.errors import DurabilityLost
from proto.units import NS_PER_S, ClusterId, WitnessId
from witness.raft.messages import CHUNK_BYTES_MAX
from witness.raft.port import SnapshotRefused
from witness.raft.snapshot_file import Snapshot, decode_snapshot, encode_snapshot, read_snapshot, write_snapshot
from witness.raft.snapshot_transfer import Chunk, SnapshotTransfer

CLUSTER = ClusterId("ef" * 16)
W2, W3 = WitnessId("w2"), WitnessId("w3")
SNAPSHOT = Snapshot((b"\0prev", 41, 3), (b"\0last", 42, 4), b"the image" * 20)
DATA = encode_snapshot(SNAPSHOT, CLUSTER)


def test_it_comes_back_as_it_was() -> None:
    assert decode_snapshot(DATA, CLUSTER) == SNAPSHOT


def test_damage_of_any_byte_is_refused() -> None:
    for at in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises(SnapshotRefused):
            decode_snapshot(bytes(damaged), CLUSTER)


def test_a_torn_file_is_refused_at_every_length() -> None:
    for length in range(len(DATA)):
        with pytest.raises(SnapshotRefused):
            decode_snapshot(DATA[:length], CLUSTER)
    with pytest.raises(SnapshotRefused):
        decode_snapshot(DATA + b"\0", CLUSTER)


def test_another_clusters_is_refused() -> None:
    with pytest.raises(SnapshotRefused, match="of cluster"):
        decode_snapshot(DATA, ClusterId("00" * 16))


@pytest.mark.parametrize(
    "snapshot",
    [
        Snapshot((b"\0a", 41, 3), (b"\0b", 43, 4), b""),
        Snapshot((b"\0a", 41, 5), (b"\0b", 42, 4), b""),
        Snapshot((b"\2a", 41, 3), (b"\0b", 42, 4), b""),
        Snapshot((b"", 41, 3), (b"\0b", 42, 4), b""),
    ],
)
def test_entries_that_cannot_end_a_log_are_refused(snapshot: Snapshot) -> None:
    with pytest.raises(SnapshotRefused):
        decode_snapshot(encode_snapshot(snapshot, CLUSTER), CLUSTER)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(SnapshotRefused):
        decode_snapshot(data, CLUSTER)


def test_a_file_replaces_its_predecessor_whole(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path, CLUSTER) is None
    write_snapshot(tmp_path, DATA)
    later = Snapshot((b"\0last", 42, 4), (b"\1", 43, 5), b"other")
    write_snapshot(tmp_path, encode_snapshot(later, CLUSTER))
    assert read_snapshot(tmp_path, CLUSTER) == later
    assert [found.name for found in tmp_path.iterdir()] == ["snapshot.bin"]


def test_a_snapshot_that_cannot_be_written_ends_the_process(tmp_path: Path) -> None:
    with pytest.raises(DurabilityLost):
        write_snapshot(tmp_path / "missing", DATA)


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "snapshot.bin").mkdir()
    with pytest.raises(SnapshotRefused):
        read_snapshot(tmp_path, CLUSTER)


# -- transfer ------------------------------------------------------------------------------------------------

BIG = Snapshot(SNAPSHOT.previous, SNAPSHOT.last, random.Random(1).randbytes(3 * CHUNK_BYTES_MAX))
BIG_DATA = encode_snapshot(BIG, CLUSTER)


def transfer(data: bytes | None = BIG_DATA) -> SnapshotTransfer:
    return SnapshotTransfer(CLUSTER, lambda: data)


def chunks_of(sender: SnapshotTransfer, peer: WitnessId = W2, now_ns: int = 0) -> list[Chunk]:
    chunks = []
    while not chunks or not chunks[-1][2]:
        chunk = sender.next_chunk(peer, now_ns)
        assert chunk is not None
        chunks.append(chunk)
    return chunks


def test_chunks_make_the_snapshot_again() -> None:
    sender, receiver = transfer(), transfer(None)
    chunks = chunks_of(sender)
    assert len(chunks) == 4
    assert [receiver.received(W3, chunk) for chunk in chunks[:-1]] == [None] * 3
    assert receiver.received(W3, chunks[-1]) == (BIG, BIG_DATA)
    assert sender.finished == {W2: 42}


def test_a_missing_foreign_or_changed_chunk_voids_the_whole() -> None:
    chunks = chunks_of(transfer())
    for altered in (
        [chunks[0], *chunks[2:]],
        [*chunks[:2], (chunks[2][0][::-1], *chunks[2][1:]), chunks[3]],
        [chunks[0], (*chunks[1][:3], b"j" * 32, *chunks[1][4:]), *chunks[2:]],
        chunks[1:],
    ):
        receiver = transfer(None)
        assert [receiver.received(W3, chunk) for chunk in altered] == [None] * len(altered)


def test_chunks_of_two_senders_never_mix() -> None:
    chunks, receiver = chunks_of(transfer()), transfer(None)
    receiver.received(W3, chunks[0])
    assert [receiver.received(W2, chunk) for chunk in chunks[1:]] == [None] * 3
    receiver.received(W3, chunks[0])
    receiver.cancel(W3)
    assert [receiver.received(W3, chunk) for chunk in chunks[1:]] == [None] * 3


def test_a_snapshot_of_another_cluster_is_counted_and_refused() -> None:
    receiver = SnapshotTransfer(ClusterId("00" * 16), lambda: None)
    assert [receiver.received(W3, chunk) for chunk in chunks_of(transfer())] == [None] * 4
    assert receiver.refused == 1


def test_a_giant_announcement_is_not_begun() -> None:
    receiver = transfer(None)
    receiver.received(W3, (b"x", True, False, b"i" * 32, 0, 1 << 50))
    assert receiver.received(W3, (b"x", False, False, b"i" * 32, 1, 1 << 50)) is None


def test_one_peer_is_not_sent_snapshots_without_end() -> None:
    sender = transfer()
    chunks_of(sender)
    assert sender.next_chunk(W2, NS_PER_S // 2) is None
    assert sender.next_chunk(W3, NS_PER_S // 2) is not None
    assert sender.next_chunk(W2, NS_PER_S) is not None


def test_without_a_snapshot_there_is_nothing_to_send() -> None:
    assert transfer(None).next_chunk(W2, 0) is None
