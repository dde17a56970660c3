"""A backup file: everything that a cluster knows, in one file that describes and proves itself.

    magic 8 | version u32 | header length u32 | header (JSON) | image | (length u32 | event)* | 0 u32 | sha256 of all

The header says for people and programs what it is a backup of; the image is the replicated state, with a hash of its
own; then comes the event ledger, oldest first, one by one, so that a ledger of any length is written and read in
little memory. Rule: a file is whole, unchanged and in itself consistent, or it is refused: `verify` reads it to the
end, follows the ledger's hash chain, and compares it with the head that the image remembers. A witness that was once
sent a snapshot may lack older events: then the file says which, and everything else of it holds.

Rejected: an archive of files (a tool of the day unpacks a part of it), SQLite (a reader would need write access).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from proto import limits
from proto.codec import EVENTS
from proto.edge.identity import check_cluster_id
from proto.errors import BadValue, FrameRefused, LocalFault
from proto.events import GENESIS_HASH, Event
from proto.features import FEATURE_MAX, require_level
from proto.units import LINEAGE_BYTES, ClusterId, WallMs, WitnessId
from witness.core.ledger import verify as first_broken
from witness.core.snapshot import IMAGE_BYTES_MAX, ImageRefused, decode_image
from witness.core.state import ClusterState

MAGIC: Final = b"3SITEBKP"
CUT_SHORT: Final = "it is cut short: copy it again, or use another backup"
VERSION: Final = 1
HEADER_BYTES_MAX: Final = 64 * 1024
_HEAD: Final = struct.Struct(">II")
_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 1024 * 1024
_TELL_EVERY: Final = 1_000


class BackupRefused(LocalFault):
    """The file is damaged, cut short, of another cluster, or no backup; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the file is a backup of."""

    cluster: ClusterId
    lineage: str
    generation: int
    index: int
    """The last entry of the log that is in it."""
    term: int
    feature_level: int
    events: int
    """Number of the ledger's last event."""
    image_bytes: int
    witness: WitnessId
    """Which witness it was taken from."""
    wall_ms: WallMs
    made: str
    """The same for people."""
    program: str


def header_of(state: ClusterState, image: bytes, *, term: int, witness: WitnessId, wall_ms: WallMs) -> Header:
    """Only for a cluster that was founded: without that there is nothing to keep."""
    if state.cluster is None:
        raise BackupRefused("this witness knows of no cluster yet: there is nothing to back up; start the witnesses")
    return Header(
        cluster=state.cluster,
        lineage=state.lineage.hex(),
        generation=state.generation,
        index=state.applied_index,
        term=term,
        feature_level=state.feature_level,
        events=state.ledger.head_seq,
        image_bytes=len(image),
        witness=witness,
        wall_ms=wall_ms,
        made=datetime.fromtimestamp(wall_ms / 1000, UTC).isoformat(timespec="seconds"),
        program=f"thirdsite {program_version()}",
    )


def program_version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - slow to load, and only backups name it

    return version("thirdsite")


# -- writing ----------------------------------------------------------------------------------------------


def chunks(header: Header, image: bytes, events: Iterable[bytes]) -> Iterator[bytes]:
    """The file's bytes in order; `events` are encoded ones, oldest first."""
    packed = json.dumps(asdict(header), indent=1, sort_keys=True).encode()
    digest = hashlib.sha256()
    for piece in _body(packed, image, events):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _body(packed: bytes, image: bytes, events: Iterable[bytes]) -> Iterator[bytes]:
    yield MAGIC + _HEAD.pack(VERSION, len(packed)) + packed
    yield image
    for event in events:
        yield _LENGTH.pack(len(event)) + event
    yield _LENGTH.pack(0)


# -- reading ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backup:
    """A file that was read to its end and found whole."""

    header: Header
    state: ClusterState
    events: int
    """How many events are in it."""
    lacking: tuple[tuple[int, int], ...]
    """Ranges of the ledger, first and last number, that its witness did not have."""


def verify(file: BinaryIO, tell: Callable[[int, int], None] = lambda _done, _all: None) -> Backup:
    """Reads the whole file; raises BackupRefused, or UpgradeRequired when a newer version wrote it.

    `tell` is told the last event's number read, and the last there is, every so often.
    """
    source = _Hashed(file)
    header, image = _read_front(source)
    try:
        state = decode_image(image)
    except ImageRefused as error:
        raise BackupRefused(f"the image in it is damaged ({error}): copy it again, or use another backup") from error
    _compare(header, state)
    chain = _Chain(state)
    for event in _read_events(source):
        chain.follow(event)
        if event.seq % _TELL_EVERY == 0:
            tell(event.seq, header.events)
    source.finish()
    return Backup(header, state, chain.count, chain.lacking())


def verify_file(path: Path, option: str, tell: Callable[[int, int], None]) -> Backup:
    """The same of a file by its path, which refusals name; raises BadValue of `option` when it cannot be read."""
    try:
        with path.open("rb") as file:
            return verify(file, tell)
    except BackupRefused as refused:
        raise BackupRefused(f"{path}: {refused}") from refused
    except OSError as error:
        raise BadValue(option, str(path), f"cannot be read: {error.strerror or error}", "check the path") from error


