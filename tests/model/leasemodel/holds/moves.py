"""Everything that can happen next between sites that may hold and a machine whose voters are bounds.

A move is (kind, *numbers), put into words by report.py. A cut, a pause and a lost message are moves that are not
chosen; `forget` makes room for the next message within the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasemodel.holds.rules import HoldRules
from leasemodel.holds.state import NO_PROMISE, NOBODY, Ask, Attempt, Copy, Lease, Machine, State
from leasemodel.moves import Move
from leasemodel.state import EPOCH_ACTIVATED_TWICE, EPOCH_GRANTED_TWICE, replace_at

Step = tuple[Move, State]

HOLD_FAULTS = frozenset({"cold_start", "warm_restart", "recreate", "configure", "delete", "stand_down", "decline"})


def initial(rules: HoldRules) -> State:
    """A vacant group with its first set of sites, every agent up for long and verified down."""
    bounds = rules.bounds
    copy = Copy(1, 0, 0, 0, 0, (0,) * bounds.sites, 0, 0, (), (), 0, 0, NO_PROMISE, bounds.wait_max, 0)
    machine = Machine(0, None, None, bounds.ttl_max, bounds.begins_with, 0, 0)
    return State(
        machine=machine._replace(eligible=rules.all_sites(machine)),
        copies=(copy,) * len(bounds.copies),
        incarnations=(1,) * bounds.sites,
        recreations=0,
        top=0,
        activated=0,
        broken=0,
    )


def successors(state: State, rules: HoldRules) -> Iterator[Step]:
    yield _tick(state, rules)
    for index in range(len(state.copies)):
        yield from _life_moves(state, rules, index)
        yield from _heartbeat_moves(state, rules, index)
        yield from _hold_moves(state, rules, index)
    yield from _grant_moves(state, rules)
    yield from _machine_moves(state, rules)
    yield from _operator_moves(state, rules)


# Time ----------------------------------------------------------------------------------------------------------


def _tick(state: State, rules: HoldRules) -> Step:
    machine = state.machine
    lease = machine.lease
    if lease and lease.wait:
        machine = machine._replace(lease=lease._replace(wait=lease.wait - 1))
    copies = tuple([rules.aged.get(copy) or _older(copy, rules) for copy in state.copies])
    return ("tick", 0, 0, 0), State(machine, copies, *state[2:])


def _older(copy: Copy, rules: HoldRules) -> Copy:
    oldest = rules.bounds.ttl_max
    promise = copy.promise
    aged = copy._replace(
        authority=max(0, copy.authority - 1),
        hold=max(0, copy.hold - 1),
        heard=tuple([max(0, left - 1) for left in copy.heard]),
        linger=max(0, copy.linger - 1),
        attempts=tuple([a._replace(age=min(oldest, a.age + 1)) for a in copy.attempts]),
        asks=tuple([a._replace(age=min(oldest, a.age + 1)) for a in copy.asks]),
        promise=promise._replace(left=promise.left - 1) if promise.left else promise,
        up=min(rules.bounds.wait_max, copy.up + 1),
    )
    older = rules.deadline(aged) if copy.left and not aged.left else aged
    rules.aged[copy] = older
    return older


# The life of an agent ------------------------------------------------------------------------------------------


def _life_moves(state: State, rules: HoldRules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    site = rules.bounds.copies[index]
    if copy.epoch:
        yield ("stand_down", index, copy.epoch, 0), _with_copy(state, index, rules.stand_down(copy))
    if copy.known < state.machine.version:
        yield (
            ("learn", index, state.machine.version, 0),
            _with_copy(state, index, copy._replace(known=state.machine.version)),
        )
    if copy.promise.left and not rules.survives_restart():
        yield ("warm_restart", index, 0, 0), _with_copy(state, index, copy._replace(promise=NO_PROMISE))
    if site in rules.bounds.cold_sites and state.incarnations[site] < rules.bounds.incarnations:
        used = state.incarnations[site] + 1
        started = _with_copy(state, index, rules.cold_start(copy, used))
        incarnations = replace_at(state.incarnations, site, used)
        yield ("cold_start", index, used, 0), started._replace(incarnations=incarnations)


def _adopted(state: State, index: int, after: Copy) -> State:
    """An answer takes effect; the ghost notes each epoch that is begun, and that none is begun again."""
    before = state.copies[index]
    adopted = _with_copy(state, index, after)
    if not after.epoch or after.epoch == before.epoch:
        return adopted
    bit = 1 << after.epoch
    broken = EPOCH_ACTIVATED_TWICE if state.activated & bit else state.broken
    return adopted._replace(activated=state.activated | bit, broken=broken)


# Heartbeats ----------------------------------------------------------------------------------------------------


def _heartbeat_moves(state: State, rules: HoldRules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    machine = state.machine
    if len(copy.attempts) < rules.bounds.attempts:
        for epoch in sorted(_epochs_to_send(machine, copy, rules, index)):
            attempt = Attempt(0, copy.incarnation, epoch, copy.epoch, copy.known, 1, 1, 0)
            sent = copy._replace(attempts=(*copy.attempts, attempt))
            yield ("send", index, epoch, 0), _with_copy(state, index, sent)
    for number, attempt in enumerate(copy.attempts):
        rest = (*copy.attempts[:number], *copy.attempts[number + 1 :])
        yield ("forget", index, number, 0), _with_copy(state, index, copy._replace(attempts=rest))
        if attempt.yes:
            after = rules.on_answer(copy, attempt)
            if after is not copy:
                yield ("answer", index, number, attempt.epoch), _adopted(state, index, after)
        if attempt.sent and machine.lease and _renews(machine.lease, rules, index, attempt):
            yield ("commit_heartbeat", index, number, attempt.epoch), _renewed(state, rules, index, number)


def _epochs_to_send(machine: Machine, copy: Copy, rules: HoldRules, index: int) -> set[int]:
    """What a heartbeat may carry: the epoch that is lived under, or one that was granted to this incarnation."""
    epochs = {copy.epoch} if copy.epoch else set()
    lease = machine.lease
    mine = lease is not None and (lease.site, lease.incarnation) == (rules.bounds.copies[index], copy.incarnation)
    if lease and mine and lease.epoch > max(copy.finished, copy.epoch) and rules.may_claim(copy, machine, lease):
        epochs.add(lease.epoch)
    return epochs


def _renews(lease: Lease, rules: HoldRules, index: int, attempt: Attempt) -> bool:
    holder = (lease.site, lease.incarnation) == (rules.bounds.copies[index], attempt.incarnation)
    if not holder or attempt.epoch != lease.epoch:
        return False
    return lease.claim == index or (lease.claim == NOBODY and rules.claim_accepted(lease, index, attempt))


def _renewed(state: State, rules: HoldRules, index: int, number: int) -> State:
    """Committed as a claim or renewal: the wait begins anew, and the answer sets out."""
    machine, copy = state.machine, state.copies[index]
    lease, attempt = machine.lease, copy.attempts[number]
    assert lease is not None
    proves = attempt.under == lease.epoch
    renewed = lease._replace(claim=index, wait=rules.timer_length(lease.ttl), proved=int(lease.proved or proves))
    after = machine._replace(
        lease=renewed,
        former=rules.former_after_claim(machine, renewed, index),
        eligible=rules.carried(machine, attempt.version),
        hold_wait=(rules.hold_wait_proved if proves else rules.hold_wait_claimed)(machine, lease),
    )
    spent = attempt._replace(sent=0, yes=lease.ttl if attempt.live else 0)
    committed = copy._replace(attempts=replace_at(copy.attempts, number, spent))
    return _with_copy(state._replace(machine=after), index, committed)


# Holds ---------------------------------------------------------------------------------------------------------


def _hold_moves(state: State, rules: HoldRules, index: int) -> Iterator[Step]:
    copy = state.copies[index]
    site = rules.bounds.copies[index]
    if len(copy.asks) < rules.bounds.asks and rules.may_ask(copy):
        for to in rules.sites_asked(copy):
            if to != site:
                ask = Ask(to, 0, copy.epoch, copy.ttl, 1, 1, 0)
                yield ("ask", index, to, copy.epoch), _with_copy(state, index, copy._replace(asks=(*copy.asks, ask)))
    for number, ask in enumerate(copy.asks):
        rest = (*copy.asks[:number], *copy.asks[number + 1 :])
        yield ("forget_ask", index, number, 0), _with_copy(state, index, copy._replace(asks=rest))
        if ask.yes:
            after = rules.on_hold(copy, ask, site)
            if after is not copy:
                spent = after._replace(asks=replace_at(after.asks, number, ask._replace(yes=0)))
                yield ("hold", index, number, ask.epoch), _with_copy(state, index, spent)
        if ask.sent:
            yield from _asked(state, rules, index, number)
    if copy.end:
        yield from _end_arrives(state, rules, index)


def _asked(state: State, rules: HoldRules, index: int, number: int) -> Iterator[Step]:
    """A request arrives; the promise is made before the answer leaves."""
    copy = state.copies[index]
    ask = copy.asks[number]
    for other, promiser in enumerate(state.copies):
        if rules.bounds.copies[other] != ask.to or not rules.may_promise(promiser, ask):
            continue
        if promiser.promise.left and not rules.supersedes(promiser.promise, ask):
            continue
        promise = rules.promised(promiser.promise, ask, index)
        answered = ask._replace(sent=int(rules.bounds.late_asks), yes=ask.live)
        asked = _with_copy(state, index, copy._replace(asks=replace_at(copy.asks, number, answered)))
        yield ("promise", index, other, ask.epoch), _with_copy(asked, other, promiser._replace(promise=promise))


def _end_arrives(state: State, rules: HoldRules, index: int) -> Iterator[Step]:
    """The holder's word that it is down; it may arrive again."""
    ended = state.copies[index].end
    for other, promiser in enumerate(state.copies):
        promise = promiser.promise
        elsewhere = rules.bounds.copies[other] != rules.bounds.copies[index]
        if promise.left and elsewhere and rules.end_accepted(promise, ended, index):
            yield ("hold_end", index, other, ended), _with_copy(state, other, promiser._replace(promise=NO_PROMISE))


