"""The rules of the lease as the replicated machine keeps them (DESIGN section 3; docs/lease-safety.md).

Each function is one rule: it checks everything first and changes something only when all of it holds. Time does
not occur here; what a clock found out comes in as votes.
"""

from __future__ import annotations

from proto.commands import Cause, Grant, QuarantineCause, ReleaseLease, Revoke, Vote, VoteKind, Votes
from proto.decisions import REASON_TEXT, Reason
from proto.events import EventKind
from proto.groups import Mode
from proto.invariants import require
from proto.lease import LeaseConstants
from proto.messages import NoticeKind, ReleaseKind
from proto.units import Epoch
from witness.core import clock_rules, holds_rules, licenses, permits, session_wait
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.state import (
    GroupState,
    Lease,
    QuarantineNote,
    Revocation,
    SiteRecord,
    Successor,
    majority,
)
from witness.core.transitions import LeaseInput, Phase, next_phase, refusal

DONE = Outcome(Reason.OK)


def refused(reason: Reason, detail: str = "") -> Outcome:
    return Outcome(reason, detail or REASON_TEXT[reason])


def epoch_floor(group: GroupState) -> Epoch:
    """No epoch up to this one may be granted: the machine's own and every site's durable bound."""
    bounds = (record.report.epoch_bound for record in group.sites.values() if record.report is not None)
    return Epoch(max([group.epoch, group.permits.floor, *bounds]))


def barred(epoch: Epoch, constants: LeaseConstants) -> Lease:
    """A lease that nobody can renew and only votes can end."""
    return Lease(epoch=epoch, site=None, incarnation=None, constants=constants, cause=Cause.FIRST)


def grant(scope: Scope, command: Grant) -> Outcome:
    """Compare-and-set on (epoch, vacant); gives no authority by itself."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    problem = refusal(group.phase, LeaseInput.GRANT)
    if problem is not None:
        return refused(problem)
    if group.epoch != command.expected_epoch:
        return refused(Reason.EPOCH_CONFLICT, f"expected epoch {command.expected_epoch}, it is {group.epoch}")
    if command.epoch <= epoch_floor(group):
        return refused(Reason.EPOCH_TOO_LOW, f"epoch {command.epoch} is not above {epoch_floor(group)}")
    in_place = command.cause is Cause.REGRANT
    goes_on = in_place or command.cause is Cause.ADOPTED
    moves = not in_place and not permits.moves_nothing(group.mode, command)
    if moves and _forbidden(group.mode, command.reason):
        return refused(Reason.MODE_FORBIDS)
    record = group.sites.get(command.site)
    if record is None:
        return refused(Reason.UNKNOWN_SITE)
    problem = permits.against_grant(scope.state, group, command)
    problem = problem or (None if in_place else grantable(record, command))
    problem = problem or clock_rules.against_grant(record, command)
    problem = problem or holds_rules.grant_problem(scope, group, record, command)
    problem = problem or licenses.against_grant(group, command)
    if problem is Reason.HOLDS_BROKEN:
        holds_rules.broken(scope, group, command.site)
    if problem is not None:
        return refused(problem)
    group.phase = next_phase(group.phase, LeaseInput.GRANT)
    group.epoch = command.epoch
    group.lease = Lease(
        epoch=command.epoch,
        site=command.site,
        incarnation=command.incarnation,
        constants=session_wait.in_place(group) if goes_on else group.config.constants,
        cause=command.cause,
    )
    group.successor = None
    holds_rules.may_be_held(group, group.lease)
    if in_place:
        holds_rules.regranted(scope, group, command)
    else:
        scope.ledger.append(
            EventKind.GRANTED,
            f"{command.cause.value}: {REASON_TEXT[command.reason]}" + _why(command.author.reason),
            group=command.group,
            site=command.site,
            epoch=command.epoch,
            author=command.author.name,
        )
    scope.changes.counted.add(command.group)
    scope.changes.dirty.add(command.group)
    # What is granted in place is told in the answer to the holder's heartbeat: a copy that holds nothing has none.
    kind = NoticeKind.CHANGED if in_place else NoticeKind.GRANTED
    scope.changes.notices.append((command.site, command.group, kind, command.epoch))
    return DONE


def grantable(record: SiteRecord, command: Grant) -> Reason | None:
    """What the machine itself demands of a grantee; readiness and freshness are the decision's business."""
    if record.report is None or record.incarnation != command.incarnation:
        return Reason.WRONG_INCARNATION
    if command.cause is Cause.ADOPTED:
        return None  # it is active already: see permits.adoptable
    if not record.report.enforce:
        return Reason.NOT_ENFORCING
    if not record.report.verified_down:
        return Reason.NOT_VERIFIED_DOWN
    if record.maintenance:
        return Reason.IN_MAINTENANCE
    if record.quarantine:
        return Reason.QUARANTINED
    if not record.carried:
        return Reason.CONFIG_NOT_CARRIED
    return None


