"""The replicated state under the fuzz: small, and such that a single wrong byte in it shows.

Rule: the state at an index is a digest over everything that was applied up to there. It is computed by each replica
from what that replica itself applied or restored, so that replicas with equal indexes must have equal states, and
two that differ anywhere in their past differ from there on. An image carries ballast that follows from the digest.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Protocol

from proto.units import LogIndex, WitnessId
from witness.raft.port import CommittedEntry, ConsensusStatus, SnapshotRefused

_IMAGE = struct.Struct(">QQ16s")
_DIGEST_BYTES = 16


class ReplicaWatch(Protocol):
    def applied(self, replica: Replica, entry: CommittedEntry, before: int) -> None:
        """`before`: the index that was applied last before this one."""

    def restored(self, replica: Replica) -> None: ...
    def synced(self, replica: Replica) -> None: ...
    def status(self, replica: Replica, status: ConsensusStatus) -> None: ...


class Replica:
    """Implements witness.raft.port.Replicated."""

    def __init__(self, witness: WitnessId, watch: ReplicaWatch, ballast_bytes: int) -> None:
        self.witness = witness
        self.index = 0
        self.count = 0
        self.digest = bytes(_DIGEST_BYTES)
        self._watch = watch
        self._ballast_bytes = ballast_bytes

    def apply(self, entry: CommittedEntry) -> None:
        before, self.index = self.index, int(entry.index)
        self.count += 1
        self.digest = hashlib.blake2b(entry.data, digest_size=_DIGEST_BYTES, key=self.digest).digest()
        self._watch.applied(self, entry, before)

    def snapshot(self) -> bytes:
        return _IMAGE.pack(self.index, self.count, self.digest) + self._ballast(self.digest)

    def restore(self, image: bytes, last_index: LogIndex) -> None:
        if len(image) < _IMAGE.size:
            raise SnapshotRefused(f"an image of {len(image)} bytes")
        index, count, digest = _IMAGE.unpack_from(image)
        if image[_IMAGE.size :] != self._ballast(digest):
            raise SnapshotRefused("the image's ballast is another one")
        if index > last_index:
            raise SnapshotRefused(f"the image is of entry {index}, beyond {last_index}")
        self.index, self.count, self.digest = index, count, digest
        self._watch.restored(self)

    def turn_synced(self) -> None:
        self._watch.synced(self)

    def status_changed(self, status: ConsensusStatus) -> None:
        self._watch.status(self, status)

    def _ballast(self, digest: bytes) -> bytes:
        return (digest * (self._ballast_bytes // _DIGEST_BYTES + 1))[: self._ballast_bytes]