# The machine ---------------------------------------------------------------------------------------------------


def _grant_moves(state: State, rules: HoldRules) -> Iterator[Step]:
    machine, bounds = state.machine, rules.bounds
    if machine.epoch >= bounds.epochs:
        return
    for site, incarnation, known in sorted(
        {(s, c.incarnation, c.known) for s, c in zip(bounds.copies, state.copies, strict=True)}
    ):
        if not rules.grant_accepted(machine, site, known) or (state.top == 0 and _mirrored(rules, site)):
            continue
        former = machine.former
        if former and (former.site, former.incarnation) == (site, incarnation):
            yield _granted(state, rules, site, incarnation, rules.binds(former))
        if bounds.clones_granted or former is None or bounds.copies.count(site) == 1:
            yield _granted(state, rules, site, incarnation, NOBODY)


def _mirrored(rules: HoldRules, site: int) -> bool:
    """The first grant goes to site 0 where that site is like it (reduce.py)."""
    bounds = rules.bounds
    alike = all((0 in sites) == (site in sites) for sites in bounds.versions)
    return bool(site) and alike and bounds.copies.count(0) == bounds.copies.count(site)


def _granted(state: State, rules: HoldRules, site: int, incarnation: int, binds: int) -> Step:
    machine = state.machine
    epoch = machine.epoch + 1
    lease = Lease(epoch, site, incarnation, NOBODY, binds, rules.timer_length(machine.ttl), machine.ttl, 0)
    after = machine._replace(epoch=epoch, lease=lease, hold_wait=rules.hold_wait_granted(machine, machine.ttl))
    broken = EPOCH_GRANTED_TWICE if epoch <= state.top else state.broken
    granted = state._replace(machine=after, top=max(state.top, epoch), broken=broken)
    return ("regrant" if binds != NOBODY else "grant", site, incarnation, epoch), granted


