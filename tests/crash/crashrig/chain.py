"""The replicated state of the campaign: a chain of hashes over everything ever applied, and the texts since a barrier.

Two copies with the same chain applied the same commands in the same order. A barrier is a command too: it closes the
list of texts before it, which all copies then show until the next one, so that a round is judged on a whole and closed
list, however long the campaign runs. As the product does, each command also writes an event, and now and then a mark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgpack

from proto.units import LogIndex
from witness.raft.port import CommittedEntry, ConsensusStatus
from witness.raft.store import Store

BARRIER = b"barrier:"
TEXT_BYTES_MAX = 40
MARK_EVERY = 20
SEGMENTS_KEPT = 8
START = b"\0" * 16


def linked(chain: bytes, key: bytes) -> bytes:
    return hashlib.sha256(chain + key).digest()[:16]


def key_of(data: bytes) -> bytes:
    """What names a command; padding follows a line feed."""
    return data.partition(b"\n")[0][:TEXT_BYTES_MAX]


class Chain:
    """Implements witness.raft.port.Replicated."""

    def __init__(self, store: Store, ballast: int) -> None:
        self._store = store
        self._ballast = bytes(ballast)
        self.count = 0
        self.chain = START
        self.recent: list[bytes] = []
        self.base: tuple[int, bytes] = (0, START)
        self.segments: list[dict[str, Any]] = []
        """The latest closed lists, oldest first: a barrier that was proposed twice closes two."""
        self.waiting: dict[bytes, list[Callable[[], None]]] = {}
        self.restores = 0
        self._released: list[Callable[[], None]] = []

    def apply(self, entry: CommittedEntry) -> None:
        key = key_of(entry.data)
        self.count += 1
        self.chain = linked(self.chain, key)
        self._store.append_events([(self.count, self.chain + key)])
        if self.count % MARK_EVERY == 0:
            self._store.put_meta("campaign", self.chain)
        if key.startswith(BARRIER):
            end = (self.count, self.chain)
            segment = {"barrier": key, "texts": self.recent, "base": self.base, "end": end}
            self.segments = [*self.segments, segment][-SEGMENTS_KEPT:]
            self.recent, self.base = [], end
        else:
            self.recent.append(key)
        self._released += self.waiting.pop(key, [])

    def snapshot(self) -> bytes:
        packed: bytes = msgpack.packb([self.count, self.chain, self.recent, self.base, self.segments, self._ballast])
        return packed

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        value = msgpack.unpackb(image, max_array_len=1_000_000)
        self.count, self.chain, self.recent, base, self.segments, _ = value
        self.base = tuple(base)
        self.restores += 1

    def turn_synced(self) -> None:
        released, self._released = self._released, []
        for waiter in released:
            waiter()

    def status_changed(self, status: ConsensusStatus) -> None:
        """The campaign asks when it wants to know."""
