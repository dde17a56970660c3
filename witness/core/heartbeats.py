"""(7) A heartbeat at apply: who speaks, what it reports, and whether it claims or renews.

Order of the checks matters: first the speaker (witness/core/speaker.py), then each group. The
answer is computed here, from the very command that was committed, and nowhere else. What an agent said is read at the
cluster's feature level, not at this program's: replicas of two versions must read the same frame alike.
"""

from __future__ import annotations

from proto import limits
from proto.codec import AGENT_MESSAGES, REPORTS
from proto.commands import Cause, HeartbeatFrame, QuarantineCause
from proto.decisions import Reason
from proto.errors import FrameRefused
from proto.events import EventKind
from proto.health import DataChecks, HealthReport, SiteState
from proto.license import check_report
from proto.messages import (
    LAG_UNKNOWN_MS,
    EscrowValue,
    GroupAnswer,
    GroupHeartbeat,
    Heartbeat,
    RevokePhase,
    Verdict,
)
from proto.units import EPOCH_MAX, Epoch, GroupId, RenewalNo, SiteId
from witness.core import clock_rules, holds_rules, licenses, permits, speaker
from witness.core.calendar import SINCE_LEVEL
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, carry, refused
from witness.core.state import GroupState, Lease, QuarantineNote, SiteRecord
from witness.core.transitions import LeaseInput, Phase, next_phase, refusal

EPOCH_BOUND_MAX = EPOCH_MAX - (1 << 40)
"""Grants go above every site's bound; one that leaves no room above it would end the group's epochs for good."""

_REVOKE_PHASE = {Phase.REVOKING: RevokePhase.REVOKING, Phase.OVERDUE: RevokePhase.DUE}


def heartbeat(scope: Scope, command: HeartbeatFrame) -> Outcome:
    try:
        beat = AGENT_MESSAGES.decode(command.frame, scope.state.feature_level)
    except FrameRefused as error:
        return refused(Reason.MALFORMED, str(error)[: limits.TEXT_CHARS_MAX])
    if not isinstance(beat, Heartbeat):
        return refused(Reason.MALFORMED, "a heartbeat was expected")
    if wrong := speaker.wrong(beat):
        return refused(Reason.MALFORMED, wrong)
    problem = speaker.heard(scope, beat)
    if problem is None and scope.state.feature_level >= SINCE_LEVEL:
        permits.heard(scope.state, scope.state.agents[beat.site], beat.seq, beat.answered)
    groups = scope.state.groups
    if problem is not None:
        return _refuse_all(scope, beat, problem)
    answers, sites = [], []
    values: list[EscrowValue] = []
    heard, renewed = [], []
    for entry in beat.groups:
        group = groups.get(entry.group)
        record = None if group is None else group.sites.get(beat.site)
        if group is None or record is None:
            answers.append(_unknown(entry))
            continue
        heard.append(entry.group)
        permits.spoke(scope.state, group, record, beat.site)
        if record.incarnation != beat.incarnation or record.report_bytes != entry.report:
            problem = _report(scope, group, record, beat, entry)
            if problem is not None:
                answers.append(_answer(scope, group, Verdict.REFUSED, problem))
                continue
        elif record.quarantine:
            # What it says has not changed, and the quarantine may have come since it said so first.
            _lift_proven(scope, group, record, beat.site)
        if entry.lag_ms != LAG_UNKNOWN_MS:
            record.lag_ms = entry.lag_ms
        lease = group.lease
        number = None if lease is None else lease.renewal
        answers.append(_lease_part(scope, group, record, beat, entry))
        if lease is not None and lease.renewal != number:
            renewed.append(entry.group)
        licenses.watch(scope, group, beat.site)
        if scope.answering and holds_rules.is_told(group, record, beat.answered):
            sites.append(holds_rules.group_sites(group))
        if group.escrow.kept and scope.answering:
            values.extend(licenses.behind(group, record))
    scope.changes.heard.append((beat.site, heard, renewed))
    if not scope.answering:
        return DONE
    told = tuple(sites) if holds_rules.known(scope.state) else ()
    return Outcome(Reason.OK, answers=tuple(answers), sites=told, values=licenses.some_of(values, beat.seq))


def _refuse_all(scope: Scope, beat: Heartbeat, problem: Reason) -> Outcome:
    """The speaker does not count: every group is answered, so that the agent learns why, and nothing changes."""
    groups = scope.state.groups
    answers = [
        _answer(scope, groups[entry.group], Verdict.REFUSED, problem) for entry in beat.groups if entry.group in groups
    ]
    return Outcome(problem, answers=tuple(answers))


