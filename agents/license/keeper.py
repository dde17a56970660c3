"""One license of one group as this site's disk and sealing keys have it. Values in clear live in its calls only.

Used by the agent, which writes, and by the step of an activation and the commands, which read. Blocking calls come from
threads, one at a time: the lock is held over each change of the file, so that what a holder of another site sends and
what is sealed here never overtake each other.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from agents.core.license import NOT_STORED, TWO_WRITERS, KeptKeys
from agents.core.license_rules import InPlace
from agents.license.key_file import KeyFileUnusable, KeyRing, load_ring
from agents.license.place import SOURCE_BAD_VALUE
from agents.license.sealing import CannotOpen, Opened, Sealer, digest
from agents.license.spec import SiteLicense
from agents.license.store import Escrow, EscrowFile, Kept, with_newer
from proto.edge.logs import get_logger
from proto.errors import BadValue, DurabilityLost
from proto.license import EscrowVersion, SealedKey, check_sealed, version_words
from proto.units import ClusterId, GroupId

KEY_FILE = "key-file-unusable"
NO_KEY = "no-key-in-place"
OLD_KEY = "older-key-in-place"
TRAIL_MAX = 8

log = get_logger("agents.license")


@dataclass(frozen=True, slots=True)
class Found:
    """What a value in place is."""

    place: InPlace
    version: EscrowVersion | None = None
    """Of the sealed key that it equals."""
    problem: str = ""
    """Why it cannot be a key, as a code."""


class LicenseKeeper:
    """Owned by one room, or by one command."""

    def __init__(self, cluster: ClusterId, group: GroupId, spec: SiteLicense, state_dir: Path) -> None:
        self.spec = spec
        self.sealer = Sealer(cluster, group, spec.name)
        self.file = EscrowFile(state_dir, group, spec.name)
        self.key_problem = ""
        """Why the key file cannot be used, in words; '' while it can."""
        self._lock = threading.RLock()
        self._escrow = self.file.load()
        self._ring: KeyRing | None = None
        self._ring_stamp: tuple[int, int, int] | None = None
        self._trail: deque[bytes] = deque(maxlen=TRAIL_MAX)
        self._shape = re.compile(spec.pattern.encode()) if spec.pattern else None

    # -- the sealing keys -------------------------------------------------------------------------------------

    def ring(self) -> KeyRing | None:
        """As the file is now: it is read again when it changed. None, with `key_problem`, when it cannot be used."""
        path = self.spec.key_file
        if path is None:
            return None
        with self._lock:
            try:
                stamp = _stamp(path)
                if stamp != self._ring_stamp or self._ring is None:
                    self._ring, self._ring_stamp = load_ring(path), stamp
                self.key_problem = ""
            except KeyFileUnusable as error:
                self._no_ring(str(error))
            return self._ring

    def _no_ring(self, words: str) -> None:
        if words != self.key_problem:
            log.error("key_file_unusable", license=self.spec.name, why=words)
        self._ring, self._ring_stamp, self.key_problem = None, None, words

    # -- what is kept -----------------------------------------------------------------------------------------

    @property
    def escrow(self) -> Escrow:
        return self._escrow

    def kept(self) -> KeptKeys:
        with self._lock:
            escrow, ring = self._escrow, self.ring()
            newest = escrow.newest
            opened = next((one for one in escrow.known() if self.sealer.opens(ring, one)), None)
            return KeptKeys(
                newest=newest,
                opens=newest is not None and opened is newest,
                held=None if opened is None else opened.version,
                damaged=escrow.damaged,
            )

    def keep(self, sealed: SealedKey) -> str:
        """A sealed key of another site. Returns the problem's code, '' for none. Raises DurabilityLost."""
        try:
            check_sealed(sealed, f"license.{self.spec.name}")
        except BadValue as error:
            log.warning("sealed_key_refused", license=self.spec.name, why=str(error))
            return ""
        with self._lock:
            escrow, outcome = with_newer(self._escrow, sealed)
            if outcome is Kept.STORED:
                self._save(escrow)
                log.info("sealed_key_kept", license=self.spec.name, version=version_words(sealed.version))
            return TWO_WRITERS if outcome is Kept.CONFLICT else ""

    def seal(self, value: bytes, version: EscrowVersion) -> str:
        """Seals and keeps it, unless the newest says it all. Returns the problem's code, '' for none."""
        found = self.judge_shape(value)
        if found is not None:
            return found.problem
        with self._lock:
            ring = self.ring()
            if ring is None:
                return KEY_FILE
            if self.compare(value).place is InPlace.OLDER and not self.accepted(value):
                return OLD_KEY  # a place that went back between the look and this read, or that was never looked at
            before = self._opened(ring, self._escrow.newest)
            if self._said(ring, before, value, version):
                return ""
            former = () if before is None else (*before.former, digest(before.value))
            sealed = self.sealer.seal(ring, version, value, (*self._trail, *former))
            escrow, outcome = with_newer(self._escrow, sealed)
            if outcome is not Kept.STORED:
                return TWO_WRITERS
            try:
                self._save(replace(escrow, seen=version))
            except DurabilityLost as error:
                log.warning("sealed_key_not_stored", license=self.spec.name, why=str(error))
                return NOT_STORED
            self.file.forget_accepted()
            log.info("key_sealed", license=self.spec.name, version=version_words(version), key_id=sealed.key_id)
            return ""

    def _said(self, ring: KeyRing, before: Opened | None, value: bytes, version: EscrowVersion) -> bool:
        newest = self._escrow.newest
        if newest is None or before is None:
            return False
        same = newest.version.epoch == version.epoch and newest.key_id == ring.newest.key_id
        return same and hmac.compare_digest(before.value, value)

    def saw(self, version: EscrowVersion | None) -> None:
        """What is in place on this site now: that version, or an older one that only its successor knows.

        What cannot be noted is noted at the next look.
        """
        with self._lock:
            try:
                if version is None or version != self._escrow.seen:
                    self.file.forget_placed()
                if self._escrow.seen == version or self._escrow.newest is None:
                    return
                self._save(replace(self._escrow, seen=version))
            except DurabilityLost as error:
                log.warning("not_noted", license=self.spec.name, why=str(error))

    def _save(self, escrow: Escrow) -> None:
        if self._escrow.damaged:
            try:
                self.file.set_aside()
            except OSError as error:
                raise DurabilityLost(f"{self.file.path} is damaged and cannot be moved: {error.strerror}") from error
        self.file.save(escrow)
        self._escrow = escrow

    # -- what is in place -------------------------------------------------------------------------------------

    def judge_shape(self, value: bytes | None) -> Found | None:
        """What no key can be; None for what may be one."""
        if value is None:
            return Found(InPlace.ABSENT, problem=NO_KEY)
        fits = self.spec.size_min <= len(value) <= self.spec.size_max
        if not fits or (self._shape is not None and self._shape.fullmatch(value) is None):
            return Found(InPlace.ABSENT, problem=SOURCE_BAD_VALUE)
        return None

    def compare(self, value: bytes | None) -> Found:
        found = self.judge_shape(value)
        if found is not None or value is None:
            return found or Found(InPlace.ABSENT, problem=NO_KEY)
        with self._lock:
            self._note(value)
            ring, newest = self.ring(), None
            for sealed in self._escrow.known() if ring is not None else ():
                opened = self._opened(ring, sealed)
                if opened is None:
                    continue
                newest = newest or sealed
                if hmac.compare_digest(opened.value, value):
                    return Found(InPlace.NEWEST if sealed is newest else InPlace.OLDER, sealed.version)
                if opened.replaced(value):
                    return Found(InPlace.OLDER)
        return Found(InPlace.UNKNOWN)

    def _note(self, value: bytes) -> None:
        """What was in place before a key is sealed for the first time is its predecessor, and never had a box."""
        seen = digest(value)
        if seen not in self._trail:
            self._trail.append(seen)

    def look(self, value: bytes | None) -> tuple[Found, bool, bool]:
        """What it is, whether the sealing keys can be used, and whether the newest is sealed with a former one."""
        with self._lock:
            return self.compare(value), self.ring() is not None, self.reseal_due()

    def newest_open(self) -> SealedKey | None:
        ring = self.ring()
        return next((one for one in self._escrow.known() if self.sealer.opens(ring, one)), None)

    def _opened(self, ring: KeyRing | None, sealed: SealedKey | None) -> Opened | None:
        if ring is None or sealed is None:
            return None
        try:
            return self.sealer.open(ring, sealed)
        except CannotOpen:
            return None

    def reseal_due(self) -> bool:
        """The newest is sealed with a former sealing key."""
        ring, newest = self.ring(), self._escrow.newest
        return ring is not None and newest is not None and newest.key_id != ring.newest.key_id

    def accept(self, ring: KeyRing, value: bytes) -> None:
        """An operator says so. Raises DurabilityLost."""
        newest = self._escrow.newest
        self.file.accept(self.sealer.mark(ring, value)[0], None if newest is None else newest.version)

    def accepted_mark(self) -> str:
        """'' when no operator's word holds."""
        newest = self._escrow.newest
        return self.file.accepted(None if newest is None else newest.version)

    def accepted(self, value: bytes | None) -> bool:
        """An operator said of this very value that it is the right one."""
        ring, mark = self.ring(), self.accepted_mark()
        if ring is None or value is None or not mark:
            return False
        return any(hmac.compare_digest(mark, one) for one in self.sealer.mark(ring, value))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """None, which is never kept, where reading it says why it is not there."""
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_ctime_ns
