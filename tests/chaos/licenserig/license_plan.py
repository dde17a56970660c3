"""The plan of a run: what strikes the active site in each round, and whether its key changes right before. Pure.

Rule: the plan is drawn before anything runs: one seed and one set of kinds are one plan, and a shorter run is its
beginning. Kinds take turns in an order of the seed's own, and so do the renewals before each kind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
NONE, FOLLOWED, BEHIND, UNSEALED, LAST = "none", "followed", "behind", "unsealed", "last"
RENEWALS = {
    NONE: "the key stays",
    FOLLOWED: "the key changes, the replica and the escrow have the new one",
    BEHIND: "the key changes while replication is broken: the new one is in the escrow alone",
    UNSEALED: "the key changes, the replica has it, and the blow comes at once: the escrow may have the one before",
    LAST: "the key changes as the platform stops, while replication is broken: nobody but the site can save it",
}
ANY = (NONE, FOLLOWED, BEHIND, UNSEALED)
ORDERLY = (*ANY, LAST)
ALWAYS = (FOLLOWED, BEHIND)


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    says: str
    renewals: tuple[str, ...] = ANY


KINDS = {
    one.name: one
    for one in (
        Kind("switchover", "an operator hands over", ORDERLY),
        Kind("stop-fails", "an operator hands over, and stopping the services fails at once"),
        Kind("stop-hangs", "an operator hands over, and stopping the services never ends"),
        Kind("unfit", "one of the three services dies: the site hands over by itself", ORDERLY),
        Kind("kill", "everything of the site is killed, its database too"),
        Kind("kill-leader", "the same, and the leading witness at the same moment"),
        Kind("freeze", "everything of the site is stopped for longer than its lease, then goes on"),
        Kind("cut", "the site reaches neither the witnesses nor the other site, for longer than its lease"),
        Kind("relay-kill", "it goes on through the other site, its key changes, then it is killed", ALWAYS),
        Kind("holds-kill", "no site reaches a witness, it goes on by holds, its key changes, it is killed", ALWAYS),
    )
}


@dataclass(frozen=True, slots=True)
class Round:
    number: int
    kind: str
    renewal: str
    wait_ms: int
    """Within a third of the lease, before anything is done."""

    def told(self) -> str:
        return f"{self.kind}, {RENEWALS[self.renewal]}"


def make_plan(kinds: Sequence[Kind], rounds: int, seed: int, ttl_ms: int) -> list[Round]:
    choose = random.Random(f"licenses-{seed}")
    turn: list[Kind] = []
    renewals: dict[str, list[str]] = {}
    plan = []
    for number in range(1, rounds + 1):
        kind = _next(turn, kinds, choose)
        renewal = _next(renewals.setdefault(kind.name, []), kind.renewals, choose)
        plan.append(Round(number, kind.name, renewal, choose.randrange(max(1, ttl_ms // 3))))
    return plan


def _next(turn: list[T], of: Sequence[T], choose: random.Random) -> T:
    if not turn:
        turn += choose.sample(list(of), len(of))
    return turn.pop()
