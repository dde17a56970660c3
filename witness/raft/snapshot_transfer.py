"""How the engine makes, sends and receives snapshots; takes the place of the library's Serializer.

Rules: a received snapshot is put together in memory within a bound, by its id and offsets, and touches nothing
before it is complete and verified (D-9); a chunk that does not continue what is here voids it, so two connections
or two leaders can never mix. At most CHUNKS_IN_FLIGHT_MAX chunks of one peer are unanswered, so that a heartbeat never
waits behind more than these; a sender starts over for one peer at most once a second, and ever more seldom with an
image that the peer did not take, so that one that refuses it cannot keep the leader busy. An image for which the disk
has no room is refused with its first chunk, and again when it is complete: an attempt to write it would end the
process, and the next one after it. No fork (D-27).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from proto.units import NS_PER_S, ClusterId, WitnessId
from witness.raft.messages import CHUNK_BYTES_MAX
from witness.raft.port import SnapshotRefused
from witness.raft.snapshot_file import SNAPSHOT_BYTES_MAX, Snapshot, decode_snapshot, encode_snapshot

RESTART_AFTER_NS = NS_PER_S
RESTART_LONGEST_NS = 8 * NS_PER_S
"""Between two attempts with one image over one connection."""
CHUNKS_IN_FLIGHT_MAX = 4

Chunk = tuple[bytes, bool, bool, bytes, int, int]
"""data, first, last, id of the snapshot, offset, total bytes; the engine itself reads only the third field."""


@dataclass(slots=True)
class _Sending:
    identity: bytes
    data: bytes
    last_index: int
    offset: int = 0
    unanswered_ns: deque[int] = field(default_factory=deque)
    """When each chunk that was not answered yet was sent."""


@dataclass(slots=True)
class _Receiving:
    sender: WitnessId
    identity: bytes
    total: int
    data: bytearray = field(default_factory=bytearray)


class SnapshotTransfer:
    def __init__(
        self,
        cluster_id: ClusterId,
        read_file: Callable[[], bytes | None],
        fits: Callable[[int], bool] = lambda _size: True,
    ) -> None:
        """`fits`: the disk has room for so many bytes."""
        self._cluster_id = cluster_id
        self._read_file = read_file
        self._fits = fits
        self._sending: dict[WitnessId, _Sending] = {}
        self._started_ns: dict[WitnessId, int] = {}
        self._tried: dict[WitnessId, tuple[bytes, int]] = {}
        """Which image each peer was sent last over its connection, and how long to wait before the next attempt."""
        self._receiving: _Receiving | None = None
        self._current: tuple[bytes, bytes, int] | None = None
        self.finished: dict[WitnessId, int] = {}
        """Peers that got the last chunk, with the snapshot's last index; the adapter takes them from here."""
        self.has_room = False
        self.refused = 0
        """Received snapshots that were damaged or foreign; shown in the metrics."""
        self.without_room = 0
        """How often a snapshot was refused because the disk has no room for it; in the metrics, too."""
        self.lacks_room_for: int | None = None
        """The size of the last one that was refused so; None once a transfer was taken."""

    # -- sending ---------------------------------------------------------------------------------------------

    def made(self, snapshot: Snapshot) -> bytes:
        """The bytes for the file; peers get them too from now on."""
        data = encode_snapshot(snapshot, self._cluster_id)
        self._current = None
        return data

    def next_chunk(self, peer: WitnessId, now_ns: int) -> Chunk | None:
        sending = self._sending.get(peer)
        if sending is None:
            sending = self._begin(peer, now_ns)
            if sending is None:
                return None
        if len(sending.unanswered_ns) >= CHUNKS_IN_FLIGHT_MAX:
            return None
        sending.unanswered_ns.append(now_ns)
        data = sending.data[sending.offset : sending.offset + CHUNK_BYTES_MAX]
        offset, total = sending.offset, len(sending.data)
        sending.offset += len(data)
        last = sending.offset == total
        if last:
            del self._sending[peer]
            self.finished[peer] = sending.last_index
            self._release()
        return data, offset == 0, last, sending.identity, offset, total

    def answered(self, peer: WitnessId, sent_ns: int) -> None:
        """`peer` has read what was sent to it at `sent_ns`, and everything before."""
        sending = self._sending.get(peer)
        if sending is None:
            return
        while sending.unanswered_ns and sending.unanswered_ns[0] <= sent_ns:
            sending.unanswered_ns.popleft()
            self.has_room = True

    def take_room(self) -> bool:
        """True once after an answer made room for more chunks."""
        has_room, self.has_room = self.has_room, False
        return has_room

    def _begin(self, peer: WitnessId, now_ns: int) -> _Sending | None:
        started_ns = self._started_ns.get(peer)
        before, wait_ns = self._tried.get(peer, (b"", RESTART_AFTER_NS))
        if started_ns is not None and now_ns - started_ns < wait_ns:
            return None
        if self._current is None:
            data = self._read_file()
            if data is None:
                return None
            last_index = decode_snapshot(data, self._cluster_id).last_index
            self._current = (hashlib.sha256(data).digest(), data, last_index)
        identity, data, last_index = self._current
        self._started_ns[peer] = now_ns
        again = identity == before
        self._tried[peer] = identity, min(2 * wait_ns, RESTART_LONGEST_NS) if again else RESTART_AFTER_NS
        sending = self._sending[peer] = _Sending(identity, data, last_index)
        return sending

    def cancel(self, peer: WitnessId) -> None:
        """The connection to `peer` ended: what was under way is void on both sides."""
        self._sending.pop(peer, None)
        self._tried.pop(peer, None)
        self._release()
        if self._receiving is not None and self._receiving.sender == peer:
            self._receiving = None

    def _release(self) -> None:
        if not self._sending:
            self._current = None

    # -- receiving -------------------------------------------------------------------------------------------

    def received(self, peer: WitnessId, chunk: Chunk) -> tuple[Snapshot, bytes] | None:
        """The snapshot and its bytes once complete and verified; None while incomplete or when refused."""
        data, first, last, identity, offset, total = chunk
        if first:
            taken = total <= SNAPSHOT_BYTES_MAX and self._has_room(total)
            self._receiving = _Receiving(peer, identity, total) if taken else None
        receiving = self._receiving
        if receiving is None:
            return None
        continues = receiving.sender == peer and receiving.identity == identity and receiving.total == total
        if not continues or len(receiving.data) != offset:
            self._receiving = None
            return None
        receiving.data += data
        if not last:
            return None
        self._receiving = None
        if not self._has_room(total):
            return None
        complete = bytes(receiving.data)
        if hashlib.sha256(complete).digest() != identity:
            self.refused += 1
            return None
        try:
            return decode_snapshot(complete, self._cluster_id), complete
        except SnapshotRefused:
            self.refused += 1
            return None

    def _has_room(self, total: int) -> bool:
        if self._fits(total):
            self.lacks_room_for = None
            return True
        self.without_room += 1
        self.lacks_room_for = total
        return False
