"""Everything that can happen next. The world is as hostile as the bounds allow; only `Rules` protects anybody.

`successors` yields (move, state) for every move that is possible now. A move is (kind, *numbers), put into words
by report.py. Nothing here decides anything: who is right is asked of the rules.

`FAULTS` are the moves that need not happen for the service to come back; the search for dead ends leaves them out.
Losing a message is not among them: forgetting an attempt also makes room for the next one within the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasemodel.rules import Rules
from leasemodel.state import (
    EPOCH_ACTIVATED_TWICE,
    EPOCH_GRANTED_TWICE,
    NO_RECORD,
    NOBODY,
    Attempt,
    Copy,
    Grant,
    Lease,
    Machine,
    State,
    Witness,
    replace_at,
)

Move = tuple[str, int, int, int]
Step = tuple[Move, State]

FAULTS = frozenset(
    {
        "cold_start",
        "witness_restart",
        "recreate",
        "configure",
        "delete_group",
        "revoke",
        "stand_down",
        "decline",
        "new_incarnation_heard",
        "repeat_heartbeat",
    },
)
MAD_WITNESS = 0


def initial(rules: Rules) -> State:
    """A vacant group, every agent up, verified down, in its first incarnation."""
    bounds = rules.bounds
    return State(
        machine=Machine(0, None, max(bounds.ttls)),
        witnesses=(Witness(NO_RECORD, 0, (), 0),) * 3,
        copies=tuple(Copy(1, 0, 0, 0, 0, (), NO_RECORD) for _ in bounds.copies),
        grants=(),
        incarnations=(1,) * bounds.sites,
        recreations=0,
        top=0,
        activated=0,
        broken=0,
    )


def successors(state: State, rules: Rules) -> Iterator[Step]:
    yield _tick(state, rules)
    for index in range(len(state.copies)):
        yield from _agent_moves(state, rules, index)
        yield from _heartbeat_moves(state, rules, index)
    yield from _grant_moves(state, rules)
    for index in range(len(state.witnesses)):
        yield from _witness_moves(state, rules, index)
    yield from _operator_moves(state, rules)


# Time ----------------------------------------------------------------------------------------------------------


def _tick(state: State, rules: Rules) -> Step:
    """One tick of true time passes for everybody."""
    oldest = rules.bounds.ttl_max
    copies = tuple([_older(c, oldest, rules) for c in state.copies])
    witnesses = tuple([Witness(w[0], w[1] - 1, *w[2:]) if w.timer > 0 else w for w in state.witnesses])
    return ("tick", 0, 0, 0), State(state.machine, witnesses, copies, *state[3:])


def _older(copy: Copy, oldest: int, rules: Rules) -> Copy:
    incarnation, authority, epoch, finished, linger, attempts, release = copy
    if not authority and not linger and not attempts:
        return copy
    attempts = tuple([Attempt(a[0] + 1, *a[1:]) if a[0] < oldest else a for a in attempts])
    if linger:
        linger -= 1
    if authority > 1:
        return Copy(incarnation, authority - 1, epoch, finished, linger, attempts, release)
    aged = Copy(incarnation, authority, epoch, finished, linger, attempts, release)
    return rules.deadline(aged) if authority else aged


# The agents ----------------------------------------------------------------------------------------------------


def _agent_moves(state: State, rules: Rules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    site = rules.bounds.copies[index]
    lease = state.machine.lease
    for number, attempt in enumerate(copy.attempts):
        for epoch, ttl in attempt.answers:
            after = rules.on_answer(copy, attempt, epoch, ttl)
            if after is not copy:
                yield ("answer", index, number, epoch), _adopted(state, index, after)
        yield ("forget", index, number, 0), _with_copy(state, index, _without_attempt(copy, number))
    if len(copy.attempts) < rules.bounds.attempts:
        attempt = Attempt(0, copy.incarnation, copy.epoch, 1, 1, ())
        yield ("send", index, 0, 0), _with_copy(state, index, copy._replace(attempts=(*copy.attempts, attempt)))
    if copy.epoch:
        yield ("stand_down", index, copy.epoch, 0), _with_copy(state, index, rules.release(copy, copy.epoch))
    elif lease and rules.is_holder(lease, site, copy.incarnation) and rules.may_release(copy):
        yield ("decline", index, lease.epoch, 0), _with_copy(state, index, rules.release(copy, lease.epoch))
    if lease and rules.is_holder(lease, site, copy.incarnation):
        after = rules.on_grant_seen(copy, lease)
        if after is not copy:
            yield ("grant_seen", index, lease.epoch, 0), _adopted(state, index, after)
    if copy.release != NO_RECORD:
        yield from _release_commit(state, rules, index)
    if state.incarnations[site] < rules.bounds.incarnations:
        used = state.incarnations[site] + 1
        started = _with_copy(state, index, rules.cold_start(copy, used))
        yield (
            ("cold_start", index, used, 0),
            started._replace(
                incarnations=replace_at(state.incarnations, site, used),
            ),
        )


def _adopted(state: State, index: int, after: Copy) -> State:
    """An answer takes effect; the ghost notes each epoch that is activated, and that none is activated again."""
    before = state.copies[index]
    broken, activated = state.broken, state.activated
    if after.epoch and after.epoch != before.epoch:
        bit = 1 << after.epoch
        broken = EPOCH_ACTIVATED_TWICE if activated & bit else broken
        activated |= bit
    machine, witnesses, copies, grants, incarnations, recreations, top, _, _ = state
    copies = (*copies[:index], after, *copies[index + 1 :])
    return State(machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken)


def _release_commit(state: State, rules: Rules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    lease = state.machine.lease
    if lease and rules.release_accepted(lease, rules.bounds.copies[index], index, copy.release):
        yield ("commit_release", index, copy.release[0], 0), _vacated(state)


# Heartbeats on their way to the machine ------------------------------------------------------------------------


def _heartbeat_moves(state: State, rules: Rules, index: int) -> Iterator[Step]:
    """A heartbeat that is no renewal when it is committed leaves no trace: that is the move `forget`."""
    copy = state.copies[index]
    site = rules.bounds.copies[index]
    lease = state.machine.lease
    for number, attempt in enumerate(copy.attempts):
        if attempt.sent:
            if lease and rules.renewal_accepted(lease, site, index, attempt):
                yield from _renewals(state, rules, index, number, lease)
            if lease and lease.site == site and lease.incarnation != attempt.incarnation:
                heard = rules.heard_new_incarnation(state.machine, lease)
                if heard is not state.machine:
                    yield ("new_incarnation_heard", index, number, 0), _with_machine(state, heard)
            if lease and lease.site == NOBODY and attempt.epoch == 0:
                heard = rules.heard_down(state.machine, lease, site)
                if heard is not state.machine:
                    spent = _with_copy(state, index, _without_attempt(copy, number))
                    yield ("heard_down", index, number, 0), _with_machine(spent, heard, same=True)
        yield from _replica_answers(state, rules, index, number)


def _renewals(state: State, rules: Rules, index: int, number: int, lease: Lease) -> Iterator[Step]:
    """The heartbeat is committed and is a renewal (the first: the claim); its answer sets out for its nonce."""
    if lease.renewal >= rules.bounds.renewals:
        return
    copy = state.copies[index]
    attempt = copy.attempts[number]
    renewed = lease._replace(renewal=lease.renewal + 1, claim=index if lease.claim == NOBODY else lease.claim)
    ttl = rules.ttl_of(state.machine, renewed)
    answers = _with_answer(attempt, lease.epoch, ttl) if attempt.live else ()
    committed = _with_machine(state, state.machine._replace(lease=renewed))
    spent = _with_attempt(copy, number, attempt._replace(sent=0, answers=answers))
    yield ("commit_heartbeat", index, number, renewed.renewal), _with_copy(committed, index, spent)
    if rules.bounds.duplicates:
        again = _with_attempt(copy, number, attempt._replace(answers=answers))
        yield ("repeat_heartbeat", index, number, renewed.renewal), _with_copy(committed, index, again)


def _replica_answers(state: State, rules: Rules, index: int, number: int) -> Iterator[Step]:
    """A witness answers from what its replica shows, without a commit. The rules never do."""
    copy = state.copies[index]
    attempt = copy.attempts[number]
    for witness_no, witness in enumerate(state.witnesses):
        if witness.applied != NO_RECORD and attempt.epoch == witness.applied[0] and rules.replica_answers(witness):
            answers = _with_answer(attempt, attempt.epoch, rules.bounds.ttl_max)
            answered = _with_attempt(copy, number, attempt._replace(answers=answers))
            yield ("replica_answer", witness_no, index, number), _with_copy(state, index, answered)


# Grants --------------------------------------------------------------------------------------------------------


def _grant_moves(state: State, rules: Rules) -> Iterator[Step]:
    machine = state.machine
    bounds = rules.bounds
    if machine.lease is None and len(state.grants) <= max(0, bounds.grants - 1):
        for site, incarnation in sorted({(s, c.incarnation) for s, c in zip(bounds.copies, state.copies, strict=True)}):
            grant = Grant(site, incarnation, machine.epoch)
            if not bounds.grants:
                if _may_commit(state, rules, grant):
                    yield _granted(state, rules, grant, ())
            elif grant not in state.grants:
                yield ("propose_grant", site, incarnation, 0), state._replace(grants=(*state.grants, grant))
    for number, grant in enumerate(state.grants):
        rest = (*state.grants[:number], *state.grants[number + 1 :])
        yield ("lose_grant", grant.site, grant.incarnation, 0), state._replace(grants=rest)
        if _may_commit(state, rules, grant):
            yield _granted(state, rules, grant, rest)


def _may_commit(state: State, rules: Rules, grant: Grant) -> bool:
    """Within the bounds, up to the mirror image (reduce.py, 5), and accepted by the machine."""
    bounds = rules.bounds
    if state.top == 0 and grant.site and bounds.copies.count(0) == bounds.copies.count(grant.site):
        return False
    return state.machine.epoch < bounds.epochs and rules.grant_accepted(state.machine, grant)


def _granted(state: State, rules: Rules, grant: Grant, rest: tuple[Grant, ...]) -> Step:
    machine = state.machine
    epoch = rules.next_epoch(machine)
    lease = Lease(epoch, grant.site, grant.incarnation, NOBODY, 0, machine.ttl, 0)
    after = _with_machine(state, Machine(epoch, lease, machine.ttl))
    return ("commit_grant", grant.site, grant.incarnation, epoch), after._replace(
        grants=rest,
        top=max(state.top, epoch),
        broken=EPOCH_GRANTED_TWICE if epoch <= state.top else state.broken,
    )


# Witnesses -----------------------------------------------------------------------------------------------------


def _witness_moves(state: State, rules: Rules, index: int) -> Iterator[Step]:
    witness = state.witnesses[index]
    lease = state.machine.lease
    mad = rules.bounds.mad_witness and index == MAD_WITNESS
    if lease and witness.applied != (lease.epoch, lease.renewal):
        timer = 0 if mad else rules.timer_on_apply(witness, lease, state.machine)
        applied = Witness((lease.epoch, lease.renewal), timer, witness.votes, witness.counted)
        yield ("apply", index, lease.epoch, lease.renewal), _with_witness(state, index, applied)
    runs_out = witness.applied != NO_RECORD and witness.timer == 0
    if runs_out and not witness.counted and witness.applied not in witness.votes:
        votes = tuple(sorted((*witness.votes, witness.applied)))
        yield ("cast_vote", index, *witness.applied), _with_witness(state, index, witness._replace(votes=votes))
    for vote in witness.votes:
        if lease and rules.vote_fits(lease, vote):
            yield ("commit_vote", index, *vote), _voted(state, rules, index)
    if rules.bounds.restarts:
        restarted = rules.after_restart(witness, lease)
        if restarted != witness:
            yield ("witness_restart", index, 0, 0), _with_witness(state, index, restarted)


def _voted(state: State, rules: Rules, index: int) -> State:
    witness = state.witnesses[index]
    counted = _with_witness(state, index, witness._replace(counted=rules.counted(witness.counted)))
    votes = sum(w.counted for w in counted.witnesses)
    return _vacated(counted) if rules.expires(votes, len(counted.witnesses)) else counted


# Operators -----------------------------------------------------------------------------------------------------


def _operator_moves(state: State, rules: Rules) -> Iterator[Step]:
    machine = state.machine
    bounds = rules.bounds
    for ttl in bounds.ttls:
        if ttl != machine.ttl:
            yield ("configure", ttl, 0, 0), state._replace(machine=machine._replace(ttl=ttl))
    if bounds.revokes and machine.lease and machine.lease.site != NOBODY and not machine.lease.refusing:
        yield ("revoke", 0, 0, 0), _with_machine(state, rules.revoke_deadline(machine, machine.lease), same=True)
    deleted = rules.delete_group(machine)
    if deleted is not machine:
        yield ("delete_group", 0, 0, 0), _with_machine(state, deleted)
    if state.recreations < bounds.recreations and state.top < bounds.epochs:
        for ttl in bounds.ttls:
            yield ("recreate", ttl, 0, 0), _recreated(state, rules, ttl)


def _recreated(state: State, rules: Rules, ttl: int) -> State:
    """All witnesses start anew from a backup or from nothing; what the agents hold and sent is as it was."""
    after = _with_machine(state, rules.recreated(state.top, ttl))
    fresh = tuple([w._replace(applied=NO_RECORD, timer=0) for w in after.witnesses])
    top = max(state.top, after.machine.epoch)
    return after._replace(witnesses=fresh, recreations=state.recreations + 1, top=top)


# Small changes -------------------------------------------------------------------------------------------------


def _with_machine(state: State, machine: Machine, *, same: bool = False) -> State:
    """A new machine state; unless it is the same record, the votes counted so far belonged to an older one."""
    if same and machine.lease is not None:
        return State(machine, *state[1:])
    witnesses = tuple([Witness(*w[:3], 0) if w.counted else w for w in state.witnesses])
    return State(machine, witnesses, *state[2:])


def _vacated(state: State) -> State:
    return _with_machine(state, state.machine._replace(lease=None))


def _with_copy(state: State, index: int, copy: Copy) -> State:
    machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken = state
    copies = (*copies[:index], copy, *copies[index + 1 :])
    return State(machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken)


def _with_witness(state: State, index: int, witness: Witness) -> State:
    machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken = state
    witnesses = (*witnesses[:index], witness, *witnesses[index + 1 :])
    return State(machine, witnesses, copies, grants, incarnations, recreations, top, activated, broken)


def _with_attempt(copy: Copy, number: int, attempt: Attempt) -> Copy:
    return copy._replace(attempts=replace_at(copy.attempts, number, attempt))


def _without_attempt(copy: Copy, number: int) -> Copy:
    return copy._replace(attempts=(*copy.attempts[:number], *copy.attempts[number + 1 :]))


def _with_answer(attempt: Attempt, epoch: int, ttl: int) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({*attempt.answers, (epoch, ttl)}))
