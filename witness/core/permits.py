"""What the witnesses owe to a site that may be active under a break-glass permit, which they did not grant.

Rules (DESIGN section 6, B3 and B4; docs/adr/0018):
- A site takes a permit only when no witness answered it for longer than the group's `after`. So a site counts as *away*
  when that much time passed, by the calendar, since a heartbeat whose answer it is known to have; its next heartbeat
  says so (`answered`). A heartbeat that was merely applied proves nothing of what the site knows.
- While a site of the group is away, nothing is granted and nothing is claimed in it; what is active renews on. An
  operator who looked there vouches for it (`Reconcile`).
- A site that said that it is under a permit is not passed over, however long ago it said so: nobody else is granted. It
  is adopted in place, by a grant above the permit's epoch, in every mode but observe. Its permit counts until the
  incarnation that took it says otherwise, or any other one that it has finished that epoch, so the adopted lease may
  even run out: the answer to its claim can be lost.
- An agent that comes with another store is not the one that may have taken a permit: as long as it is in quarantine for
  that, the site counts as silent, whatever it says.
- What an operator vouches for may have ended a moment ago, and a license server keeps its session: nothing is granted
  or claimed until the lock delay has passed (witness.core.session_wait).
- Whoever else says that it is active at the same time, or a permit that comes from two incarnations: no adoption, an
  alarm, an operator.
Rejected: one state for the whole group that only an outage of the majority begins (a site that was cut off alone may
take a permit, too), and refusing renewals meanwhile (a standby that is down for ten minutes would fence the active
site, and a site that renews has authority, so that a permit beside it was not rightly used).
"""

from __future__ import annotations

from dataclasses import replace

from proto.commands import Cause, Grant, QuarantineCause, Reconcile
from proto.decisions import REASON_TEXT, Reason
from proto.events import EventKind
from proto.groups import Mode
from proto.health import HealthReport, SiteState
from proto.permit import CLEARED_LEAP, PermitMark
from proto.units import Epoch, Incarnation, SiteId
from witness.core import session_wait
from witness.core.calendar import SINCE_LEVEL
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.state import AgentRecord, ClusterState, GroupState, Lease, PermitNote, SiteRecord

MARKS_MAX = 8
MARK_EVERY_MS = 1_000
"""Marks of an agent's heartbeats stand at least so far apart; what is heard is known to this precision."""
PERMITS_KEPT_MAX = 64
"""Of one group; the lowest epoch goes first, and a site's own bound refuses it there."""
_RUNNING = frozenset({SiteState.ACTIVATING, SiteState.ACTIVE})
_ACTIVE_STATES = _RUNNING | {SiteState.DEACTIVATING}


# -- who is away ------------------------------------------------------------------------------------------


def heard(state: ClusterState, agent: AgentRecord, seq: int, answered: int) -> None:
    """A heartbeat was applied: what does its sender know, and since when?"""
    now_ms = state.calendar.counted_ms
    known = [at_ms for number, at_ms in agent.marks if number <= answered]
    if known:
        agent.heard_ms = max(agent.heard_ms, known[-1])
    if not agent.marks or now_ms - agent.marks[-1][1] >= MARK_EVERY_MS:
        agent.marks.append((seq, now_ms))
        del agent.marks[:-MARKS_MAX]


def started_anew(agent: AgentRecord) -> None:
    """Another incarnation numbers its heartbeats from the beginning."""
    agent.marks.clear()


def spoke(state: ClusterState, group: GroupState, record: SiteRecord, site: SiteId) -> None:
    """The group's part of a heartbeat."""
    permits = group.permits
    if not permits.after_ms:
        return
    permits.seen_ms = state.calendar.counted_ms
    if QuarantineCause.STORE_CHANGED not in record.quarantine:
        record.heard_ms, record.vouched_ms = state.agents[site].heard_ms, 0


def is_silent(group: GroupState, site: SiteId, counted_ms: int) -> bool:
    """A permit may have been taken there since it last knew that the witnesses answer."""
    permits, record = group.permits, group.sites[site]
    if permits.since_ms and not record.heard_ms and record.report is None:
        return False  # since the group was made nobody told it whose permits it may take
    known_ms = max(record.heard_ms, permits.since_ms)
    return bool(permits.after_ms) and counted_ms - known_ms >= permits.after_ms


def is_away(group: GroupState, site: SiteId, counted_ms: int) -> bool:
    """Silent, and nobody vouches for it."""
    return not group.sites[site].vouched_ms and is_silent(group, site, counted_ms)


def away_sites(group: GroupState, counted_ms: int) -> list[SiteId]:
    return [site for site in group.config.sites if is_away(group, site, counted_ms)]


def silent_ms(group: GroupState, site: SiteId) -> int:
    """For people: since when it is away, as the group saw the calendar last."""
    return group.permits.seen_ms - max(group.sites[site].heard_ms, group.permits.since_ms)


# -- who is under a permit --------------------------------------------------------------------------------


