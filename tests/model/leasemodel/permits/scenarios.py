"""The bounds of each search with permits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class PermitBounds:
    """What one search may use up. All times are ticks of true time."""

    name: str
    about: str
    copies: tuple[int, ...] = (0, 1)
    ttl: int = 1
    long: int = 2
    """From how many ticks on the witnesses find a silence long."""
    after: int = 2
    """How long a site waits for an answer before it takes a permit: never less than `long`."""
    epochs: int = 1
    """Grants before a permit, and again after it."""
    attempts: int = 1
    incarnations: int = 1
    cold: int = 1
    """Sites that may start cold, when there are incarnations for it: the last ones."""
    recreations: int = 0
    adoptions: int = 3
    """How far the epochs of adoptions may lead away from the permit's."""
    permits: int = 1
    """Sites that a permit exists for: the last ones."""
    clears: bool = False

    @cached_property
    def sites(self) -> int:
        return max(self.copies) + 1

    def has_permit(self, site: int) -> bool:
        """Silence of the others is not counted: the witnesses wait less than they do, which is the harder case."""
        return site >= self.sites - self.permits


SMALL_PERMITS: tuple[PermitBounds, ...] = (
    PermitBounds("permit", "dc-b has a permit, and may be the only one that is cut off"),
    PermitBounds("permit-crash", "dc-b starts cold", incarnations=2),
    PermitBounds("permit-outage", "the witnesses are lost and restored", long=1, after=1, recreations=1),
    PermitBounds("permit-cleared", "an operator clears a group that waits for a site", long=1, after=1, clears=True),
)
"""What CI searches in full."""

LARGE_PERMITS: tuple[PermitBounds, ...] = (
    PermitBounds("permit-restored", "the witnesses are lost and restored; a longer silence", recreations=1),
    PermitBounds("permit-overtaking", "two heartbeats of a site overtake each other", attempts=2),
    PermitBounds("permit-renewed", "leases with renewals that prolong", ttl=2, long=3, after=3),
    PermitBounds("permit-both", "either site may take a permit, and start cold", permits=2, incarnations=2, cold=2),
)
"""What `run.py --bound large` searches as far as its limits let it."""
