"""What a group's active site works on, and what may refuse it: a database, a storage, a license server with a memory.

Rule: every effect carries the epoch of whoever causes it, and the resource takes none below the newest that it has
seen (DESIGN section 3). It knows nothing else of witnesses, sites and leases: this is what still holds where a site
goes on by clocks that had been frozen.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from proto.units import NS_PER_MS, Epoch, GroupId
from witness.sim.checkers.effects import EffectChecker
from witness.sim.clock import Events

EFFECT_EVERY_NS = 250 * NS_PER_MS
"""How often an active platform does something."""
DELAY_NS = (NS_PER_MS // 5, 3 * NS_PER_MS)
"""It lies beside the sites, and effects may overtake each other."""
Note = Callable[[str, str], None]
"""A line for the trace: who, what."""


class Resource:
    def __init__(
        self, events: Events, rng: random.Random, hit: Callable[[str], None], note: Note, checker: EffectChecker
    ) -> None:
        self._events = events
        self._rng = rng
        self._hit = hit
        self._note = note
        self._checker = checker
        self._newest: dict[GroupId, Epoch] = {}

    def effect(self, group: GroupId, host: str, epoch: Epoch) -> None:
        """Leaves the site now."""
        self._events.after(self._rng.randint(*DELAY_NS), lambda: self._arrives(group, host, epoch))

    def admits(self, group: GroupId, epoch: Epoch) -> bool:
        return epoch >= self._newest.get(group, Epoch(0))

    def _arrives(self, group: GroupId, host: str, epoch: Epoch) -> None:
        if not self.admits(group, epoch):
            self._hit("resource-refused")
            self._note("resource", f"refuses {host} under epoch {epoch}: it has seen {self._newest[group]}")
            return
        self._newest[group] = epoch
        self._checker.accepted(group, host, epoch)
