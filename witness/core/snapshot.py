"""The image of the replicated state: versioned, hashed, refused when anything is off, never emptied.

Equal states give equal bytes, so the hash in the image is also what replicas compare.
"""

from __future__ import annotations

import hashlib
from typing import Any

from proto.codec import pack, unpack
from proto.errors import FrameRefused, LocalFault
from proto.schema import record_reader, record_writer
from witness.core.state import ClusterState

IMAGE_VERSION = 1
IMAGE_BYTES_MAX = 256 * 1024 * 1024
_ITEMS_MAX = 1_000_000

_write = record_writer(ClusterState)
_read = record_reader(ClusterState)


class ImageRefused(LocalFault):
    """The image is damaged, or of a version that this program does not know; nothing was changed."""


def encode_image(state: ClusterState) -> bytes:
    body = encode_body(state)
    return pack([IMAGE_VERSION, hashlib.sha256(body).digest(), body])


def encode_body(state: ClusterState) -> bytes:
    fields: Any = state if _write is None else _write(state)
    return pack(fields)


def state_hash(state: ClusterState) -> str:
    """Equal on all replicas with an equal applied index."""
    return hashlib.sha256(encode_body(state)).hexdigest()


def decode_image(image: bytes) -> ClusterState:
    try:
        raw = unpack(image, IMAGE_BYTES_MAX, _ITEMS_MAX)
        if type(raw) is not list or len(raw) != 3:
            raise ImageRefused("snapshot: [version, hash, body] was expected")
        version, digest, body = raw
        if version != IMAGE_VERSION:
            raise ImageRefused(f"snapshot: version {version!r:.20}, this program reads {IMAGE_VERSION}; upgrade it")
        if type(body) is not bytes or hashlib.sha256(body).digest() != digest:
            raise ImageRefused("snapshot: its hash does not fit its content: it is damaged")
        state: ClusterState = _read(unpack(body, IMAGE_BYTES_MAX, _ITEMS_MAX))
    except FrameRefused as error:
        raise ImageRefused(f"snapshot: {error}") from error
    return state