def _machine_moves(state: State, rules: HoldRules) -> Iterator[Step]:
    machine = state.machine
    lease = machine.lease
    if lease is None:
        return
    if lease.wait == 0:
        yield ("expire", lease.epoch, 0, 0), state._replace(machine=machine._replace(lease=None))
    for index, copy in enumerate(state.copies):
        if copy.release and rules.release_accepted(lease, index, copy.release):
            yield ("commit_release", index, copy.release, 0), _vacated(state, rules)
        mine = (lease.site, lease.incarnation) == (rules.bounds.copies[index], copy.incarnation)
        if mine and lease.claim == NOBODY and copy.epoch == 0 and rules.decline_accepted():
            declined = _with_copy(state, index, rules.end_of_epoch(copy, lease.epoch))
            yield ("decline", index, lease.epoch, 0), _vacated(declined, rules)


def _vacated(state: State, rules: HoldRules) -> State:
    """Vacant by a release: nobody lives on, and every site of now is eligible."""
    machine = state.machine
    return state._replace(machine=machine._replace(lease=None, former=None, eligible=rules.all_sites(machine)))


# Operators -----------------------------------------------------------------------------------------------------


def _operator_moves(state: State, rules: HoldRules) -> Iterator[Step]:
    machine, bounds = state.machine, rules.bounds
    for ttl in bounds.ttls:
        if ttl != machine.ttl:
            yield ("configure", ttl, 0, 0), state._replace(machine=machine._replace(ttl=ttl))
    version = machine.version + 1
    if version < len(bounds.versions):
        if machine.lease is None or machine.lease.site in bounds.versions[version]:
            after = machine._replace(version=version, eligible=rules.reconfigured(machine, version))
            yield ("sites", version, 0, 0), state._replace(machine=after)
        if bounds.deletes and rules.may_delete(machine):
            anew = machine._replace(version=version, former=None)
            anew = anew._replace(eligible=rules.all_sites(anew))
            yield ("delete", version, 0, 0), state._replace(machine=anew)
    if state.recreations < bounds.recreations and state.top < bounds.epochs:
        after = rules.recreated(machine, state.top)
        yield (
            ("recreate", 0, 0, 0),
            state._replace(machine=after, top=max(state.top, after.epoch), recreations=state.recreations + 1),
        )


def _with_copy(state: State, index: int, copy: Copy) -> State:
    copies = state.copies
    return State(state.machine, (*copies[:index], copy, *copies[index + 1 :]), *state[2:])
