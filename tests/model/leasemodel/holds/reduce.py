"""Which states with holds count as the same, and why nothing is lost by it.

1. Attempts and requests of one copy are sorted.
2. What the rules refuse for ever is forgotten: a void nonce, an answer whose ttl has passed, a release of another
   epoch than the running one, the end of a promise that nobody keeps and no request under way can renew.
3. A heartbeat or request that can bring its sender nothing any more counts as lost: a late commit could only put off
   an expiry, a late request only add to a promise. `late_asks` keeps the requests.
4. The bound of finished epochs is kept only where the running lease, or something under way, is not above it.
5. A former holder of whom nothing is left is nobody: a re-grant that it could not claim only uses up an epoch. That an
   epoch was proved matters for a re-grant in place only, and that it was begun while something may begin it again.
6. The first grant goes to site 0 where the sites are alike: the mirror image of each run is a run.
"""

from __future__ import annotations

from leasemodel.holds.rules import HoldRules
from leasemodel.holds.state import NO_PROMISE, NOBODY, Ask, Attempt, Copy, State


class Canonical:
    """The canonical form under one set of rules; remembers the parts it has seen."""

    def __init__(self, rules: HoldRules) -> None:
        self._rules = rules
        self._copies: dict[tuple[Copy, int, bool], Copy] = {}

    def __call__(self, state: State) -> State:
        machine, before, incarnations, recreations, top, activated, broken = state
        lease = machine.lease
        current = lease.epoch if lease else 0
        claim = lease.claim if lease else NOBODY
        copies = []
        for index, copy in enumerate(before):
            mine = claim == index
            fresh = self._copies.get((copy, current, mine))
            if fresh is None:
                fresh = self._copies[copy, current, mine] = _fresh_copy(copy, current, self._rules, mine=mine)
            copies.append(fresh)
        if "ends" not in self._rules.remembers:
            copies = _without_idle_ends(copies)
        if lease and lease.proved and lease.binds == NOBODY:
            machine = machine._replace(lease=lease._replace(proved=0))
        former = machine.former
        if former and not _may_live(copies[former.claim], former.epoch):
            machine = machine._replace(former=None)
        if activated:
            activated &= _may_begin(copies, current)
        return State(machine, tuple(copies), incarnations, recreations, top, activated, broken)


def _may_live(copy: Copy, epoch: int) -> bool:
    return copy.epoch > 0 or any(attempt.epoch == epoch for attempt in copy.attempts)


def _may_begin(copies: list[Copy], current: int) -> int:
    """The bits of the epochs that can be begun: that of the lease, and those that something under way is about."""
    bits = 1 << current
    for copy in copies:
        for epoch in (*(a.epoch for a in copy.attempts), *(a.epoch for a in copy.asks)):
            bits |= 1 << epoch
    return bits


def _without_idle_ends(copies: list[Copy]) -> list[Copy]:
    """The end of an epoch is kept while a promise for it stands, or a request of it may still make one."""
    for index, copy in enumerate(copies):
        if copy.end:
            stands = any(c.promise.epoch == copy.end for c in copies)
            if not stands and not any(a.epoch == copy.end and a.sent for a in copy.asks):
                copies[index] = copy._replace(end=0)
    return copies


def _fresh_copy(copy: Copy, current: int, rules: HoldRules, *, mine: bool) -> Copy:
    attempts = sorted(b for a in copy.attempts if (b := _fresh_attempt(copy, a, rules)) is not None)
    asks = sorted(c for a in copy.asks if (c := _fresh_ask(copy, a, rules)) is not None)
    keeps = rules.remembers
    finished = copy.finished
    if "answers" not in keeps and "asks" not in keeps and not rules.bounds.late_asks and finished != current:
        finished = 0
    return copy._replace(
        attempts=tuple(attempts),
        asks=tuple(asks),
        finished=finished,
        release=copy.release if (mine and copy.release == current) or "releases" in keeps else 0,
        promise=copy.promise if copy.promise.left else NO_PROMISE,
    )


def _fresh_attempt(copy: Copy, attempt: Attempt, rules: HoldRules) -> Attempt | None:
    if "answers" in rules.remembers:
        return attempt if attempt.sent or attempt.yes else None
    if not attempt.live or attempt.epoch <= copy.finished:
        return None
    if attempt.yes and rules.authority_left(attempt) <= (copy.authority if attempt.epoch == copy.epoch else 0):
        attempt = attempt._replace(yes=0)
    if attempt.sent and rules.authority_left(attempt._replace(yes=rules.bounds.ttl_max)) <= 0:
        attempt = attempt._replace(sent=0)
    return attempt if attempt.sent or attempt.yes else None


def _fresh_ask(copy: Copy, ask: Ask, rules: HoldRules) -> Ask | None:
    if "asks" in rules.remembers:
        return ask if ask.sent or ask.yes else None
    helps = ask.live and ask.epoch == copy.epoch and rules.hold_left(copy, ask) > copy.heard[ask.to]
    if not helps:
        if not rules.bounds.late_asks or not ask.sent:
            return None
        return ask._replace(age=rules.bounds.ttl_max, live=0, yes=0)
    return ask if ask.sent or ask.yes else None
