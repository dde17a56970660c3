"""A license and its escrow as values: what is sealed, in which order versions stand, what a group may say about them.

Rule (DESIGN section 8): the running platform changes its key now and then, and a copy that missed the last change holds
a dead one. So the active site seals each new key, with a key that only the sites have, and the witnesses keep the
newest sealed value. They never see a key in clear, and to them the box is opaque. Versions are ordered by (epoch,
version): there is one writer an epoch, and the number goes up from value to value, whoever seals it.

Rejected: the time of sealing (no clock of one machine is compared with another's), a hash of the key as its name (it
would let anybody who reads a ledger try keys).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from proto.errors import BadValue
from proto.units import EPOCH_MAX, Epoch, LicenseName, check_name

BOX_BYTES_MAX: Final = 4 * 1024
"""A sealed key with its tag: keys of licenses have some hundred bytes."""
BOX_BYTES_MIN: Final = 16 + 1
"""The tag of the AEAD, and at least one byte."""
SEAL_NONCE_BYTES: Final = 12
KEY_ID_CHARS: Final = 8
LICENSES_PER_GROUP_MAX: Final = 4
"""With the longest boxes they fit a request of holds and a cluster's image."""
LICENSES_MAX: Final = 4_096
"""Of all groups of a cluster: their sealed values stay below 17 MB of each image."""
PROBLEM_CHARS_MAX: Final = 40
VERSION_MAX: Final = 1 << 48
"""No version is numbered above it: a number that leaves no room would end a license's versions for good."""
VERSION_SKIP_MAX: Final = 1 << 16
"""A value may leave out so many numbers: those of values that were sealed while no witness could be reached."""

NOT_CONFIGURED: Final = "not-configured"
"""A problem that the witnesses tell: the group names the license, the site's agent does not."""
NOT_NAMED: Final = "not-named"
"""The other way round: the group does not name it, so nothing is kept of it. Stands for its escrow, too."""
NOT_BELIEVED: Final = "held-not-believed"
"""A problem that the witnesses put in a report's place: the number that it says to hold cannot have been given yet."""


class EscrowVersion(NamedTuple):
    """Ordered as it stands: a value of a later epoch is newer, within an epoch the higher number."""

    epoch: Epoch
    """Of the holder that sealed it."""
    version: int
    """Counts from 1, up with each value that is sealed; it goes on over epochs and never starts again."""


NO_VERSION: Final = EscrowVersion(Epoch(0), 0)
"""Below every version: nothing was ever sealed."""


def version_words(version: EscrowVersion | None) -> str:
    """As people read and write it: '7.12' is version 12, sealed in epoch 7; 'none' is NO_VERSION."""
    return "none" if version is None or version == NO_VERSION else f"{version.epoch}.{version.version}"


