"""What a state is when sites may hold: the machine without its voters, and copies of agents that promise.

Time is kept as in the layer below: what is left at the latest of whatever keeps a site active, what is left at the
earliest of whatever keeps another one from it, ages of what is under way. So a promise is left at the earliest on its
promiser and hold authority at the latest on its holder, whatever their clocks are.
"""

from __future__ import annotations

from typing import NamedTuple

NOBODY = -1


class Lease(NamedTuple):
    """The lease record. `wait` is for how many ticks votes cannot end it yet; `binds` the claim that alone may claim
    a re-grant in place (NOBODY: any of the incarnation); `proved` is set when a renewal was sent under this epoch."""

    epoch: int
    site: int
    incarnation: int
    claim: int
    binds: int
    wait: int
    ttl: int
    proved: int


class Former(NamedTuple):
    """Who may live on by holds after its lease expired: the newest holder that was ever claimed."""

    site: int
    incarnation: int
    claim: int
    epoch: int


class Machine(NamedTuple):
    """The replicated machine. `eligible` is the bit set of sites that a holder may be asked to rely on, `hold_wait`
    the longest lease that somebody may still live on."""

    epoch: int
    lease: Lease | None
    former: Former | None
    ttl: int
    version: int
    eligible: int
    hold_wait: int


class Attempt(NamedTuple):
    """A heartbeat: claims or renews `epoch`, sent while its copy lived `under` an epoch (0: while it was down), by an
    agent that knew `version` of the sites. `yes` is the ttl of a positive answer under way."""

    age: int
    incarnation: int
    epoch: int
    under: int
    version: int
    live: int
    sent: int
    yes: int


class Ask(NamedTuple):
    """A hold request to one site: `sent` while it may arrive (again), `yes` while a positive answer is under way."""

    to: int
    age: int
    epoch: int
    ttl: int
    live: int
    sent: int
    yes: int


class Promise(NamedTuple):
    """Not to begin, for `left` more ticks at the earliest; made to the holder of `epoch` with that claim."""

    left: int
    epoch: int
    claim: int


NO_PROMISE = Promise(0, 0, 0)


class Copy(NamedTuple):
    """One running copy of an agent. It lives while `authority` (by the witnesses) or `hold` (by every other site) is
    left; `heard` has, for each site, what its newest positive answer to a hold request gives."""

    incarnation: int
    epoch: int
    ttl: int
    authority: int
    hold: int
    heard: tuple[int, ...]
    finished: int
    linger: int
    attempts: tuple[Attempt, ...]
    asks: tuple[Ask, ...]
    release: int
    """Epoch of a release to the witnesses under way."""
    end: int
    """Epoch of a HoldEnd to the promisers under way."""
    promise: Promise
    up: int
    """Ticks since its cold start, counted up to the longest wait."""
    known: int
    """The version of the group's set of sites that it knows, and says in its heartbeats."""

    @property
    def left(self) -> int:
        return max(self.authority, self.hold)


class State(NamedTuple):
    machine: Machine
    copies: tuple[Copy, ...]
    incarnations: tuple[int, ...]
    recreations: int
    top: int
    """Ghost: the greatest epoch that any grant ever had."""
    activated: int
    """Ghost: bit e is set when epoch e was ever activated."""
    broken: int
    """Ghost: 0, or which promise a move has just broken (leasemodel.state)."""
