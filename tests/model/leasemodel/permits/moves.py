"""Everything that can happen next when sites may take permits. A cut or an outage is a commit that is not chosen."""

from __future__ import annotations

from collections.abc import Iterator

from leasemodel.moves import Move
from leasemodel.permits.rules import EPOCHS_BEFORE_PERMIT, PermitRules, grants_used
from leasemodel.permits.state import NO_PERMIT, NOBODY, Attempt, Copy, Lease, Machine, State
from leasemodel.state import EPOCH_ACTIVATED_TWICE, EPOCH_GRANTED_TWICE, replace_at

Step = tuple[Move, State]

PERMIT_FAULTS = frozenset({"cold_start", "recreate", "stand_down", "take_permit"})


def initial(rules: PermitRules) -> State:
    copy = Copy(1, 0, 0, 0, 0, 0, 0, 0, 0, ())
    bounds = rules.bounds
    machine = Machine(0, None, NO_PERMIT, (0,) * bounds.sites)
    return State(machine, (copy,) * len(bounds.copies), (1,) * bounds.sites, 0, 0, 0, 0)


def successors(state: State, rules: PermitRules) -> Iterator[Step]:
    yield _tick(state, rules)
    for index in range(len(state.copies)):
        yield from _site_moves(state, rules, index)
        yield from _heartbeat_moves(state, rules, index)
    yield from _machine_moves(state, rules)


def _tick(state: State, rules: PermitRules) -> Step:
    machine, bounds = state.machine, rules.bounds
    lease = machine.lease
    if lease and lease.wait and not lease.open_until:
        lease = lease._replace(wait=lease.wait - 1)
    unheard = tuple([min(bounds.long, age + 1) if bounds.has_permit(s) else 0 for s, age in enumerate(machine.unheard)])
    copies = tuple([rules.aged.get(copy) or _older(copy, rules) for copy in state.copies])
    return ("tick", 0, 0, 0), State(Machine(machine.epoch, lease, machine.under, unheard), copies, *state[2:])


def _older(copy: Copy, rules: PermitRules) -> Copy:
    bounds = rules.bounds
    oldest = max(bounds.ttl, bounds.long)
    aged = copy._replace(
        authority=max(0, copy.authority - 1),
        silence=min(bounds.after, copy.silence + 1),
        confirmed=min(bounds.long, copy.confirmed + 1),
        attempts=tuple(
            [
                a._replace(
                    age=min(oldest, a.age + 1),
                    confirmed=min(bounds.long, a.confirmed + 1),
                    done=min(bounds.long, a.done + 1) if a.done >= 0 else -1,
                )
                for a in copy.attempts
            ]
        ),
    )
    older = rules.end_of_epoch(aged, copy.epoch) if copy.authority and not aged.authority else aged
    rules.aged[copy] = older
    return older


# The sites -----------------------------------------------------------------------------------------------------


