"""Seals a key so that only the sites can open it: ChaCha20-Poly1305, bound to where it belongs.

Rule: the associated data names cluster, group, license, version and sealing key (proto.license.associated_data), so a
box that was moved, renumbered or put under another license does not open. Nonces are random; a sealing key seals a few
thousand boxes in its life. What does not open says that and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agents.license.key_file import KeyRing
from proto.errors import LocalFault
from proto.license import SEAL_NONCE_BYTES, EscrowVersion, SealedKey, version_words
from proto.license_codec import associated_data
from proto.units import ClusterId, GroupId, LicenseName

_DIGEST = b"thirdsite-accepted-key-1"


class CannotOpen(LocalFault):
    """The box does not open with the keys of this site."""


@dataclass(frozen=True, slots=True)
class Sealer:
    """Of one license."""

    cluster: ClusterId
    group: GroupId
    name: LicenseName

    def seal(self, ring: KeyRing, version: EscrowVersion, value: bytes) -> SealedKey:
        key, nonce = ring.newest, secrets.token_bytes(SEAL_NONCE_BYTES)
        about = associated_data(self.cluster, self.group, self.name, version, key.key_id)
        return SealedKey(version, key.key_id, nonce, ChaCha20Poly1305(key.secret).encrypt(nonce, value, about))

    def open(self, ring: KeyRing, sealed: SealedKey) -> bytes:
        """Raises CannotOpen."""
        key = ring.of(sealed.key_id)
        which = f"version {version_words(sealed.version)} of license {self.name}"
        if key is None:
            raise CannotOpen(f"{which} is sealed with key {sealed.key_id}, which is not in this site's key file")
        about = associated_data(self.cluster, self.group, self.name, sealed.version, sealed.key_id)
        try:
            return ChaCha20Poly1305(key.secret).decrypt(sealed.nonce, sealed.box, about)
        except (InvalidTag, ValueError):
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


_NO_VERSION = EscrowVersion(0, 0)  # type: ignore[arg-type]  # no epoch: it is no version
