"""The snapshot file: one image of the replicated state with the two log entries that it ends with.

    magic 8 | version u32 | header length u32 | header (msgpack) | image | sha256 of all before

Rule: a file is complete, of this cluster and unchanged, or it is refused; nothing is ever loaded half, and the
state before stays (D-9, I7). It replaces its predecessor by rename, with file and directory synced, before any log
entry that it covers may go (D-2). On its own disk a stamp stands before it, which peers never see: the disk and the
turn of the store that it was written beside. A store of an earlier turn, or of another disk, went back in time, or
the snapshot came from elsewhere (D7).
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from proto.errors import DurabilityLost
from proto.units import ClusterId
from witness.raft.disk import Disk
from witness.raft.messages import COMMAND_BYTES_MAX, COMMAND_KINDS, NUMBER_MAX
from witness.raft.port import SnapshotRefused
from witness.raft.posix_disk import as_disk
from witness.raft.store_rows import Entry

SNAPSHOT_NAME: Final = "snapshot.bin"
MAGIC: Final = b"3SITESNP"
STAMP_MAGIC: Final = b"3SITESTP"
VERSION: Final = 1
SNAPSHOT_BYTES_MAX: Final = 512 * 1024 * 1024
_HEAD: Final = struct.Struct(">8sII")
_STAMP: Final = struct.Struct(">8s16sQI")
_DIGEST_BYTES: Final = 32
_HEADER_BYTES_MAX: Final = 2 * COMMAND_BYTES_MAX + 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    previous: Entry
    last: Entry
    image: bytes

    @property
    def last_index(self) -> int:
        return self.last[1]


def encode_snapshot(snapshot: Snapshot, cluster_id: ClusterId) -> bytes:
    header: bytes = msgpack.packb(
        {
            "cluster": cluster_id,
            "previous": list(snapshot.previous),
            "last": list(snapshot.last),
            "image_bytes": len(snapshot.image),
        }
    )
    body = _HEAD.pack(MAGIC, VERSION, len(header)) + header + snapshot.image
    return body + hashlib.sha256(body).digest()


def decode_snapshot(data: bytes, cluster_id: ClusterId) -> Snapshot:
    """The snapshot, or SnapshotRefused with what is wrong; pure."""
    if len(data) < _HEAD.size + _DIGEST_BYTES:
        raise SnapshotRefused(f"the snapshot is cut short ({len(data)} bytes)")
    magic, version, header_bytes = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise SnapshotRefused("this is not a snapshot of thirdsite")
    if version != VERSION:
        raise SnapshotRefused(f"the snapshot has version {version}, this program reads {VERSION}")
    if hashlib.sha256(memoryview(data)[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise SnapshotRefused("the snapshot is damaged: its hash does not fit")
    image_at = _HEAD.size + header_bytes
    if header_bytes > _HEADER_BYTES_MAX or image_at > len(data) - _DIGEST_BYTES:
        raise SnapshotRefused("the snapshot's header does not fit its length")
    header = _header(data[_HEAD.size : image_at])
    if header.get("cluster") != cluster_id:
        raise SnapshotRefused(f"the snapshot is of cluster {header.get('cluster')!r}, not of {cluster_id}")
    image = data[image_at:-_DIGEST_BYTES]
    if header.get("image_bytes") != len(image):
        raise SnapshotRefused(f"the image has {len(image)} bytes, its header says {header.get('image_bytes')!r}")
    previous, last = _entry(header.get("previous")), _entry(header.get("last"))
    if previous[1] + 1 != last[1] or previous[2] > last[2]:
        raise SnapshotRefused("the snapshot's last two entries do not follow one another")
    return Snapshot(previous, last, image)


def _header(packed: bytes) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(packed, max_map_len=16, max_array_len=16)
    except (ValueError, msgpack.UnpackException) as error:
        raise SnapshotRefused("the snapshot's header cannot be read") from error
    if not isinstance(header, dict):
        raise SnapshotRefused("the snapshot's header cannot be read")
    return header


def _entry(value: object) -> Entry:
    if not isinstance(value, list) or len(value) != 3:
        raise SnapshotRefused("the snapshot's last entries cannot be read")
    command, index, term = value
    fits = isinstance(command, bytes) and 1 <= len(command) <= COMMAND_BYTES_MAX and command[0] in COMMAND_KINDS
    for number in (index, term):
        fits = fits and type(number) is int and 0 <= number <= NUMBER_MAX
    if not fits:
        raise SnapshotRefused("the snapshot's last entries cannot be read")
    return command, index, term


@dataclass(frozen=True, slots=True)
class Stamp:
    """Beside which store a snapshot lies."""

    incarnation: bytes
    turn: int
    """The last one that was durable when it was written."""


def write_snapshot(where: Path | Disk, data: bytes, stamp: Stamp | None = None) -> None:
    """Durable replacement, whole or not at all. Without a stamp it fits every store of its cluster (a restore)."""
    disk = as_disk(where)
    try:
        disk.replace(SNAPSHOT_NAME, data if stamp is None else _stamped(stamp) + data)
    except OSError as error:
        raise DurabilityLost(
            f"{disk.directory / SNAPSHOT_NAME}: {error}; the snapshot may not be on disk, so the process ends"
        ) from error


def read_snapshot_bytes(where: Path | Disk) -> bytes | None:
    """The snapshot as peers get it; None when there is none yet. Check it with `decode_snapshot`."""
    found = _read_file(as_disk(where))
    return None if found is None else found[1]


def read_snapshot(where: Path | Disk, cluster_id: ClusterId, own: Stamp | None = None) -> Snapshot | None:
    """The node's own snapshot; None when there is none yet. `own`: the disk and the turn of the store beside it."""
    found = _read_file(as_disk(where))
    if found is None:
        return None
    stamp, data = found
    if own is not None and stamp is not None and stamp.incarnation != own.incarnation:
        raise SnapshotRefused("the snapshot was written on another disk than the store beside it")
    if own is not None and stamp is not None and stamp.turn > own.turn:
        raise SnapshotRefused(
            f"the snapshot was written beside turn {stamp.turn} of the store, which now ends at turn {own.turn}: the "
            "store is of an earlier time"
        )
    return decode_snapshot(data, cluster_id)


def _read_file(disk: Disk) -> tuple[Stamp | None, bytes] | None:
    try:
        data = disk.read(SNAPSHOT_NAME, SNAPSHOT_BYTES_MAX + _STAMP.size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotRefused(f"{disk.directory / SNAPSHOT_NAME} cannot be read: {error}") from error
    if not data.startswith(STAMP_MAGIC):
        return None, data
    if len(data) < _STAMP.size:
        raise SnapshotRefused(f"the snapshot is cut short ({len(data)} bytes)")
    _, incarnation, turn, crc = _STAMP.unpack_from(data)
    stamp = Stamp(incarnation, turn)
    if _stamp_crc(stamp) != crc:
        raise SnapshotRefused("the snapshot's stamp is damaged")
    return stamp, data[_STAMP.size :]


def _stamped(stamp: Stamp) -> bytes:
    return _STAMP.pack(STAMP_MAGIC, stamp.incarnation, stamp.turn, _stamp_crc(stamp))


def _stamp_crc(stamp: Stamp) -> int:
    return zlib.crc32(stamp.incarnation, zlib.crc32(stamp.turn.to_bytes(8)))