def _site_moves(state: State, rules: PermitRules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    bounds = rules.bounds
    site = bounds.copies[index]
    if copy.active:
        yield ("stand_down", index, copy.epoch, 0), _with_copy(state, index, rules.end_of_epoch(copy, copy.epoch))
    if bounds.has_permit(site) and rules.may_take(copy) and assumption(state, rules, index):
        epoch = rules.permit_epoch(copy)
        taken = rules.takes(copy, epoch)
        yield ("take_permit", index, epoch, 0), _begun(_given(state, epoch), index, taken)
    if site >= bounds.sites - bounds.cold and state.incarnations[site] < bounds.incarnations:
        used = state.incarnations[site] + 1
        started = _with_copy(state, index, rules.cold_start(copy, used))
        incarnations = replace_at(state.incarnations, site, used)
        yield ("cold_start", index, used, 0), started._replace(incarnations=incarnations)


def assumption(state: State, rules: PermitRules, index: int) -> bool:
    """What the operator vouches for: every other site is down, and no answer is under way that it could use."""
    for other, copy in enumerate(state.copies):
        if other != index and (copy.active or any(a.live and a.epoch for a in copy.attempts)):
            return False
    del rules
    return True


def _given(state: State, epoch: int) -> State:
    """The ghost notes each epoch that is given to anybody, and that none is given again."""
    bit = 1 << epoch
    broken = EPOCH_GRANTED_TWICE if state.granted & bit else state.broken
    return state._replace(granted=state.granted | bit, broken=broken)


def _begun(state: State, index: int, after: Copy) -> State:
    bit = 1 << after.epoch
    broken = EPOCH_ACTIVATED_TWICE if state.activated & bit else state.broken
    return _with_copy(state, index, after)._replace(activated=state.activated | bit, broken=broken)


# Heartbeats ----------------------------------------------------------------------------------------------------


def _heartbeat_moves(state: State, rules: PermitRules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    if len(copy.attempts) < rules.bounds.attempts:
        for epoch in sorted(_epochs_to_send(state.machine, copy, rules, index)):
            attempt = Attempt(
                0, copy.incarnation, epoch, copy.epoch, copy.permit, copy.finished, copy.confirmed, 1, -1, 0
            )
            sent = copy._replace(attempts=(*copy.attempts, attempt))
            yield ("send", index, epoch, 0), _with_copy(state, index, sent)
    for number, attempt in enumerate(copy.attempts):
        rest = copy._replace(attempts=(*copy.attempts[:number], *copy.attempts[number + 1 :]))
        yield ("forget", index, number, 0), _with_copy(state, index, rest)
        if attempt.done < 0:
            yield ("commit_heartbeat", index, number, attempt.epoch), _committed(state, rules, index, number)
        elif attempt.live:
            after = rules.on_answer(rest, attempt)
            begins = after.epoch and after.epoch != copy.epoch
            answered = _begun(state, index, after) if begins else _with_copy(state, index, after)
            yield ("answer", index, number, attempt.epoch), answered


def _epochs_to_send(machine: Machine, copy: Copy, rules: PermitRules, index: int) -> set[int]:
    """Its own epoch, or one that was granted to it; a site that is down, or under permit, also speaks of none."""
    epochs = {copy.epoch} if copy.authority else {0}
    lease = machine.lease
    mine = lease is not None and (lease.site, lease.incarnation) == (rules.bounds.copies[index], copy.incarnation)
    if lease and mine and lease.epoch > max(copy.finished, copy.epoch) and not copy.authority:
        epochs.add(lease.epoch)
    return epochs


def _committed(state: State, rules: PermitRules, index: int, number: int) -> State:
    """What a heartbeat says is taken in first; then it may adopt, claim or renew."""
    copy, machine = state.copies[index], state.machine
    attempt = copy.attempts[number]
    site = rules.bounds.copies[index]
    unheard = replace_at(machine.unheard, site, rules.heard(machine.unheard[site], attempt))
    machine = machine._replace(unheard=unheard, under=rules.said_permit(machine, site, attempt))
    lease = machine.lease
    if lease and lease.site == site and lease.open_until and rules.is_over(lease.open_until, attempt):
        lease = lease._replace(open_until=0, wait=rules.bounds.ttl)
        machine = machine._replace(lease=lease)
    yes = 0
    if rules.adopts(machine, site, attempt) and machine.epoch - attempt.under < rules.bounds.adoptions:
        epoch = rules.adopted_epoch(machine, attempt.under)
        opened = rules.open_until(attempt.under)
        adopted = Lease(epoch, site, attempt.incarnation, NOBODY, rules.bounds.ttl, opened)
        state = _given(state, epoch)
        machine = machine._replace(epoch=epoch, lease=adopted)
    elif lease and _renews(machine, lease, rules, index, attempt):
        machine = machine._replace(lease=lease._replace(claim=index, wait=rules.bounds.ttl))
        yes = rules.bounds.ttl
    done = attempt._replace(done=0, yes=yes if attempt.live else 0)
    spent = copy._replace(attempts=replace_at(copy.attempts, number, done))
    return _with_copy(state, index, spent)._replace(machine=machine)


def _renews(machine: Machine, lease: Lease, rules: PermitRules, index: int, attempt: Attempt) -> bool:
    holder = (lease.site, lease.incarnation) == (rules.bounds.copies[index], attempt.incarnation)
    if not holder or attempt.epoch != lease.epoch:
        return False
    if lease.claim == NOBODY:
        return rules.claim_accepted(machine, lease)
    return lease.claim == index and rules.renewal_accepted(machine, lease, attempt)


# The machine and its operators ---------------------------------------------------------------------------------


def _machine_moves(state: State, rules: PermitRules) -> Iterator[Step]:
    machine, bounds = state.machine, rules.bounds
    lease = machine.lease
    if lease and lease.wait == 0 and not lease.open_until:
        yield ("expire", lease.epoch, 0, 0), state._replace(machine=machine._replace(lease=None))
    if rules.grant_accepted(machine) and grants_used(machine.epoch) < bounds.epochs:
        for site, incarnation in sorted({(s, c.incarnation) for s, c in zip(bounds.copies, state.copies, strict=True)}):
            epoch = machine.epoch + 1
            granted = machine._replace(epoch=epoch, lease=Lease(epoch, site, incarnation, NOBODY, bounds.ttl, 0))
            yield ("grant", site, incarnation, epoch), _given(state, epoch)._replace(machine=granted)
    if bounds.clears and rules.reconciling(machine) and not any(copy.permit for copy in state.copies):
        yield ("clear", 0, 0, 0), _cleared(state, rules)
    if state.recreations < bounds.recreations:
        yield ("recreate", 0, 0, 0), _recreated(state, rules)


def _cleared(state: State, rules: PermitRules) -> State:
    """The operator vouches that nobody is under a permit, and that no permit is left that somebody could use."""
    machine = state.machine._replace(under=NO_PERMIT, unheard=(0,) * rules.bounds.sites)
    copies = tuple([rules.permits_void(copy) for copy in state.copies])
    return state._replace(machine=machine, copies=copies)


def _recreated(state: State, rules: PermitRules) -> State:
    """Restored: above every earlier generation, barred, and with nobody heard."""
    epoch = (state.granted.bit_length() // EPOCHS_BEFORE_PERMIT + 1) * EPOCHS_BEFORE_PERMIT + 1
    bounds = rules.bounds
    lease = Lease(epoch, NOBODY, NOBODY, NOBODY, bounds.ttl, 0)
    unheard = tuple([rules.unheard_after_restore() if bounds.has_permit(site) else 0 for site in range(bounds.sites)])
    machine = Machine(epoch, lease, NO_PERMIT, unheard)
    return _given(state, epoch)._replace(machine=machine, recreations=state.recreations + 1)


def _with_copy(state: State, index: int, copy: Copy) -> State:
    copies = state.copies
    return State(state.machine, (*copies[:index], copy, *copies[index + 1 :]), *state[2:])