def under_permit(group: GroupState) -> list[SiteId]:
    """Sites whose last word was that they are, however old it is."""
    reports = ((site, group.sites[site].report) for site in group.config.sites)
    return [site for site, report in reports if report is not None and report.permit is not None]


def disputed(group: GroupState, site: SiteId) -> bool:
    """Its permit counts, and who speaks for it now is not who took it, nor a next life that is not down yet."""
    record = group.sites[site]
    report = record.report
    if report is None or report.permit is None or report.state is SiteState.UNKNOWN:
        return False
    return not _took(group, report.permit, site, record.incarnation)


def _took(group: GroupState, mark: PermitMark, site: SiteId, incarnation: Incarnation | None) -> bool:
    note = group.permits.used.get(mark.permit)
    return note is not None and (note.site, note.incarnation) == (site, incarnation)


def as_it_counts(
    group: GroupState, site: SiteId, incarnation: Incarnation, before: HealthReport | None, report: HealthReport
) -> HealthReport:
    """With the permit that the site named before, where somebody who does not know of it says that there is none.

    Such are a late word of an earlier incarnation, a second agent with the site's certificate, and one whose store is
    gone. The next life of who took it finishes its epoch before it says so.
    """
    mark = None if before is None else before.permit
    if mark is None or report.permit is not None or report.finished_epoch >= mark.epoch:
        return report
    return report if _took(group, mark, site, incarnation) else replace(report, permit=mark)


def reported(scope: Scope, group: GroupState, record: SiteRecord, site: SiteId, before: HealthReport | None) -> None:
    """A changed report: a permit that is used, used again, or over."""
    report, incarnation = record.report, record.incarnation
    former = None if before is None else before.permit
    if report is None or incarnation is None:
        return
    name, mark, used = group.config.group, report.permit, group.permits.used
    note = None if mark is None else used.get(mark.permit)
    if mark is not None and note is not None and _second_use(note, site, record, anew=mark != former):
        note.clash_told = True
        text = f"permit {mark.permit.hex()[:12]} is used a second time: it was used by {note.site}"
        scope.ledger.append(EventKind.PERMIT_CLASH, text, group=name, site=site, epoch=mark.epoch)
    if mark == former:
        return
    if mark is None:
        if former is not None:
            text = f"permit {former.permit.hex()[:12]}: the site goes on without it, or is down"
            scope.ledger.append(EventKind.PERMIT_ENDED, text, group=name, site=site, epoch=former.epoch)
    elif note is None:
        used[mark.permit] = PermitNote(site, incarnation, mark.epoch)
        while len(used) > PERMITS_KEPT_MAX:
            del used[min(used, key=lambda one: (used[one].epoch, one))]
        text = f"permit {mark.permit.hex()[:12]}: active without the witnesses, by an operator's word"
        scope.ledger.append(EventKind.PERMIT_USED, text, group=name, site=site, epoch=mark.epoch)


def _second_use(note: PermitNote, site: SiteId, record: SiteRecord, *, anew: bool) -> bool:
    """Not told yet, and not what a next life says of the former one, whose end its disk may not know.

    `anew`: its last word did not name that permit. A next life is unknown while it names one; whoever is on its way
    down under one may be of another incarnation, because its clocks parted.
    """
    if note.clash_told or record.report is None or (note.site, note.incarnation) == (site, record.incarnation):
        return False
    if note.site != site:
        return anew
    state = record.report.state
    return state in _RUNNING or (anew and state is not SiteState.UNKNOWN)


# -- what follows -----------------------------------------------------------------------------------------


def against_grant(state: ClusterState, group: GroupState, command: Grant) -> Reason | None:
    """Why permits forbid this grant, None when they do not. An adoption is judged by `adoptable` alone."""
    if command.cause is Cause.ADOPTED:
        return adoptable(group, command.site, state.calendar.counted_ms)
    if any(site != command.site for site in under_permit(group)):
        return Reason.UNDER_PERMIT
    if group.permits.session is not None and command.cause is not Cause.REGRANT:
        return Reason.SESSION_MAY_LIVE
    return Reason.RECONCILING if away_sites(group, state.calendar.counted_ms) else None


def against_revoke(state: ClusterState, group: GroupState, holder: SiteId) -> Reason | None:
    """No handover is begun that no grant could end."""
    if any(site != holder for site in under_permit(group)):
        return Reason.UNDER_PERMIT
    if group.permits.session is not None:
        return Reason.SESSION_MAY_LIVE
    return Reason.RECONCILING if away_sites(group, state.calendar.counted_ms) else None


def moves_nothing(mode: Mode, command: Grant) -> bool:
    """An adoption only says what is so: also in the modes that leave moves to operators, or forbid them."""
    return command.cause is Cause.ADOPTED and mode is not Mode.OBSERVE


