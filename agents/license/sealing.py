"""Seals a key so that only the sites can open it: ChaCha20-Poly1305, bound to where it belongs.

Rule: the associated data names cluster, group, license, version and sealing key (proto.license.associated_data), so a
box that was moved, renumbered or put under another license does not open. Nonces are random; a sealing key seals a few
thousand boxes in its life. What does not open says that and nothing else.
Beside the key a box holds short digests of its predecessors: a site that was away while the key changed knows an old
one when it finds it in its replica, though it never got its box.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agents.license.key_file import KeyRing
from proto.codec import pack, unpack
from proto.errors import FrameRefused, LocalFault
from proto.license import BOX_BYTES_MAX, SEAL_NONCE_BYTES, EscrowVersion, SealedKey, version_words
from proto.license_codec import associated_data
from proto.units import ClusterId, GroupId, LicenseName

FORMER_MAX = 64
"""Predecessors: half a year of a key that changes every three days."""
_DIGEST_BYTES = 12
_CONTENT = 1
_DIGEST = b"thirdsite-accepted-key-1"


class CannotOpen(LocalFault):
    """The box does not open with the keys of this site."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A box's content."""

    value: bytes = field(repr=False)
    former: tuple[bytes, ...] = field(repr=False)
    """Digests of what was the key before, oldest first."""

    def replaced(self, value: bytes) -> bool:
        """That was the key once, and is dead."""
        return digest(value) in self.former


def digest(value: bytes) -> bytes:
    """Short, and only ever within a box: it would tell who guesses."""
    return hashlib.sha256(value).digest()[:_DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Sealer:
    """Of one license."""

    cluster: ClusterId
    group: GroupId
    name: LicenseName

    def seal(self, ring: KeyRing, version: EscrowVersion, value: bytes, former: Iterable[bytes] = ()) -> SealedKey:
        """`former`: digests, oldest first; as many of the newest as fit are kept."""
        key, nonce = ring.newest, secrets.token_bytes(SEAL_NONCE_BYTES)
        about = associated_data(self.cluster, self.group, self.name, version, key.key_id)
        own = digest(value)
        kept = [one for one in dict.fromkeys(former) if one != own][-FORMER_MAX:]
        content = pack([_CONTENT, value, b"".join(kept)])
        return SealedKey(version, key.key_id, nonce, ChaCha20Poly1305(key.secret).encrypt(nonce, content, about))

    def open(self, ring: KeyRing, sealed: SealedKey) -> Opened:
        """Raises CannotOpen."""
        key = ring.of(sealed.key_id)
        which = f"version {version_words(sealed.version)} of license {self.name}"
        if key is None:
            raise CannotOpen(f"{which} is sealed with key {sealed.key_id}, which is not in this site's key file")
        about = associated_data(self.cluster, self.group, self.name, sealed.version, sealed.key_id)
        try:
            return _content(ChaCha20Poly1305(key.secret).decrypt(sealed.nonce, sealed.box, about))
        except (InvalidTag, ValueError, FrameRefused):
            raise CannotOpen(f"{which} is damaged, or belongs to another cluster, group or license") from None

    def opens(self, ring: KeyRing | None, sealed: SealedKey) -> bool:
        if ring is None:
            return False
        try:
            self.open(ring, sealed)
        except CannotOpen:
            return False
        return True

    def mark(self, ring: KeyRing, value: bytes) -> tuple[str, ...]:
        """By which an accepted value is known again; without a sealing key nobody can try values against it."""
        about = associated_data(self.cluster, self.group, self.name, _NO_VERSION, "")
        text = _DIGEST + about + value
        return tuple(hmac.new(key.secret, text, hashlib.sha256).hexdigest() for key in ring.keys)


def _content(data: bytes) -> Opened:
    """Raises FrameRefused and ValueError for what a later version may have sealed."""
    kind, value, former = unpack(data, BOX_BYTES_MAX)
    if kind != _CONTENT or type(value) is not bytes or type(former) is not bytes or len(former) % _DIGEST_BYTES:
        raise ValueError("another content")
    return Opened(value, tuple(former[at : at + _DIGEST_BYTES] for at in range(0, len(former), _DIGEST_BYTES)))


_NO_VERSION = EscrowVersion(0, 0)  # type: ignore[arg-type]  # no epoch: it is no version
