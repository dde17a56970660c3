"""Q1: no quarantine ends by itself at a site whose data checks fail, whatever else it has proven."""

from __future__ import annotations

from proto.events import Event, EventKind
from proto.units import GroupId
from witness.sim.raft.checkers import Findings

BY_ITSELF = "proven down, data checks pass"
"""What the ledger says then."""


class QuarantineChecker:
    def __init__(self, findings: Findings) -> None:
        self._found = findings.found
        self._failing: set[tuple[GroupId, str]] = set()

    def fails(self, group: GroupId, host: str) -> None:
        """The data checks of this site do, since before it was active for the first time."""
        self._failing.add((group, host))

    def mended(self) -> None:
        self._failing.clear()

    def told(self, event: Event) -> None:
        if event.kind is not EventKind.QUARANTINE_CLEARED or event.group is None or event.text != BY_ITSELF:
            return
        if (event.group, str(event.site)) in self._failing:
            self._found("quarantine", f"event {event.seq}: {event.site} left its quarantine, its data checks fail")
