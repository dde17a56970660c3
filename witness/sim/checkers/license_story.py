"""What the ledger tells of licenses is true, and what a probe says moves nobody.

A license that is told to be activated where it must not be was seen so by that site's probe; a site that is told to
hold the newest key has it on its disk. Where nothing but probes is wrong, whoever began goes on (DESIGN section 8: the
probe watches; the lease decides).
"""

from __future__ import annotations

from proto.commands import Cause
from proto.events import Event, EventKind
from proto.license import EscrowVersion, read_version, version_words
from proto.units import Epoch, GroupId, LicenseName, SiteId
from witness.sim.raft.checkers import Findings

Where = tuple[GroupId, SiteId, LicenseName]
_ENDS = frozenset({EventKind.EXPIRED, EventKind.RELEASED, EventKind.REVOKED})
HOLDS = "it holds "
"""So the ledger says that a site is current."""


class LicenseStoryChecker:
    def __init__(self, findings: Findings) -> None:
        self.alone = False
        """Probes are all that is wrong in this schedule."""
        self._found = findings.found
        self._seen: set[Where] = set()
        """Where a probe said "activated", since the ledger said that this is over."""
        self._kept: dict[Where, EscrowVersion] = {}
        self._begun: set[tuple[GroupId, Epoch]] = set()
        self._fails_back: set[GroupId] = set()

    # -- the sites --------------------------------------------------------------------------------------------

    def probed(self, group: GroupId, site: SiteId, name: LicenseName, *, activated: bool) -> None:
        """Told to the agent."""
        if activated:
            self._seen.add((group, site, name))

    def kept(self, group: GroupId, site: SiteId, name: LicenseName, version: EscrowVersion) -> None:
        where = (group, site, name)
        self._kept[where] = max(version, self._kept.get(where, version))

    def begun(self, group: GroupId, epoch: Epoch) -> None:
        self._begun.add((group, epoch))

    # -- the ledger -------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        if event.group is None:
            return
        name, _, rest = event.text.partition(": ")
        where = None if event.site is None else (event.group, event.site, LicenseName(name))
        if event.kind is EventKind.BOTH_ACTIVE and where not in self._seen:
            self._found("license-story", f"event {event.seq}: {event.site}'s probe never saw {name} activated")
        elif event.kind is EventKind.LICENSE_CURRENT and where is not None and rest.startswith(HOLDS):
            self._current(event, where, read_version(rest.removeprefix(HOLDS), "held"))
        if self.alone and event.kind in _ENDS and (event.group, event.epoch) in self._begun:
            self._moved(event.group, event)

    def _current(self, event: Event, where: Where, version: EscrowVersion) -> None:
        kept = self._kept.get(where)
        if kept is None or kept < version:
            says = f"{event.site} holds {version_words(version)} of {where[2]}, its disk has {version_words(kept)}"
            self._found("license-story", f"event {event.seq} says that {says}")

    def _moved(self, group: GroupId, event: Event) -> None:
        if event.kind is EventKind.REVOKED and event.text.startswith(Cause.FAILBACK.value):
            self._fails_back.add(group)
        elif event.kind is EventKind.RELEASED and group in self._fails_back:
            self._fails_back.discard(group)
        else:
            says = f"{event.kind.value} {event.site} in epoch {event.epoch}: {event.text}"
            self._found("license-story", f"event {event.seq}: {group}: {says}, though nothing but probes is wrong")
