"""Where one license's key lies at one site, and what that site knows of it: the real rule judges over simulated values.

A key is its number by the vendor, padded to its length. A box holds the key, what its sealer knew as former keys, and a
tag (agents.license.sealing); here the former keys are kept beside it, by the seal's nonce.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.core.license_rules import Doing, InPlace, Judgement, Known, judge
from proto.license import BOX_BYTES_MAX, EscrowVersion, SealedKey

NUMBER_BYTES = 16
TAG_BYTES = 16
KEY_BYTES_MAX = BOX_BYTES_MAX - TAG_BYTES
NO_KEY, BAD_VALUE, OLD_KEY = "no-key", "source-bad-value", "old-key"


def key_of(number: int, size: int = NUMBER_BYTES) -> bytes:
    return (b"%016d" % number).ljust(size, b".")


def number_of(key: bytes) -> int:
    """0 of what no vendor gave."""
    return int(key[:NUMBER_BYTES]) if key[:NUMBER_BYTES].isdigit() else 0


def opened(sealed: SealedKey) -> bytes:
    return sealed.box[:-TAG_BYTES]


FIRST = key_of(0)
"""With which the platform was set up, on every site."""


@dataclass(slots=True)
class KeyPlace:
    """On the machine's disk, in the platform's own database and beside it."""

    key: bytes | None = FIRST
    sealed: SealedKey | None = None
    """The newest that is kept here."""
    former: set[bytes] = field(default_factory=set)
    """Keys that were sealed, or seen by who sealed, before the newest."""
    trail: set[bytes] = field(default_factory=set)
    """Seen in this place, and not sealed yet."""
    seen: EscrowVersion | None = None
    """The last version that was seen in this very place."""

    def compare(self) -> InPlace:
        if self.key is None or len(self.key) > KEY_BYTES_MAX:
            return InPlace.ABSENT
        if self.sealed is not None and self.key == opened(self.sealed):
            return InPlace.NEWEST
        return InPlace.OLDER if self.key in self.former else InPlace.UNKNOWN

    def trouble(self) -> str:
        """Why the key in place cannot be sealed, '' when it can."""
        if self.key is None:
            return NO_KEY
        if len(self.key) > KEY_BYTES_MAX:
            return BAD_VALUE
        return OLD_KEY if self.compare() is InPlace.OLDER else ""

    def judge(self, unknown: Doing, *, required: bool) -> Judgement:
        version = None if self.sealed is None else self.sealed.version
        known = Known(version, version, self.seen, required, unknown)
        return judge(self.compare(), known)

    def saw(self) -> None:
        """A look at what is in place now."""
        found = self.compare()
        if found is InPlace.NEWEST and self.sealed is not None:
            self.seen = self.sealed.version
        elif found is not InPlace.UNKNOWN:
            self.seen = None
        elif self.key is not None:
            self.trail.add(self.key)

    def before(self) -> frozenset[bytes]:
        """What a box that is sealed now says of former keys."""
        newest = set() if self.sealed is None else {opened(self.sealed)}
        return frozenset((self.former | self.trail | newest) - {self.key})

    def keep(self, sealed: SealedKey, former: frozenset[bytes]) -> None:
        """What is there is never replaced by an older one."""
        if self.sealed is not None:
            if sealed.version <= self.sealed.version:
                return
            self.former.add(opened(self.sealed))
        self.former |= former
        self.former.discard(opened(sealed))
        self.sealed = sealed
