"""(11) One license on this site: what is kept of it, what was seen of it, and what is told about it.

Rule: the worst is told first. A platform that is seen activated where nothing may run goes before a damaged store, that
before a key that does not open here, and these before what a watcher, the witnesses or a probe said last. What moves a
license is agents/core/licenses.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from agents.core.lease_holder import NO_EPOCH
from agents.core.settings import LicenseSettings
from proto.license import EscrowVersion, LicenseReport, SealedKey, version_words
from proto.units import Epoch, InstantNs

CANNOT_OPEN = "cannot-open"
NOT_STORED = "not-stored"
PUT_REFUSED = "put-refused"
STORE_DAMAGED = "store-damaged"
TWO_WRITERS = "two-writers"
ACTIVE_WHILE_DORMANT = "active-while-dormant"
"""Stays until a later probe says no."""


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """What is on disk of one license, as the core needs it."""

    newest: SealedKey | None = None
    opens: bool = False
    """The newest opens with this site's sealing keys."""
    held: EscrowVersion | None = None
    """The newest version that opens."""
    damaged: bool = False


class Look(Enum):
    """What a watcher saw in place of an active site."""

    SAME = "same"
    CHANGED = "changed"
    FAILED = "failed"


@dataclass(slots=True)
class License:
    settings: LicenseSettings
    kept: KeptKeys
    number: int = 0
    """The highest number that was ever heard of."""
    acked: EscrowVersion | None = None
    sealing: bool = False
    again_at: InstantNs = InstantNs(0)  # noqa: RUF009 - a number
    activated: bool | None = None
    watch_problem: str = ""
    put_problem: str = ""
    probe_problem: str = ""
    slow: bool = False
    """The witnesses keep no such license, as long as nobody configures it there."""
    alarm: bool = False
    """It was seen activated where nothing may run, and no report has said so yet."""
    read_epoch: Epoch = NO_EPOCH
    """The last epoch under which its place was read."""
    found: bool = False
    """The same, until a later look says that it is not."""

    def unsent(self, epoch: Epoch) -> SealedKey | None:
        """The newest, when it was sealed in this epoch, so here, and the witnesses have not said that they have it."""
        newest = self.kept.newest
        if newest is None or newest.version.epoch != epoch:
            return None
        return newest if self.acked is None or self.acked < newest.version else None

    @property
    def problem(self) -> str:
        """'' or the first that counts, as reports and status name it."""
        if self.found:
            return ACTIVE_WHILE_DORMANT
        if self.kept.damaged:
            return STORE_DAMAGED
        if self.kept.newest is not None and not self.kept.opens:
            return CANNOT_OPEN
        return self.watch_problem or self.put_problem or self.probe_problem

    def report(self) -> LicenseReport:
        return LicenseReport(self.settings.name, self.kept.held, self.alarm or self.activated, self.problem)

    def blockers(self, lock_delay_ms: int | None) -> Iterator[str]:
        """Why this site could not start with the right key; `lock_delay_ms`: of the group, None while not known."""
        name, wanted, newest = self.settings.name, self.settings.lock_delay_ms, self.kept.newest
        if lock_delay_ms is not None and wanted > lock_delay_ms:
            yield (
                f"license {name}: lock_delay {wanted} ms is longer than the group's {lock_delay_ms} ms; "
                f"raise the group's lock_delay to {wanted} ms; one that was raised counts from the next epoch"
            )
        if self.settings.required and newest is not None and not self.kept.opens:
            yield (
                f"license {name}: version {version_words(newest.version)} does not open here: bring the sealing "
                f"key {newest.key_id} to this site's key file"
            )
        if self.found:
            yield f"license {name}: it was seen activated here though nothing may run"

    def shown(self, epoch: Epoch) -> dict[str, object]:
        """For the status; `epoch`: under which this site seals, NO_EPOCH for none."""
        newest = self.kept.newest
        return {
            "license": self.settings.name,
            "newest": version_words(None if newest is None else newest.version),
            "held": version_words(self.kept.held),
            "key_id": "" if newest is None else newest.key_id,
            "unsent": epoch != NO_EPOCH and self.unsent(epoch) is not None,
            "activated": self.activated,
            "problem": self.problem,
        }
