"""The image of the replicated state: of one feature level, hashed, refused when anything is off, never emptied.

[level, hash, body]: the level is that of the cluster, first as everywhere (proto.features), and the body is written as
it was at that level, so that equal states give equal bytes on every version of the program: the hash in the image is
also what replicas compare. An image above what this program can is no damage: the process stops with the remedy.
"""

from __future__ import annotations

import hashlib
from typing import Any

from proto.codec import level_of, pack, unpack
from proto.errors import FrameRefused, LocalFault
from proto.features import FEATURE_MAX, require_level
from proto.schema import Reader, Writer, record_reader, record_writer
from witness.core.state import ClusterState

IMAGE_BYTES_MAX = 256 * 1024 * 1024
_ITEMS_MAX = 1_000_000

_writers: dict[int, Writer | None] = {}
_readers: dict[int, Reader] = {}


class ImageRefused(LocalFault):
    """The image is damaged, or was not written by this program; nothing was changed."""


def encode_image(state: ClusterState) -> bytes:
    body = encode_body(state)
    return pack([state.feature_level, hashlib.sha256(body).digest(), body])


def encode_body(state: ClusterState) -> bytes:
    level = state.feature_level
    if level not in _writers:
        _writers[level] = record_writer(ClusterState, level)
    write = _writers[level]
    fields: Any = state if write is None else write(state)
    return pack(fields)


def state_hash(state: ClusterState) -> str:
    """Equal on all replicas with an equal applied index."""
    return hashlib.sha256(encode_body(state)).hexdigest()


def decode_image(image: bytes, feature_max: int = FEATURE_MAX) -> ClusterState:
    """Raises UpgradeRequired for an image above `feature_max`, and ImageRefused for whatever else is not one."""
    level = level_of(image)
    if level is not None:
        require_level(level, feature_max, "the image of the cluster's state")
    try:
        raw = unpack(image, IMAGE_BYTES_MAX, _ITEMS_MAX)
        if level is None or type(raw) is not list or len(raw) != 3:
            raise ImageRefused("snapshot: [level, hash, body] was expected")
        _, digest, body = raw
        if type(body) is not bytes or hashlib.sha256(body).digest() != digest:
            raise ImageRefused("snapshot: its hash does not fit its content: it is damaged")
        if level not in _readers:
            _readers[level] = record_reader(ClusterState, level)
        state: ClusterState = _readers[level](unpack(body, IMAGE_BYTES_MAX, _ITEMS_MAX))
    except FrameRefused as error:
        raise ImageRefused(f"snapshot: {error}") from error
    if state.feature_level != level:
        raise ImageRefused(f"snapshot: its head says level {level}, its content {state.feature_level}: it is damaged")
    return state