def release(scope: Scope, command: ReleaseLease) -> Outcome:
    """Ends the lease without a wait; refused unless epoch, incarnation and claim are the holder's."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    lease = group.lease
    if lease is None or lease.epoch != command.epoch or lease.site != command.site:
        return refused(Reason.NOT_HOLDER)
    if lease.incarnation != command.incarnation:
        return refused(Reason.WRONG_INCARNATION)
    problem = refusal(group.phase, LeaseInput.RELEASE)
    if problem is not None:
        return refused(problem)
    if lease.claim != command.claim:
        return refused(Reason.WRONG_CLAIM)
    scope.ledger.append(
        EventKind.RELEASED,
        command.text or "verified down",
        group=command.group,
        site=command.site,
        epoch=lease.epoch,
        author=f"agent {command.site}",
    )
    if command.kind is ReleaseKind.ACTIVATION_FAILED:
        note = QuarantineNote(lease.epoch, command.text)
        quarantine(scope, group, lease, QuarantineCause.ACTIVATION_FAILED, note)
        scope.changes.failed.append((command.group, command.site))
    end_lease(scope, group, LeaseInput.RELEASE)
    return DONE


def _forbidden(mode: Mode, reason: Reason) -> bool:
    """Also for a move that was decided before the mode was set: the order of the log counts, not who proposed first."""
    return mode in (Mode.OBSERVE, Mode.PAUSED) or (mode is Mode.MANUAL and reason is not Reason.OPERATOR_ASKED)


def revoke(scope: Scope, command: Revoke) -> Outcome:
    """Begins a handover. Renewals go on until the deadline was voted; a revoke never vacates."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if _forbidden(group.mode, command.reason):
        return refused(Reason.MODE_FORBIDS)
    successor = group.sites.get(command.successor)
    if successor is None:
        return refused(Reason.UNKNOWN_SITE)
    problem = refusal(group.phase, LeaseInput.REVOKE)
    if problem is not None:
        return refused(problem)
    lease = group.lease
    require(lease is not None and lease.site is not None, f"{group.config.group} is {group.phase} without a lease")
    if lease is None or lease.site is None:  # for the type checker; required above
        return refused(Reason.NOT_HOLDER)
    if lease.epoch != command.epoch:
        return refused(Reason.EPOCH_CONFLICT, f"expected epoch {command.epoch}, it is {lease.epoch}")
    if lease.site == command.successor:
        return refused(Reason.ALREADY_THERE)
    problem = permits.against_revoke(scope.state, group, lease.site)
    if problem is not None:
        return refused(problem)
    if successor.maintenance or successor.quarantine:
        return refused(Reason.IN_MAINTENANCE if successor.maintenance else Reason.QUARANTINED)
    for blocker in clock_rules.blockers(successor, command.successor):
        return refused(blocker.reason, blocker.seen)
    group.phase = next_phase(group.phase, LeaseInput.REVOKE)
    timeout_ms = group.config.handover_timeout_ms
    lease.revocation = Revocation(1, command.successor, command.cause, command.reason, timeout_ms)
    scope.ledger.append(
        EventKind.REVOKED,
        f"{command.cause.value} to {command.successor}: {REASON_TEXT[command.reason]}" + _why(command.author.reason),
        group=command.group,
        site=lease.site,
        epoch=lease.epoch,
        author=command.author.name,
    )
    scope.changes.counted.add(command.group)
    scope.changes.dirty.add(command.group)
    if command.reason is not Reason.OPERATOR_ASKED:
        scope.changes.moved.add(command.group)
    scope.changes.notices.append((lease.site, command.group, NoticeKind.REVOKED, lease.epoch))
    return DONE


def cast_votes(scope: Scope, command: Votes) -> Outcome:
    """Counts one witness's votes; each is judged by itself, a stale one changes nothing."""
    if command.witness not in scope.state.witnesses:
        return refused(Reason.NOT_A_MEMBER)
    stale = 0
    for vote in command.votes:
        if vote.kind is VoteKind.EXPIRY:
            counted = _cast_expiry(scope, command, vote)
        elif vote.kind is VoteKind.REVOKE_DUE:
            counted = _cast_revoke_due(scope, command, vote)
        elif vote.kind is VoteKind.SESSION_OVER:
            counted = session_wait.cast(scope, command, vote)
        else:
            counted = _cast_bar_over(scope, command, vote)
        stale += not counted
    return refused(Reason.STALE_VOTE, f"{stale} of {len(command.votes)} votes are stale") if stale else DONE


