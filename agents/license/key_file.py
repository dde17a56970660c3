"""The sealing keys of a license's sites: one text file, made on one site, copied to the others, and nowhere else.

Rule: one line a key, the newest first. The first seals, all open, until everything is sealed with the first; so a new
key is brought to every site before any of them seals with it. The file belongs to root or to the agent's user, nobody
else may read it, and nobody else may write where it lies; or it is not used. No key is ever part of an error, a log
line or a repr. Whoever has a key of it and a witness's disk can read license keys.

Rejected: a passphrase (it would lie beside the file), the cluster's certificates (their keys are renewed and revoked,
and a sealed key outlives them).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue, LocalFault
from proto.license import KEY_ID_CHARS

KEY_BYTES = 32
KEYS_MAX = 8
FILE_BYTES_MAX = 4_096
_WORD = "thirdsite-sealing-key-1"
_HEAD = (
    "# Sealing keys of thirdsite, the newest first: the first seals, all open.\n"
    "# Only on the sites of the group, mode 0600; a copy in a safe place, never beside a witness or its backups.\n"
)


class KeyFileUnusable(LocalFault):
    """The file is missing, not private, or no key file; with the path, the rule and the remedy."""


@dataclass(frozen=True, slots=True)
class SealingKey:
    key_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """At least one key, the newest first."""

    keys: tuple[SealingKey, ...]

    @property
    def newest(self) -> SealingKey:
        return self.keys[0]

    def of(self, key_id: str) -> SealingKey | None:
        return next((one for one in self.keys if one.key_id == key_id), None)


def draw_key() -> SealingKey:
    return _named(secrets.token_bytes(KEY_BYTES))


def _named(secret: bytes) -> SealingKey:
    return SealingKey(hashlib.sha256(_WORD.encode() + secret).hexdigest()[:KEY_ID_CHARS], secret)


def load_ring(path: Path) -> KeyRing:
    """Raises KeyFileUnusable."""
    _check_private(path)
    try:
        text = read_capped(path, FILE_BYTES_MAX).decode("ascii")
    except (OSError, BadValue, UnicodeDecodeError):
        raise KeyFileUnusable(
            f"{path} is no text file of at most {FILE_BYTES_MAX} bytes: copy it again from another site"
        ) from None
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            keys.append(_parsed(path, number, words))
    names = [one.key_id for one in keys]
    if not 0 < len(keys) <= KEYS_MAX or len(set(names)) != len(names):
        raise KeyFileUnusable(
            f"{path} holds {len(keys)} keys, 1 to {KEYS_MAX} different ones are expected: copy it again from another "
            "site, or make the first with `site-agent license new-key`"
        )
    return KeyRing(tuple(keys))


def _parsed(path: Path, number: int, words: list[str]) -> SealingKey:
    """The name is a checksum, too: a key that lost a digit on its way is found here."""
    wrong = KeyFileUnusable(f"{path}, line {number}: it is no sealing key, or damaged: copy the file again")
    if len(words) != 3 or words[0] != _WORD:
        raise wrong
    try:
        secret = bytes.fromhex(words[2])
    except ValueError:
        raise wrong from None
    if len(secret) != KEY_BYTES or _named(secret).key_id != words[1]:
        raise wrong
    return _named(secret)


def _check_private(path: Path) -> None:
    try:
        info = path.lstat()
        above = path.parent.stat()
    except OSError as error:
        raise KeyFileUnusable(
            f"{path} cannot be read: {error.strerror}: copy it from another site, or make the first with "
            "`site-agent license new-key`"
        ) from None
    if not stat.S_ISREG(info.st_mode):
        raise KeyFileUnusable(f"{path} is no regular file: put the key file itself there")
    if info.st_mode & 0o077:
        raise KeyFileUnusable(f"{path} has mode {stat.S_IMODE(info.st_mode):04o}, others may use it: chmod 600 {path}")
    if info.st_uid not in (0, os.geteuid()):
        raise KeyFileUnusable(f"{path} belongs to user {info.st_uid}: it must be root's, or the agent's user's")
    if above.st_mode & 0o022 and not above.st_mode & stat.S_ISVTX:
        raise KeyFileUnusable(f"{path.parent} may be written by others: chmod go-w {path.parent}")


def save_ring(path: Path, ring: KeyRing) -> None:
    """Raises DurabilityLost. The owner stays who it was, where that is possible."""
    lines = [f"{_WORD} {one.key_id} {one.secret.hex()}\n" for one in ring.keys]
    owner = path.stat() if path.exists() else None
    write_atomic(path, (_HEAD + "".join(lines)).encode("ascii"))
    if owner is not None and owner.st_uid != os.geteuid() and os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)


def rotated(ring: KeyRing) -> KeyRing:
    """With a new key in front. Raises KeyFileUnusable when there is no room."""
    if len(ring.keys) >= KEYS_MAX:
        raise KeyFileUnusable(
            f"the file holds {KEYS_MAX} keys already: remove those that seal nothing any more with "
            "`site-agent license rotate-key --drop-old`"
        )
    return KeyRing((draw_key(), *ring.keys))


def without_old(ring: KeyRing, needed: frozenset[str]) -> KeyRing:
    """The newest, and those that something still needs to be opened."""
    return KeyRing(tuple(one for one in ring.keys if one is ring.newest or one.key_id in needed))
