"""What a site keeps of one license: the sealed keys, the newest of which it starts the platform with.

Rule: `GROUP.license-NAME` in the agent's state directory is one JSON object with a checksum, replaced whole, on disk
before anything follows from it. A version never goes back: what is older than the newest is not taken, and the same
version with other bytes is refused and told. A few before it are kept for the day on which the newest does not open.
A damaged file is moved aside and told: what it held is then not known, which is not the same as nothing.

Nothing in it is a key in clear.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from proto.edge.atomic_file import read_capped, write_atomic
from proto.errors import BadValue, DurabilityLost
from proto.license import NO_VERSION, EscrowVersion, SealedKey, check_sealed, read_version, version_words
from proto.units import Epoch, GroupId, LicenseName

FORMAT = 1
HISTORY_MAX = 3
FILE_BYTES_MAX = 64 * 1024


class Kept(Enum):
    STORED = "stored"
    SAME = "same"
    OLDER = "older"
    CONFLICT = "conflict"
    """The same version with other bytes: two wrote it."""


@dataclass(frozen=True, slots=True)
class Escrow:
    """The file's content."""

    newest: SealedKey | None = None
    former: tuple[SealedKey, ...] = ()
    """Newest first."""
    seen: EscrowVersion | None = None
    """The version that was in place on this site last; None when it was none, or an older one."""
    damaged: bool = False
    """A former file could not be read, and nothing was kept since."""

    def known(self) -> tuple[SealedKey, ...]:
        """Newest first."""
        return self.former if self.newest is None else (self.newest, *self.former)


def with_newer(escrow: Escrow, sealed: SealedKey) -> tuple[Escrow, Kept]:
    """The rule that versions never go back, pure."""
    newest = escrow.newest
    if newest is None or sealed.version > newest.version:
        former = escrow.former if newest is None else (newest, *escrow.former)[:HISTORY_MAX]
        return replace(escrow, newest=sealed, former=former, damaged=False), Kept.STORED
    if sealed.version < newest.version:
        return escrow, Kept.OLDER
    return escrow, Kept.SAME if sealed == newest else Kept.CONFLICT


class EscrowFile:
    """Blocking and synced; written by the agent that holds the state directory's lock, read by its steps."""

    def __init__(self, state_dir: Path, group: GroupId, name: LicenseName) -> None:
        self.path = state_dir / f"{group}.license-{name}"
        self.placed_path = state_dir / f"{group}.license-{name}.placed"
        self.accepted_path = state_dir / f"{group}.license-{name}.accepted"
        self._about = {"format": FORMAT, "group": group, "license": name}

    def load(self) -> Escrow:
        """Damaged: an Escrow that says so."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        try:
            fields = json.loads(read_capped(self.path, FILE_BYTES_MAX))
            return _escrow(fields, self._about)
        except FileNotFoundError:
            return Escrow(damaged=aside.exists())
        except (OSError, BadValue, KeyError, TypeError, ValueError):
            return Escrow(damaged=True)

    def set_aside(self) -> None:
        """Before the first write over a damaged file. Raises OSError."""
        if self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.name}.damaged"))

    def save(self, escrow: Escrow) -> None:
        """Returns when it is on disk. Raises DurabilityLost."""
        fields: dict[str, Any] = {
            **self._about,
            "newest": None if escrow.newest is None else _raw(escrow.newest),
            "former": [_raw(one) for one in escrow.former],
            "seen": None if escrow.seen is None else list(escrow.seen),
        }
        write_atomic(self.path, json.dumps({**fields, "sha256": _digest(fields)}).encode() + b"\n")
        _remove(self.path.with_name(f"{self.path.name}.damaged"))

    # -- what the step of an activation saw --------------------------------------------------------------------

    def note_in_place(self, version: EscrowVersion) -> None:
        """By the step, which writes nothing else: the platform may exchange the key before any watcher looks again."""
        write_atomic(self.placed_path, f"{version_words(version)}\n".encode("ascii"))

    def placed(self) -> EscrowVersion | None:
        try:
            text = read_capped(self.placed_path, 128).decode("ascii", "replace").strip()
            return read_version(text, "placed")
        except (OSError, BadValue):
            return None

    def forget_placed(self) -> None:
        """Something else was seen in place since. Raises DurabilityLost."""
        _remove(self.placed_path)

    # -- an operator's word on the key in place -------------------------------------------------------------

    def accept(self, mark: str, newest: EscrowVersion | None) -> None:
        """`newest`: the newest version that was kept when the operator judged."""
        write_atomic(self.accepted_path, f"{mark} {version_words(newest)}\n".encode("ascii"))

    def accepted(self, newest: EscrowVersion | None) -> str:
        """'' for none, and when a newer key was sealed anywhere since: the operator knew nothing of that one."""
        try:
            mark, version = read_capped(self.accepted_path, 256).decode("ascii", "replace").split()
            judged = read_version(version, "accepted")
        except (OSError, BadValue, ValueError):
            return ""
        return mark if judged == (NO_VERSION if newest is None else newest) else ""

    def forget_accepted(self) -> None:
        """It was for one activation. What cannot be removed is void: a newer version was sealed."""
        with contextlib.suppress(DurabilityLost):
            _remove(self.accepted_path)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DurabilityLost(f"{path} cannot be removed: {error.strerror}") from error


def _raw(sealed: SealedKey) -> dict[str, Any]:
    return {
        "version": list(sealed.version),
        "key_id": sealed.key_id,
        "nonce": base64.b64encode(sealed.nonce).decode("ascii"),
        "box": base64.b64encode(sealed.box).decode("ascii"),
    }


def _sealed(raw: dict[str, Any]) -> SealedKey:
    try:
        nonce, box = (base64.b64decode(raw[name], validate=True) for name in ("nonce", "box"))
    except binascii.Error as error:
        raise ValueError("no base64") from error
    return check_sealed(SealedKey(_version(raw["version"]), str(raw["key_id"]), nonce, box), "license")


def _version(raw: Any) -> EscrowVersion:
    epoch, version = raw
    if type(epoch) is not int or type(version) is not int:
        raise ValueError("a version is two numbers")
    return EscrowVersion(Epoch(epoch), version)


def _escrow(fields: Any, about: dict[str, Any]) -> Escrow:
    if not isinstance(fields, dict):
        raise TypeError("no object")
    body = {name: value for name, value in fields.items() if name != "sha256"}
    if fields["sha256"] != _digest(body) or any(body[name] != value for name, value in about.items()):
        raise ValueError("wrong checksum, or of another license")
    return Escrow(
        newest=None if body["newest"] is None else _sealed(body["newest"]),
        former=tuple(_sealed(one) for one in body["former"]),
        seen=None if body["seen"] is None else _version(body["seen"]),
    )


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