def _report(
    scope: Scope, group: GroupState, record: SiteRecord, beat: Heartbeat, entry: GroupHeartbeat
) -> Reason | None:
    """Takes a changed report in. What it says of epochs never goes back within one store."""
    try:
        report = REPORTS.decode(entry.report, scope.state.feature_level)
    except FrameRefused:
        return Reason.MALFORMED
    if report.epoch_bound > EPOCH_BOUND_MAX or check_report(report.licenses):
        return Reason.MALFORMED
    report = licenses.believed(scope, group, beat.site, report)
    name = group.config.group
    before = record.report
    if record.store_id and record.store_id != report.store_id:
        note = QuarantineNote(group.epoch, "another store id than the one that is bound to this site")
        record.quarantine[QuarantineCause.STORE_CHANGED] = note
        text = f"{QuarantineCause.STORE_CHANGED.value}: {note.text}"
        scope.ledger.append(EventKind.QUARANTINED, text, group=name, site=beat.site, epoch=group.epoch)
    report = permits.as_it_counts(group, beat.site, beat.incarnation, before, report)
    record.store_id = report.store_id
    record.incarnation = beat.incarnation
    record.report_bytes = entry.report
    record.report = report
    if (before is not None and before.holding) or report.holding:
        holds_rules.note_holding(scope, group, beat.site, before, report)
    if before is None or before.state is not report.state:
        epoch = Epoch(max(entry.epoch, report.epoch_bound))
        text = _state_words(before, report)
        scope.ledger.append(EventKind.SITE_STATE, text, group=name, site=beat.site, epoch=epoch)
    _lift_proven(scope, group, record, beat.site)
    permits.reported(scope, group, record, beat.site, before)
    licenses.reported(scope, group, beat.site, before)
    permits.settle(group)
    scope.changes.dirty.add(name)
    return None


def _state_words(before: HealthReport | None, report: HealthReport) -> str:
    words = report.state.value if before is None else f"{before.state.value} -> {report.state.value}"
    if report.state in (SiteState.FENCED, SiteState.FENCING) and report.blockers:
        words += f": {report.blockers[0]}"
    return words


def _lift_proven(scope: Scope, group: GroupState, record: SiteRecord, site: SiteId) -> None:
    """An unclean end is forgiven when the agent proved that epoch finished and its data checks pass."""
    note = record.quarantine.get(QuarantineCause.UNCLEAN_END)
    report = record.report
    if note is None or report is None or not proven_down(report, note.epoch):
        return
    if report.data_checks is DataChecks.PASSED:
        del record.quarantine[QuarantineCause.UNCLEAN_END]
        scope.changes.dirty.add(group.config.group)
        text = "proven down, data checks pass"
        scope.ledger.append(EventKind.QUARANTINE_CLEARED, text, group=group.config.group, site=site, epoch=note.epoch)


def proven_down(report: HealthReport, epoch: Epoch) -> bool:
    return report.verified_down and report.finished_epoch >= epoch


def _lease_part(
    scope: Scope, group: GroupState, record: SiteRecord, beat: Heartbeat, entry: GroupHeartbeat
) -> GroupAnswer:
    lease = group.lease
    mine = lease is not None and lease.site == beat.site
    if entry.epoch == 0:
        if lease is not None and mine:
            if lease.incarnation != beat.incarnation:
                return _answer(scope, group, Verdict.DORMANT, Reason.HELD_BY_OTHER_INCARNATION)
            may = lease.cause is not Cause.REGRANT and permits.may_claim(lease, record)
            may = may and not clock_rules.too_slow(record)
            may = may and not permits.withholds(scope.state, group, lease, beat.site)
            if group.phase is Phase.GRANTED and may:
                return _answer(scope, group, Verdict.GRANTED)
        overruled = permits.overrules(group, lease, beat.site)
        return _answer(scope, group, Verdict.DORMANT, Reason.PERMIT_OVERRULED if overruled else Reason.OK)
    if lease is None or not mine or lease.epoch != entry.epoch:
        if group.former is not None and holds_rules.lives(group, record, beat, entry):
            if clock_rules.too_slow(record):  # its holds are counted on that clock
                return _answer(scope, group, Verdict.REFUSED, Reason.CLOCK_TOO_SLOW)
            in_place = lease is not None and lease.cause is Cause.REGRANT
            return _answer(scope, group, Verdict.GRANTED if in_place else Verdict.HOLDING)
        return _answer(scope, group, Verdict.REFUSED, Reason.NOT_HOLDER)
    if lease.incarnation != beat.incarnation:
        return _answer(scope, group, Verdict.REFUSED, Reason.WRONG_INCARNATION)
    return _claim_or_renew(scope, group, lease, record, entry)


