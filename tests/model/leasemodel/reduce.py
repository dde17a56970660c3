"""Which states count as the same one, and why nothing is lost by it.

1. The witnesses with sound clocks are alike, and so are attempts of one copy and grants under way: they are sorted.
2. What the rules refuse for ever is forgotten: epochs and renewals only grow, so a vote for an older record, a grant
   whose compare-and-set failed, a release of an older epoch, an answer that can give no authority any more, and the
   bound of finished epochs once the lease is past it, are without effect whenever they arrive. Where a rule decides
   it, the rule is asked; a mutation that takes a refusal away names in `remembers` what must be kept.
3. A vote under way, or counted, makes the timer behind it irrelevant. The mad witness can apply, vote and be ignored
   at any moment, so its vote for the current record is always under way.
4. A witness jumps to the newest committed record. An older one that it passes on its way could only lead to votes
   that are stale when they are cast, and those are covered by witnesses that applied it while it was the newest.
5. The first grant goes to site 0 where the sites are alike: the mirror image of each run is a run.

Unless the bounds say `dead_heartbeats`, a heartbeat that can bring its sender nothing any more counts as lost: its
commit could only renew or claim, which puts off an expiry and never brings one nearer.

tests/model/test_model_engine.py searches the full rules with and without 2, 3 and the dead heartbeats.
"""

from __future__ import annotations

from leasemodel.rules import Rules
from leasemodel.state import NO_RECORD, Attempt, Copy, Record, State, Witness


class Canonical:
    """The canonical form under one set of rules; remembers the parts it has seen, there are only thousands."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._mad = 1 if rules.bounds.mad_witness else 0
        self._copies: dict[tuple[Copy, int], Copy] = {}
        self._witnesses: dict[tuple[tuple[Witness, ...], Record], tuple[Witness, ...]] = {}

    def __call__(self, state: State) -> State:
        machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken = state
        lease = machine.lease
        current = (lease.epoch, lease.renewal) if lease else NO_RECORD
        if grants and "grants" not in self._rules.remembers:
            grants = tuple([g for g in grants if g.expected == machine.epoch])
        if len(grants) > 1:
            grants = tuple(sorted(grants))
        return State(
            machine,
            self._witnesses.get((witnesses, current)) or self._canonical_witnesses(witnesses, current),
            tuple([self._copies.get((c, current[0])) or self._canonical_copy(c, current[0]) for c in copies]),
            grants,
            incarnations,
            recreations,
            top,
            activated,
            broken,
        )

    def _canonical_copy(self, copy: Copy, epoch: int) -> Copy:
        fresh = _fresh_copy(copy, epoch, self._rules)
        self._copies[copy, epoch] = fresh
        return fresh

    def _canonical_witnesses(self, witnesses: tuple[Witness, ...], current: Record) -> tuple[Witness, ...]:
        keep = self._rules.remembers
        mad = [_fresh_mad_witness(w, current, keep) for w in witnesses[: self._mad]]
        sound = sorted(_fresh_witness(w, current, keep) for w in witnesses[self._mad :])
        fresh = (*mad, *sound)
        self._witnesses[witnesses, current] = fresh
        return fresh


def _fresh_witness(witness: Witness, current: Record, keep: frozenset[str]) -> Witness:
    """Forget votes and timers for anything but the current record, and the timer behind a vote.

    Where timers are kept, those of the running epoch are: no wrong variant lets one outlive its epoch.
    """
    applied, timer, votes, counted = witness
    if "votes" not in keep:
        votes = () if counted or current not in votes else (current,)
    if "timers" not in keep:
        if counted or current in votes:
            applied, timer = current, 0
        elif applied != current:
            applied, timer = (applied, 0) if "records" in keep else (NO_RECORD, 0)
    elif applied[0] != current[0]:
        applied, timer = NO_RECORD, 0
    return Witness(applied, timer, votes, counted)


def _fresh_mad_witness(witness: Witness, current: Record, keep: frozenset[str]) -> Witness:
    """Its vote for the current record is always under way, unless it was counted."""
    if "votes" in keep:
        votes = tuple(sorted({*witness.votes, current} - {NO_RECORD}))
    else:
        votes = () if witness.counted or current == NO_RECORD else (current,)
    lags = witness.applied != NO_RECORD and ("timers" in keep or "records" in keep)
    return Witness(witness.applied if lags else current, 0, votes, witness.counted)


def _fresh_copy(copy: Copy, epoch: int, rules: Rules) -> Copy:
    incarnation, authority, held, finished, linger, attempts, release = copy
    if attempts:
        kept = [b for a in attempts if (b := _fresh_attempt(copy, a, rules)) is not None]
        if len(kept) > 1:
            kept.sort()
        attempts = tuple(kept)
    if release[0] != epoch and "releases" not in rules.remembers:
        release = NO_RECORD
    if finished != epoch and "answers" not in rules.remembers:
        finished = 0
    return Copy(incarnation, authority, held, finished, linger, attempts, release)


def _fresh_attempt(copy: Copy, attempt: Attempt, rules: Rules) -> Attempt | None:
    """Drop answers that can change nothing any more, then an attempt of which nothing is left."""
    answers = attempt.answers
    if "answers" in rules.remembers:
        return attempt if attempt.sent or answers else None
    if answers:
        useful = tuple([(e, t) for e, t in answers if _can_still_count(copy, attempt, e, t, rules)])
        if useful:
            return attempt if useful == answers else attempt._replace(answers=useful)
        attempt = attempt._replace(answers=())
    if not attempt.sent:
        return None
    if rules.bounds.dead_heartbeats:
        return attempt
    alive = rules.nonce_is_known(attempt)
    if alive and rules.authority_left(copy, attempt, rules.bounds.ttl_max) > copy.authority:
        return attempt
    return None


def _can_still_count(copy: Copy, attempt: Attempt, epoch: int, ttl: int, rules: Rules) -> bool:
    """Whether this answer could change the copy now or later: a void nonce, a finished epoch or an old t0 cannot."""
    if not rules.nonce_is_known(attempt) or epoch <= copy.finished:
        return False
    return rules.authority_left(copy, attempt, ttl) > copy.authority