def _cast_expiry(scope: Scope, command: Votes, vote: Vote) -> bool:
    group = scope.state.groups.get(vote.group)
    if group is None or group.lease is None:
        return False
    lease = group.lease
    if (lease.epoch, lease.renewal) != (vote.epoch, vote.number):
        return False
    lease.votes.add(command.witness)
    if len(lease.votes) >= majority(len(scope.state.witnesses)):
        _expire(scope, group, lease)
    return True


def _cast_revoke_due(scope: Scope, command: Votes, vote: Vote) -> bool:
    group = scope.state.groups.get(vote.group)
    if group is None or group.lease is None or refusal(group.phase, LeaseInput.REVOKE_DUE) is not None:
        return False
    lease, revocation = group.lease, group.lease.revocation
    if revocation is None or (lease.epoch, revocation.number) != (vote.epoch, vote.number):
        return False
    revocation.votes.add(command.witness)
    if len(revocation.votes) >= majority(len(scope.state.witnesses)):
        group.phase = next_phase(group.phase, LeaseInput.REVOKE_DUE)
        scope.ledger.append(
            EventKind.REVOKE_DUE,
            f"not released within {revocation.timeout_ms} ms: no more renewals, the lease runs out",
            group=vote.group,
            site=lease.site,
            epoch=lease.epoch,
        )
        scope.changes.dirty.add(vote.group)
    return True


def _cast_bar_over(scope: Scope, command: Votes, vote: Vote) -> bool:
    state = scope.state
    bar = state.bar
    if bar is None or (vote.epoch, vote.number) != (state.generation, 0):
        return False
    bar.votes.add(command.witness)
    if len(bar.votes) >= majority(len(state.witnesses)):
        voters = ", ".join(sorted(bar.votes))
        scope.ledger.append(EventKind.UNBARRED, f"the restore's wait is over for new groups (votes: {voters})")
        state.bar = None
    return True


def _expire(scope: Scope, group: GroupState, lease: Lease) -> None:
    voters = ", ".join(sorted(lease.votes))
    name = group.config.group
    if lease.site is None:
        scope.ledger.append(EventKind.UNBARRED, f"one full lease has passed (votes: {voters})", group=name)
    else:
        claimed = lease.claim is not None
        text = f"renewal {lease.renewal} ran out" if claimed else REASON_TEXT[Reason.NEVER_CLAIMED]
        scope.ledger.append(
            EventKind.EXPIRED, f"{text} (votes: {voters})", group=name, site=lease.site, epoch=lease.epoch
        )
        if not claimed:
            group.unclaimed_by = lease.site
        else:
            note = QuarantineNote(lease.epoch, REASON_TEXT[Reason.UNCLEAN_END])
            quarantine(scope, group, lease, QuarantineCause.UNCLEAN_END, note)
            holds_rules.expired(scope, group, lease)
    end_lease(scope, group, LeaseInput.EXPIRY)


def quarantine(scope: Scope, group: GroupState, lease: Lease, cause: QuarantineCause, note: QuarantineNote) -> None:
    require(lease.site is not None, "a barred lease has no site to quarantine")
    if lease.site is None or lease.site not in group.sites:
        return
    group.sites[lease.site].quarantine[cause] = note
    scope.ledger.append(
        EventKind.QUARANTINED,
        f"{cause.value}: {note.text}",
        group=group.config.group,
        site=lease.site,
        epoch=lease.epoch,
    )


def end_lease(scope: Scope, group: GroupState, how: LeaseInput) -> None:
    """The one way to VACANT. The epoch is spent for good."""
    lease = group.lease
    require(lease is not None, f"{group.config.group}: no lease to end")
    if lease is None:
        return
    group.phase = next_phase(group.phase, how)
    revocation = lease.revocation
    group.successor = (
        None if revocation is None else Successor(revocation.successor, revocation.cause, revocation.reason)
    )
    if lease.site is not None:
        group.last_end = how
        group.last_holder = lease.site
    if how is LeaseInput.RELEASE:
        group.former = None
        carry(group, group.version)
    group.lease = None
    if lease.site is not None:
        clock_rules.judge(scope, group, lease.site)  # by the configured bound from now on
    scope.changes.counted.add(group.config.group)
    scope.changes.dirty.add(group.config.group)
    scope.tell_sites(group, NoticeKind.CHANGED)


def carry(group: GroupState, version: int) -> None:
    """Whoever may be active knows this version of the configuration: sites that it added become eligible.

    Exactly this one: a higher number can only come from a life of the cluster before a restore.
    """
    if version == group.version:
        group.carried_version = group.version
        for record in group.sites.values():
            record.carried = True


def _why(reason: str) -> str:
    return f" ({reason})" if reason else ""


def phase_is_live(phase: Phase) -> bool:
    """A site may have authority in these phases."""
    return phase in (Phase.HELD, Phase.REVOKING, Phase.OVERDUE)