def _claim_or_renew(
    scope: Scope, group: GroupState, lease: Lease, record: SiteRecord, entry: GroupHeartbeat
) -> GroupAnswer:
    """The first claim wins; a renewal with any other claim is a second instance and is told in the ledger."""
    name = group.config.group
    if clock_rules.too_slow(record):
        return _answer(scope, group, Verdict.REFUSED, Reason.CLOCK_TOO_SLOW)
    if lease.site is not None and permits.withholds(scope.state, group, lease, lease.site):
        return _answer(scope, group, Verdict.REFUSED, Reason.NOT_CLAIMED)
    in_place = group.former if lease.cause is Cause.REGRANT and lease.claim is None else None
    if in_place is not None and in_place.claim != entry.claim:
        return _clash(scope, group, lease)
    if lease.claim is None and not permits.may_claim(lease, record):
        return _answer(scope, group, Verdict.REFUSED, Reason.NOT_CLAIMED)
    if lease.claim is None:
        group.former = in_place  # until its holder says that it lives by the new epoch: it may not have heard of it
        group.phase = next_phase(group.phase, LeaseInput.CLAIM)
        lease.claim = entry.claim
        group.unclaimed_by = None
        licenses.claimed(group)
        text = "authority begins" if in_place is None else f"goes on without a stop, in place of epoch {in_place.epoch}"
        scope.ledger.append(EventKind.CLAIMED, text, group=name, site=lease.site, epoch=lease.epoch)
        scope.changes.dirty.add(name)
    elif lease.claim != entry.claim:
        return _clash(scope, group, lease)
    else:
        problem = refusal(group.phase, LeaseInput.RENEWAL)
        if problem is not None:
            return _answer(scope, group, Verdict.REFUSED, problem)
        group.phase = next_phase(group.phase, LeaseInput.RENEWAL)
    lease.renewal += 1
    lease.votes.clear()
    scope.changes.counted.add(name)
    if group.settled != lease.epoch:
        holds_rules.settle(scope, group, lease, record)
    if group.carried_version != group.version and record.report is not None:
        carry(group, record.report.group_version)
    return _answer(scope, group, Verdict.RENEWED)


def _clash(scope: Scope, group: GroupState, lease: Lease) -> GroupAnswer:
    if not lease.clash_told:
        lease.clash_told = True
        text = "another instance with this site's identity tried to use the lease"
        scope.ledger.append(EventKind.CLAIM_CLASH, text, group=group.config.group, site=lease.site, epoch=lease.epoch)
    return _answer(scope, group, Verdict.REFUSED, Reason.WRONG_CLAIM)


def _answer(scope: Scope, group: GroupState, verdict: Verdict, reason: Reason = Reason.OK) -> GroupAnswer:
    if not scope.answering:
        return _NOBODY_ASKS
    lease = group.lease
    if lease is None or lease.site is None:
        constants, epoch, renewal = group.config.constants, group.epoch, 0
    else:
        constants, epoch, renewal = lease.constants, lease.epoch, lease.renewal
    return GroupAnswer(
        group.config.group,
        verdict,
        epoch,
        RenewalNo(renewal),
        constants.ttl_ms,
        constants.drift_max_ppm,
        constants.lock_delay_ms,
        _REVOKE_PHASE.get(group.phase, RevokePhase.NONE),
        group.version,
        reason,
    )


_NOBODY_ASKS = GroupAnswer(
    GroupId("nobody"), Verdict.DORMANT, Epoch(0), RenewalNo(0), 0, 0, 0, RevokePhase.NONE, 0, Reason.OK
)
"""Stands for every answer on the witnesses that nobody asked."""


def _unknown(entry: GroupHeartbeat) -> GroupAnswer:
    zero = Epoch(0)
    return GroupAnswer(
        entry.group, Verdict.UNKNOWN_GROUP, zero, RenewalNo(0), 0, 0, 0, RevokePhase.NONE, 0, Reason.UNKNOWN_GROUP
    )
