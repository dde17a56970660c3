"""The bounds of each search. Within them the search is exhaustive; beyond them it says nothing.

One search with every fault at once does not fit into a CI run, so each small scenario turns on the faults that can
meet each other in one story, and the large ones put the stories together. A scenario says what it adds
to two sites with one agent each, three witnesses of which one has a mad clock, and heartbeats, answers, votes,
grants and releases that may be late by any time, lost, or arrive more than once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Bounds:
    """What one search may use up. All times are ticks of true time."""

    name: str
    about: str
    copies: tuple[int, ...] = (0, 1)
    """The site of each running copy of an agent; (0, 0, 1) is a clone of the agent of site 0."""
    ttls: tuple[int, ...] = (2,)
    """ttl/(1-r) for each configured ttl; more than one means that the configuration may change at any moment."""
    lock_delay: int = 0
    epochs: int = 2
    """Grants (and barred leases) of one run."""
    renewals: int = 2
    """Committed renewals of one epoch, the claim included."""
    attempts: int = 2
    """Heartbeats of one copy that are under way or unanswered at the same time."""
    grants: int = 0
    """Grants that are under way at the same time; with 0 a grant is proposed and committed in one move. The
    compare-and-set makes a late commit the same as a late proposal, but for an incarnation that ended meanwhile."""
    incarnations: int = 1
    """Incarnations of one site; above 1 an agent may crash and start cold at any moment."""
    recreations: int = 0
    """How often all witnesses may be restored or created anew."""
    mad_witness: bool = True
    """Witness 0 votes whenever it likes for whatever it applied."""
    restarts: bool = False
    """A witness may restart at any moment, any number of times. Under the full rules a restarted witness is in the
    state of one that lags, so this adds moves and no states; the largest CI scenarios do without."""
    duplicates: bool = False
    """A heartbeat that was committed may be committed once more, like a retransmission."""
    dead_heartbeats: bool = False
    """A heartbeat that can bring its sender nothing any more is still committed, as a renewal."""
    revokes: bool = False
    """The revoke deadline may strike a held lease at any moment."""

    @cached_property
    def ttl_max(self) -> int:
        return max(self.ttls)

    @cached_property
    def sites(self) -> int:
        return max(self.copies) + 1


SMALL: tuple[Bounds, ...] = (
    Bounds("basic", "one heartbeat of a site at a time", attempts=1, restarts=True),
    Bounds("overtaking", "two heartbeats of a site, so that renewals and answers overtake each other"),
    Bounds("two-heartbeats", "overtaking with the shortest lease and one renewal", ttls=(1,), renewals=1),
    Bounds(
        "repeats",
        "heartbeats committed twice, or long after they could still help their sender",
        ttls=(1,),
        renewals=1,
        duplicates=True,
        dead_heartbeats=True,
    ),
    Bounds(
        "clone",
        "a copy of dc-a with its certificate and incarnation",
        (0, 0, 1),
        ttls=(1,),
        attempts=1,
        restarts=True,
    ),
    Bounds("grants", "two grants under way at once", attempts=1, renewals=1, grants=2, restarts=True),
    Bounds(
        "crash",
        "agents start cold at any moment; a grant for a dead incarnation arrives late",
        attempts=1,
        incarnations=2,
        grants=1,
    ),
    Bounds("three-epochs", "one epoch more", ttls=(1,), attempts=1, renewals=1, epochs=3, restarts=True),
    Bounds(
        "restore",
        "the witnesses are restored or created anew",
        ttls=(1,),
        attempts=1,
        renewals=1,
        epochs=3,
        recreations=1,
        restarts=True,
    ),
    Bounds(
        "restore-configure",
        "restored with another ttl than the one in force",
        ttls=(1, 2),
        attempts=1,
        renewals=1,
        epochs=3,
        recreations=1,
    ),
    Bounds(
        "restore-clone",
        "restored while a copy of dc-a runs with its certificate and incarnation",
        (0, 0, 1),
        ttls=(1,),
        attempts=1,
        renewals=1,
        epochs=3,
        recreations=1,
        mad_witness=False,
    ),
    Bounds("configure", "the configured ttl changes at any moment", ttls=(1, 2), attempts=1),
    Bounds(
        "lock-delay",
        "a license server keeps its session open after an unclean end",
        ttls=(1,),
        lock_delay=1,
        attempts=1,
        incarnations=2,
    ),
    Bounds("revoke", "the revoke deadline strikes at any moment", attempts=1, restarts=True, revokes=True),
    Bounds(
        "three-sites",
        "three sites and three epochs",
        (0, 1, 2),
        ttls=(1,),
        attempts=1,
        epochs=3,
        restarts=True,
    ),
    Bounds("sound-clocks", "no witness has a mad clock", attempts=1, mad_witness=False, restarts=True),
)
"""What CI searches in full."""

LARGE: tuple[Bounds, ...] = (
    Bounds(
        "overtaking-large",
        "overtaking with repeats, dead heartbeats and three renewals",
        renewals=3,
        restarts=True,
        duplicates=True,
        dead_heartbeats=True,
    ),
    Bounds(
        "long-lease",
        "a lease of three ticks, three renewals",
        ttls=(3,),
        attempts=1,
        renewals=3,
        restarts=True,
    ),
    Bounds(
        "clone-renewed",
        "a clone, with renewals that prolong",
        (0, 0, 1),
        attempts=1,
        restarts=True,
    ),
    Bounds(
        "clone-cold",
        "a clone that starts cold and so gets an incarnation of its own",
        (0, 0, 1),
        ttls=(1,),
        attempts=1,
        renewals=1,
        incarnations=2,
    ),
    Bounds(
        "clone-large",
        "a clone, two renewals, cold starts of every copy, late grants",
        (0, 0, 1),
        attempts=1,
        incarnations=2,
        grants=1,
        restarts=True,
    ),
    Bounds(
        "restore-large",
        "two restores, two ttls, a lock delay, cold starts, revokes",
        ttls=(1, 2),
        lock_delay=1,
        attempts=1,
        renewals=2,
        epochs=4,
        incarnations=2,
        recreations=2,
        restarts=True,
        revokes=True,
    ),
    Bounds(
        "three-sites-large",
        "three sites, three epochs, cold starts, late grants",
        (0, 1, 2),
        attempts=1,
        epochs=3,
        incarnations=2,
        grants=1,
        restarts=True,
    ),
)
"""What `run.py --bound large` searches as far as its limits let it."""

BY_NAME: dict[str, Bounds] = {bounds.name: bounds for bounds in (*SMALL, *LARGE)}