def read_version(text: str, field: str) -> EscrowVersion:
    """The other way; raises BadValue."""
    epoch, dot, version = text.partition(".")
    if text == "none":
        return NO_VERSION
    if dot and all(part.isascii() and part.isdecimal() and len(part) < 20 for part in (epoch, version)):
        read = EscrowVersion(Epoch(int(epoch)), int(version))
        if 0 < read.epoch <= EPOCH_MAX and 0 < read.version <= EPOCH_MAX:
            return read
    raise BadValue(field, text, "a version is an epoch, a dot and a number, or none", "copy it, for example 7.12")


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key as only the sites can open it. Sealing it again gives other bytes: repeat the very same value."""

    version: EscrowVersion
    key_id: str
    """Which sealing key opens it: 8 lower-case hex digits; they say nothing of the key itself."""
    nonce: bytes
    box: bytes
    """Ciphertext and tag; its associated data is proto.license_codec.associated_data."""


@dataclass(frozen=True, slots=True)
class EscrowItem:
    """A sealed key with the license that it is of."""

    license: LicenseName
    sealed: SealedKey


def check_sealed(sealed: SealedKey, field: str) -> SealedKey:
    """Raises BadValue for what cannot be a sealed key, whoever sealed it; no value of the box is ever shown."""
    if not _possible(sealed.version):
        rule = f"epochs and numbers begin at 1, and no number is above {VERSION_MAX}"
        raise BadValue(f"{field}.version", version_words(sealed.version), rule, "seal it again")
    if len(sealed.key_id) != KEY_ID_CHARS or any(one not in "0123456789abcdef" for one in sealed.key_id):
        rule = f"the sealing key's name is {KEY_ID_CHARS} lower-case hex digits"
        raise BadValue(f"{field}.key_id", sealed.key_id, rule, "make the sealing key again")
    if len(sealed.nonce) != SEAL_NONCE_BYTES:
        rule = f"a seal has a nonce of {SEAL_NONCE_BYTES} bytes"
        raise BadValue(f"{field}.nonce", f"{len(sealed.nonce)} bytes", rule, "seal it again")
    if not BOX_BYTES_MIN <= len(sealed.box) <= BOX_BYTES_MAX:
        rule = f"a box has {BOX_BYTES_MIN} to {BOX_BYTES_MAX} bytes"
        raise BadValue(f"{field}.box", f"{len(sealed.box)} bytes", rule, "take a shorter key")
    return sealed


# -- what a group says about its licenses -------------------------------------------------------------------


class EscrowPolicy(Enum):
    """What a license's sealed values are to the witnesses."""

    REQUIRED = "required"
    """A site that does not hold the newest value may not be activated."""
    OPTIONAL = "optional"
    """Values are kept and handed out; a site without the newest one may be activated all the same."""
    NONE = "none"
    """The key does not change: nothing is kept, only double activation is watched for."""


@dataclass(frozen=True, slots=True)
class LicenseSpec:
    name: LicenseName
    escrow: EscrowPolicy = EscrowPolicy.REQUIRED


def check_licenses(licenses: tuple[LicenseSpec, ...], field: str) -> None:
    """Raises BadValue for the first rule that a group's licenses break."""
    names = [one.name for one in licenses]
    if len(names) > LICENSES_PER_GROUP_MAX:
        rule = f"a group has at most {LICENSES_PER_GROUP_MAX} licenses"
        raise BadValue(field, names, rule, "remove those that do not change, or split the group")
    for number, name in enumerate(names):
        check_name(name, f"{field}.{number}.name")
    if len(set(names)) != len(names):
        raise BadValue(field, names, "licenses must differ", "remove the repetition")


# -- what a site says about its licenses --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LicenseReport:
    """One license as one site knows it, within its HealthReport."""

    name: LicenseName
    held: EscrowVersion | None = None
    """The newest sealed value that is on this site's disk *and* opens with its sealing key."""
    activated: bool | None = None
    """What the license's probe saw since this site last began or ended being active; None: it was not asked since."""
    problem: str = ""
    """A code of at most PROBLEM_CHARS_MAX characters, '' when there is none."""


def check_report(licenses: tuple[LicenseReport, ...]) -> str:
    """Why a site's word about its licenses cannot be taken, '' when it can."""
    names = [one.name for one in licenses]
    if len(names) > LICENSES_PER_GROUP_MAX or len(set(names)) != len(names):
        return f"{len(names)} licenses, at most {LICENSES_PER_GROUP_MAX} different ones are known"
    for one in licenses:
        if one.held is not None and not _possible(one.held):
            return f"{one.name}: no version is {version_words(one.held)}"
        if len(one.problem) > PROBLEM_CHARS_MAX:
            return f"{one.name}: a problem's code of {len(one.problem)} characters"
    return ""


def _possible(version: EscrowVersion) -> bool:
    return version.epoch >= 1 and 1 <= version.version <= VERSION_MAX


def held_of(licenses: tuple[LicenseReport, ...], name: LicenseName) -> EscrowVersion | None:
    return next((one.held for one in licenses if one.name == name), None)