def read_events(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The ledger of a file that was verified: number and bytes, oldest first."""
    source = _Hashed(file)
    _read_front(source)
    for event in _read_events(source):
        yield event.seq, EVENTS.encode(event)
    source.finish()


class _Hashed:
    """Counts what is read into the hash that stands at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def take(self, size: int, *, or_less: bool = False) -> bytes:
        """`or_less`: a file that is shorter than that is for the caller to judge."""
        data = self._file.read(size) if or_less else self._exactly(size)
        self._digest.update(data)
        return data

    def finish(self) -> None:
        expected = self._digest.digest()
        if self._exactly(len(expected)) != expected:
            raise BackupRefused("it is damaged: its hash does not fit its content; use another backup")
        if self._file.read(1):
            raise BackupRefused("it is damaged: something follows behind its end; use another backup")

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise BackupRefused(CUT_SHORT)
        return data


def _read_front(source: _Hashed) -> tuple[Header, bytes]:
    magic = source.take(len(MAGIC), or_less=True)
    if not MAGIC.startswith(magic):
        raise BackupRefused("it is no backup of thirdsite; `witness backup` makes one")
    if magic != MAGIC:
        raise BackupRefused(CUT_SHORT)
    version, length = _HEAD.unpack(source.take(_HEAD.size))
    if version != VERSION:
        raise BackupRefused(f"it has version {version}, this program reads {VERSION}: use the version that wrote it")
    if length > HEADER_BYTES_MAX:
        raise BackupRefused("it is damaged: its header is too long; use another backup")
    header = _read_header(source.take(length))
    require_level(header.feature_level, FEATURE_MAX, "this backup")
    pieces = []
    left = header.image_bytes
    while left:
        pieces.append(source.take(min(left, _READ_BYTES)))
        left -= len(pieces[-1])
    return header, b"".join(pieces)


def _read_header(packed: bytes) -> Header:
    try:
        raw: Any = json.loads(packed)
        header = Header(**raw)
        check_cluster_id(header.cluster, "cluster")
        lineage = bytes.fromhex(header.lineage)
    except (ValueError, TypeError, RecursionError, BadValue) as error:
        raise BackupRefused("it is damaged: its header cannot be read; use another backup") from error
    numbers = (header.generation, header.index, header.term, header.feature_level, header.events, header.wall_ms)
    sane = all(type(number) is int and number >= 0 for number in numbers) and len(lineage) == LINEAGE_BYTES
    if not sane or type(header.image_bytes) is not int or not 0 < header.image_bytes <= IMAGE_BYTES_MAX:
        raise BackupRefused("it is damaged: its header makes no sense; use another backup")
    return header


def _compare(header: Header, state: ClusterState) -> None:
    said = (header.cluster, header.lineage, header.generation, header.index, header.feature_level, header.events)
    ledger = state.ledger
    has = (state.cluster, state.lineage.hex(), state.generation, state.applied_index, state.feature_level)
    if said != (*has, ledger.head_seq):
        raise BackupRefused("it is damaged: its header and its image do not say the same; use another backup")


def _read_events(source: _Hashed) -> Iterator[Event]:
    while True:
        length = _LENGTH.unpack(source.take(_LENGTH.size))[0]
        if length == 0:
            return
        if length > limits.FRAME_BYTES_MAX:
            raise BackupRefused("it is damaged: an event is too long; use another backup")
        try:
            yield EVENTS.decode(source.take(length))
        except FrameRefused as error:
            raise BackupRefused(f"it is damaged: an event cannot be read ({error}); use another backup") from error


class _Chain:
    """Follows the ledger: numbers rise, each chain continues the one before it, the end is the image's head."""

    def __init__(self, state: ClusterState) -> None:
        self._head = (state.ledger.head_seq, state.ledger.head_chain)
        self._last_seq = 0
        self._last_chain = GENESIS_HASH
        self._gaps: list[tuple[int, int]] = []
        self.count = 0

    def follow(self, event: Event) -> None:
        continues = event.seq == self._last_seq + 1
        if event.seq <= self._last_seq:
            raise BackupRefused(f"its ledger is damaged: event {event.seq} comes after {self._last_seq}")
        if continues and first_broken([event], self._last_chain) is not None:
            raise BackupRefused(f"its ledger is damaged: the chain breaks at event {event.seq}")
        if not continues:
            self._gaps.append((self._last_seq + 1, event.seq - 1))
        self._last_seq, self._last_chain = event.seq, event.chain
        self.count += 1

    def lacking(self) -> tuple[tuple[int, int], ...]:
        if (self._last_seq, self._last_chain) != self._head:
            raise BackupRefused(
                f"its ledger ends with event {self._last_seq}, its image with {self._head[0]}, or their chains differ: "
                "use another backup"
            )
        return tuple(self._gaps)