def adoptable(group: GroupState, site: SiteId, counted_ms: int) -> Reason | None:
    """Why the site is not adopted in place, None when it is. One that is on its way down would claim nothing."""
    record = group.sites[site]
    report = record.report
    if report is None or report.permit is None or report.state not in _RUNNING:
        return Reason.NOT_HOLDER
    if not report.enforce:
        return Reason.NOT_ENFORCING
    note = group.permits.used.get(report.permit.permit)
    if note is None or (note.site, note.incarnation) != (site, record.incarnation):
        return Reason.PERMIT_CLASH
    return Reason.PERMIT_CLASH if contested_by(group, site, counted_ms) else None


def contested_by(group: GroupState, site: SiteId, counted_ms: int) -> list[SiteId]:
    """Other sites that say that they are active, or under a permit. The old word of a silent one does not count."""
    found = [other for other in under_permit(group) if other != site]
    for other in group.config.sites:
        report = group.sites[other].report
        says = report is not None and report.enforce and report.state in _ACTIVE_STATES
        if other != site and other not in found and says and not is_silent(group, other, counted_ms):
            found.append(other)
    return found


def may_claim(lease: Lease, record: SiteRecord) -> bool:
    """What was adopted is claimed only by who says that it runs under a permit.

    A dormant copy would begin anew, and so would a site whose permit an operator has ended meanwhile.
    """
    report = record.report
    return lease.cause is not Cause.ADOPTED or (report is not None and report.permit is not None)


def withholds(state: ClusterState, group: GroupState, lease: Lease, site: SiteId) -> bool:
    """No authority begins at this site now: somebody may be active under a permit, or was a moment ago, before an
    operator vouched. What has authority goes on.
    """
    if not group.permits.after_ms and group.permits.session is None:
        return False
    report = group.sites[site].report
    if report is not None and lease.cause is Cause.ADOPTED and report.permit is not None:
        return False
    if report is not None and report.state in _ACTIVE_STATES:
        return False
    others = [other for other in under_permit(group) if other != site]
    return bool(group.permits.session or others or away_sites(group, state.calendar.counted_ms))


def overrules(group: GroupState, lease: Lease | None, site: SiteId) -> bool:
    """Another site has claimed a lease above the permit of this one: the permit is over."""
    report = group.sites[site].report
    permit = None if report is None else report.permit
    if permit is None or lease is None or lease.claim is None:
        return False
    return lease.site != site and lease.epoch > permit.epoch


# -- configuration ----------------------------------------------------------------------------------------


def configured(state: ClusterState, group: GroupState) -> None:
    """The group's terms changed, or may have. A site that was not told yet goes by the ones before."""
    permits, terms = group.permits, group.config.permits
    if not terms.enabled:
        return
    if not permits.after_ms:
        permits.since_ms = state.calendar.counted_ms
    permits.after_ms = min(permits.after_ms or terms.after_ms, terms.after_ms)
    permits.seen_ms = state.calendar.counted_ms


def created(state: ClusterState, group: GroupState, *, anew: bool) -> None:
    """`anew`: the group had a former life, in which a permit may have been used: each site has to be heard."""
    configured(state, group)
    if anew:
        group.permits.since_ms = 0


def added(state: ClusterState) -> SiteRecord:
    """A site that comes later may have been one before, and know the terms."""
    return SiteRecord(carried=False, heard_ms=1 if state.feature_level >= SINCE_LEVEL else 0)


def settle(group: GroupState) -> None:
    """When every site knows this version, nobody goes by older terms any more, unless a permit of theirs is in use."""
    terms = group.config.permits
    wanted_ms = terms.after_ms if terms.enabled else 0
    if group.permits.after_ms == wanted_ms:
        return
    reports = (record.report for record in group.sites.values())
    if not under_permit(group) and all(one is not None and one.group_version == group.version for one in reports):
        group.permits.after_ms = wanted_ms


def reconcile(scope: Scope, command: Reconcile) -> Outcome:
    """An operator vouches: what is away, or disputed, is under no permit, whatever was said last."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return Outcome(Reason.UNKNOWN_GROUP, REASON_TEXT[Reason.UNKNOWN_GROUP])
    if not command.author.reason.strip():
        return Outcome(Reason.REASON_REQUIRED, REASON_TEXT[Reason.REASON_REQUIRED])
    counted_ms = scope.state.calendar.counted_ms
    away = [site for site in group.config.sites if is_away(group, site, counted_ms) or disputed(group, site)]
    if not away:
        return Outcome(Reason.ALREADY_SO, "every site was heard: what is under a permit ends or is adopted by itself")
    for site in away:
        record = group.sites[site]
        record.vouched_ms = counted_ms
        if record.report is not None and record.report.permit is not None:
            record.report = replace(record.report, permit=None)
            record.report_bytes = b""  # what it says when it is back is read anew
    group.permits.floor = Epoch(max(group.permits.floor, group.epoch) + CLEARED_LEAP)
    wait = session_wait.begin(scope, group)
    scope.ledger.append(
        EventKind.RECONCILED,
        f"an operator vouches that no permit is in use at {', '.join(away)} ({command.author.reason}){wait}",
        group=command.group,
        epoch=group.epoch,
        author=command.author.name,
    )
    scope.changes.dirty.add(command.group)
    return Outcome(Reason.OK)
