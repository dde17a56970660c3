"""What a state is when a site may be active by a permit.

Time is kept as in the layers below. `confirmed` and `unheard` are ages since the commit of the newest heartbeat of a
site whose answer the site is known to have received; `silence` is the time since that site received any answer.
"""

from __future__ import annotations

from typing import NamedTuple

NOBODY = -1


class Lease(NamedTuple):
    """The lease record. `open_until` is the permit's epoch that has to be over before votes can end an adopted lease
    (0: not adopted, or over)."""

    epoch: int
    site: int
    incarnation: int
    claim: int
    wait: int
    open_until: int


class Machine(NamedTuple):
    """The replicated machine. `under` is (site, epoch of its permit) as that site said last, `unheard` a count for
    each site that ends at the bound from which it counts as long."""

    epoch: int
    lease: Lease | None
    under: tuple[int, int]
    unheard: tuple[int, ...]


NO_PERMIT = (NOBODY, 0)


class Attempt(NamedTuple):
    """A heartbeat. `epoch` is what it claims or renews (0: neither), `under` what its copy was active under, `permit`
    whether that was a permit, `finished` the epochs that were over; `done` is the age of its commit (-1: not yet)."""

    age: int
    incarnation: int
    epoch: int
    under: int
    permit: int
    finished: int
    confirmed: int
    live: int
    done: int
    yes: int


class Copy(NamedTuple):
    """One agent. It is active while `authority` is left, or under a permit until it ends that itself."""

    incarnation: int
    epoch: int
    authority: int
    permit: int
    finished: int
    bound: int
    """The highest epoch ever acted upon; durable."""
    used: int
    """How many permits were used up here; durable."""
    silence: int
    confirmed: int
    attempts: tuple[Attempt, ...]

    @property
    def active(self) -> bool:
        return bool(self.authority or self.permit)


class State(NamedTuple):
    machine: Machine
    copies: tuple[Copy, ...]
    incarnations: tuple[int, ...]
    recreations: int
    granted: int
    """Ghost: bit e is set when epoch e was ever granted, barred or taken by permit."""
    activated: int
    """Ghost: bit e is set when epoch e was ever begun, by grant or by permit."""
    broken: int
