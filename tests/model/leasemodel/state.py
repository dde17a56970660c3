"""What a state of the model is: tuples of small ints, nothing else.

Time is true time in whole ticks and is never stored as a date. Everything that runs out is stored as the ticks that
are left of it at the latest (authority) or at the earliest (a witness's timer), everything that gets older as its
age. So the model needs no clock, stays finite, and a drifting clock is a bound and not a variable
(docs/lease-safety.md, "Time in the model").

A `Copy` is one running copy of a site's agent together with its guard and its platform: what can have authority.
Usually a site has one. A second copy of the same site is a clone: same certificate, same incarnation, other memory.
A paused agent is a copy that no move happens to be chosen for; the model needs no flag for it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

T = TypeVar("T")

NOBODY = -1
"""As a site: the barred lease of a re-created group. As a claim: not claimed yet."""

Record = tuple[int, int]
"""(epoch, renewal): the exact thing that a timer runs for and a vote names. (0, 0) is none."""
NO_RECORD: Record = (0, 0)


class Lease(NamedTuple):
    """The lease record of the replicated machine; a vacant group has none."""

    epoch: int
    site: int
    incarnation: int
    claim: int
    renewal: int
    ttl: int
    refusing: int


class Machine(NamedTuple):
    """The replicated machine: commands are committed one after the other, each in one move."""

    epoch: int
    lease: Lease | None
    ttl: int


class Witness(NamedTuple):
    """One witness: what it applied since its start, its timer, its votes under way, and those the machine counted."""

    applied: Record
    timer: int
    votes: tuple[Record, ...]
    counted: int


class Attempt(NamedTuple):
    """One heartbeat with its own nonce: `age` since t0, `live` while the nonce is not void, `sent` while the command
    can still be committed, and the positive answers (epoch, ttl) that are under way back."""

    age: int
    incarnation: int
    epoch: int
    live: int
    sent: int
    answers: tuple[tuple[int, int], ...]


class Copy(NamedTuple):
    """One running copy of an agent. `authority` is the ticks left at the latest, `epoch` 0 when it has none,
    `linger` the ticks for which a license server still sees its session after an unclean end."""

    incarnation: int
    authority: int
    epoch: int
    finished: int
    linger: int
    attempts: tuple[Attempt, ...]
    release: Record
    """(epoch, incarnation) of a release under way."""


class Grant(NamedTuple):
    """A grant that was proposed and may be committed at any time: for whom, and the epoch its proposer had seen."""

    site: int
    incarnation: int
    expected: int


class State(NamedTuple):
    machine: Machine
    witnesses: tuple[Witness, ...]
    copies: tuple[Copy, ...]
    grants: tuple[Grant, ...]
    incarnations: tuple[int, ...]
    """How many incarnations each site has used up."""
    recreations: int
    top: int
    """Ghost: the greatest epoch that any grant ever had."""
    activated: int
    """Ghost: bit e is set when epoch e was ever activated."""
    broken: int
    """Ghost: 0, or which promise a move has just broken (claims.BROKEN)."""


EPOCH_ACTIVATED_TWICE = 1
EPOCH_GRANTED_TWICE = 2


def replace_at(items: tuple[T, ...], index: int, item: T) -> tuple[T, ...]:
    return (*items[:index], item, *items[index + 1 :])
