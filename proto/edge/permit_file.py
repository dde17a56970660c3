"""A permit as the file that an operator carries: signed by Ed25519, in armour like a certificate's.

Rule: exactly one block, nothing around it, of the one form that this file writes; the signature covers the encoded
permit behind a prefix of its own, so that no other signature of the key passes for one. What is larger than
FILE_BYTES_MAX is not read. Whoever has the public key can check it; nobody can change a digit.
Rejected: a certificate of the cluster's CA (its key lies where certificates are issued, every day), a signed token of
JSON (a parser that forgives is no place for this).
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from proto.edge.atomic_file import read_capped
from proto.errors import BadValue, FrameRefused
from proto.permit import Permit, check_key, check_permit
from proto.permit_codec import BODY_BYTES_MAX, PERMITS

BEGIN: Final = "-----BEGIN THIRDSITE BREAK-GLASS PERMIT-----"
END: Final = "-----END THIRDSITE BREAK-GLASS PERMIT-----"
FILE_BYTES_MAX: Final = 4_096
_SIGNATURE_BYTES: Final = 64
_LINE_CHARS: Final = 64
_PREFIX: Final = b"thirdsite break-glass permit 1\x00"
_REMEDY: Final = "copy the file again from where `witness pki break-glass permit` wrote it"


def sign_permit(permit: Permit, key: Ed25519PrivateKey) -> str:
    """The file's whole text; raises BadValue for a permit that breaks a rule."""
    body = PERMITS.encode(check_permit(permit))
    return _armour(key.sign(_PREFIX + body) + body)


def _armour(raw: bytes) -> str:
    text = base64.b64encode(raw).decode("ascii")
    lines = [text[at : at + _LINE_CHARS] for at in range(0, len(text), _LINE_CHARS)]
    return "\n".join([BEGIN, *lines, END]) + "\n"


def read_permit(text: str) -> Permit:
    """What the permit says, whoever signed it; raises BadValue."""
    return _parse(text)[0]


def verify_permit(text: str, key: str, field: str = "key") -> Permit:
    """What the permit says, when the holder of `key` signed it; raises BadValue. `key`: the public half, in hex."""
    permit, signature, body = _parse(text)
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(check_key(key, field)))
    try:
        public.verify(signature, _PREFIX + body)
    except InvalidSignature:
        rule = "the permit is not signed with this key, or was changed since"
        raise BadValue("permit.signature", signature.hex()[:16], rule, _REMEDY) from None
    return permit


def load_permit_text(path: Path) -> str:
    """Raises BadValue, also for what is no small text file."""
    remedy = "name the file that `witness pki break-glass permit` wrote"
    try:
        return read_capped(path, FILE_BYTES_MAX).decode("ascii")
    except OSError as error:
        raise BadValue("permit", str(path), f"cannot be read: {error.strerror}", remedy) from error
    except UnicodeDecodeError as error:
        raise BadValue("permit", str(path), "is no text", remedy) from error


def _parse(text: str) -> tuple[Permit, bytes, bytes]:
    if len(text) > FILE_BYTES_MAX:
        raise BadValue("permit", text[:40], f"is longer than {FILE_BYTES_MAX} characters", _REMEDY)
    inside = text.strip().replace("\r\n", "\n").split("\n")
    if len(inside) < 3 or inside[0] != BEGIN or inside[-1] != END:
        raise BadValue("permit", text[:40], f"must be one block from {BEGIN} to {END}", _REMEDY)
    try:
        raw = base64.b64decode("".join(inside[1:-1]), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadValue("permit", text[:40], "is no base64 between its two lines", _REMEDY) from error
    if not _SIGNATURE_BYTES < len(raw) <= _SIGNATURE_BYTES + BODY_BYTES_MAX:
        raise BadValue("permit", f"{len(raw)} bytes", "has not the size of a permit", _REMEDY)
    if _armour(raw).rstrip("\n").split("\n") != inside:
        raise BadValue("permit", text[:40], "is not laid out as a permit is written", _REMEDY)
    signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    try:
        permit = PERMITS.decode(body)
    except FrameRefused as error:
        raise BadValue("permit", body.hex()[:40], str(error), _REMEDY) from error
    return check_permit(permit), signature, body
