"""The bounds of each search with holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class HoldBounds:
    """What one search may use up. All times are ticks of true time. Renewals and holds are not counted: a lease has
    any number of them."""

    name: str
    about: str
    copies: tuple[int, ...] = (0, 1)
    """The site of each running copy of an agent."""
    versions: tuple[tuple[int, ...], ...] = ((0, 1),)
    """The sites of the group in each version of its configuration; they come one after the other."""
    ttls: tuple[int, ...] = (2,)
    lock_delay: int = 0
    epochs: int = 2
    attempts: int = 1
    """Heartbeats of one copy under way at the same time."""
    asks: int = 1
    """Hold requests of one copy under way at the same time."""
    late_asks: bool = False
    """Requests that can bring their sender nothing any more still arrive, and arrive again."""
    incarnations: int = 1
    cold_sites: tuple[int, ...] = (0, 1, 2)
    """Sites that may start cold, when there are incarnations for it; dc-a is granted first all the same."""
    recreations: int = 0
    clones_granted: bool = False
    """Whether a site with a clone is granted other than in place after an expiry (what no rule can keep: docs)."""
    begins_with: int = 0
    """The version of its sites that the group begins with, all eligible; the agents know the first one."""
    deletes: bool = False
    """The group may be deleted, and made again with the sites of the next version."""

    @cached_property
    def ttl_max(self) -> int:
        return max(self.ttls)

    @cached_property
    def wait_max(self) -> int:
        return self.ttl_max + self.lock_delay

    @cached_property
    def sites(self) -> int:
        return max(self.copies) + 1


SMALL_HOLDS: tuple[HoldBounds, ...] = (
    HoldBounds("holds", "two sites that may hold, one request at a time"),
    HoldBounds("holds-overtaking", "two requests and two heartbeats of a site overtake each other", attempts=2, asks=2),
    HoldBounds("holds-late", "requests that come late, or come again", late_asks=True),
    HoldBounds("holds-crash", "sites start cold and lose what they stored", incarnations=2),
    HoldBounds(
        "holds-configure", "the configured ttl changes; dc-b starts cold", ttls=(1, 2), incarnations=2, cold_sites=(1,)
    ),
    HoldBounds("holds-regrant", "three epochs, so that a re-grant is lost and granted again", epochs=3),
    HoldBounds(
        "holds-lock-delay", "a license server keeps its session open", lock_delay=1, incarnations=2, cold_sites=(1,)
    ),
    HoldBounds("holds-clone", "a copy of dc-a with its certificate and incarnation", (0, 0, 1)),
    HoldBounds("holds-restore", "the witnesses are restored while a site lives by holds", epochs=3, recreations=1),
    HoldBounds("holds-three-sites", "three sites, each must hold", (0, 1, 2), ((0, 1, 2),)),
)
"""What CI searches in full."""

LARGE_HOLDS: tuple[HoldBounds, ...] = (
    HoldBounds(
        "holds-added-site", "a site is added, and the group deleted", (0, 1, 2), ((0, 1), (0, 1, 2)), deletes=True
    ),
    HoldBounds("holds-added-later", "a site is added; three epochs", (0, 1, 2), ((0, 1), (0, 1, 2)), epochs=3),
    HoldBounds(
        "holds-removed-site",
        "a site is removed and added again",
        (0, 1, 2),
        ((0, 1, 2), (0, 1), (0, 1, 2)),
        asks=2,
    ),
    HoldBounds("holds-late-again", "requests that come late or again, three epochs", late_asks=True, epochs=3),
    HoldBounds("holds-three-large", "three sites, two requests at a time", (0, 1, 2), ((0, 1, 2),), asks=2),
    HoldBounds(
        "holds-configure-regrant", "configure with three epochs", ttls=(1, 2), epochs=3, incarnations=2, cold_sites=(1,)
    ),
    HoldBounds(
        "holds-unknown-set", "agents that do not know all sites yet", (0, 1, 2), ((0, 1), (0, 1, 2)), begins_with=1
    ),
    HoldBounds("holds-clones-granted", "a clone is granted after an expiry", (0, 0, 1), clones_granted=True),
    HoldBounds(
        "holds-restore-crash", "restored, with cold starts", epochs=3, recreations=1, incarnations=2, ttls=(1, 2)
    ),
    HoldBounds("holds-long", "a lease of three ticks, three epochs, cold starts", ttls=(3,), epochs=3, incarnations=2),
)
"""What `run.py --bound large` searches as far as its limits let it."""
