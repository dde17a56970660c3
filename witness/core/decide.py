"""(8) Who should be active, and why: a pure function of the group's state and of what this witness has seen.

It proposes and never mutates; the machine checks again what it can (lease_rules.grant). Every decision names its
reason and, for each site that was passed over, what blocked it (promise P6; DESIGN section 5).
"""

from __future__ import annotations

from dataclasses import replace

from proto.commands import Cause, QuarantineCause
from proto.decisions import Blocker, Decision, DecisionKind, Reason
from proto.groups import Failback, Mode, WitnessLoss
from proto.health import DataChecks, HealthReport, SiteState
from proto.holds import promise_wait
from proto.lease import longest
from proto.messages import LAG_UNKNOWN_MS
from proto.units import NS_PER_MS, Epoch, InstantNs, SiteId
from witness.core import clock_rules, licenses, permits, session_wait
from witness.core.backoff import backoff_over
from witness.core.heartbeats import proven_down
from witness.core.holds_rules import RUNNING, contradictions, unproven
from witness.core.sight import GroupSight, heard_max_ns, speaks_now_ns
from witness.core.state import GroupState, SiteRecord
from witness.core.transitions import LeaseInput, Phase

_NOTHING = DecisionKind.NOTHING
_HOLDS_AGAIN_NS = 200 * NS_PER_MS


def decide(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision:
    cleared = backoff_over(group, sight, now)
    if cleared is not None:
        return cleared
    adoption = _adoption(group, sight, now)
    if adoption is not None:
        return adoption
    in_place = _in_place(group, sight, now)
    if in_place is not None:
        return in_place
    if group.mode is Mode.AUTOMATIC:
        return automatic(group, sight, now)
    return _restrained(group, automatic(group, sight, now))


def automatic(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision:
    """What automatic mode decides, whatever the group's mode is."""
    name = group.config.group
    if group.phase is Phase.BARRED:
        return Decision(name, _NOTHING, Reason.BARRED_AFTER_CREATION)
    if group.phase is Phase.GRANTED:
        return Decision(name, _NOTHING, Reason.GRANT_UNCLAIMED)
    if group.phase in (Phase.REVOKING, Phase.OVERDUE):
        return Decision(name, _NOTHING, Reason.HANDOVER_RUNNING)
    if group.phase is Phase.VACANT:
        return _fill_vacancy(group, sight, now)
    return _judge_holder(group, sight, now)


def _adoption(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision | None:
    """A vacant group whose site is active under a permit: that one, or nobody."""
    under = permits.under_permit(group)
    if group.phase is not Phase.VACANT or group.mode is Mode.OBSERVE or not under:
        return None
    name, site = group.config.group, under[0]
    age_ns = sight.heard_age_ns(site, now)
    if age_ns is None or age_ns > heard_max_ns(group):
        return Decision(name, _NOTHING, Reason.UNDER_PERMIT, site, (Blocker(site, Reason.NOT_HEARD),))
    slow = clock_rules.too_slow(group.sites[site])
    problem = Reason.CLOCK_TOO_SLOW if slow else permits.adoptable(group, site, group.permits.seen_ms)
    if problem is None:
        return Decision(name, DecisionKind.GRANT, Reason.UNDER_PERMIT, site)
    others = permits.contested_by(group, site, group.permits.seen_ms)
    return Decision(name, _NOTHING, problem, None, tuple(Blocker(one, problem) for one in others or [site]))


_RESTRAINT = {Mode.MANUAL: Reason.MODE_MANUAL, Mode.PAUSED: Reason.MODE_PAUSED, Mode.OBSERVE: Reason.MODE_OBSERVE}


def _restrained(group: GroupState, wished: Decision) -> Decision:
    """In every other mode moves are only said, but a handover that an operator began is brought to its end."""
    begun_by_operator = (
        group.mode is Mode.MANUAL
        and wished.kind is DecisionKind.GRANT
        and group.successor is not None
        and group.successor.reason is Reason.OPERATOR_ASKED
    )
    if wished.kind is _NOTHING or begun_by_operator:
        return wished
    return replace(wished, kind=_NOTHING, reason=_RESTRAINT[group.mode], would=wished.kind)


# -- a holder that went on by holds -----------------------------------------------------------------------


def _in_place(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision | None:
    """In every mode that grants: nothing moves. None unless the last holder is heard, alive, with an unbroken chain."""
    former = group.former
    grants = group.phase is Phase.VACANT and group.mode is not Mode.OBSERVE
    if former is None or not grants or former.site not in group.sites:
        return None
    record = group.sites[former.site]
    report = record.report
    holding = None if report is None else report.holding
    if report is None or holding is None or not former.lives_by(holding.epoch) or report.state not in RUNNING:
        return None
    if record.incarnation != former.incarnation or not _speaks(group, former.site, sight, now):
        return None
    name = group.config.group
    found = [Blocker(former.site, Reason.CONFIG_NOT_KNOWN)] if report.group_version != group.version else []
    found.extend(clock_rules.blockers(record, former.site) if clock_rules.too_slow(record) else [])
    found.extend(_reconciling(group, former.site))
    for site, other in group.sites.items():
        behind = other.report is not None and unproven(other.report, holding) and site != former.site
        if behind and _speaks(group, site, sight, now) and not contradictions(group, holding, former.site):
            found.append(Blocker(site, Reason.HOLDS_UNPROVEN))
    if found:
        return Decision(name, _NOTHING, Reason.HOLDER_HOLDS, former.site, tuple(found), retry_in_ns=_HOLDS_AGAIN_NS)
    return Decision(name, DecisionKind.GRANT, Reason.HOLDS_UNBROKEN, former.site)


def _speaks(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> bool:
    age_ns = sight.heard_age_ns(site, now)
    return age_ns is not None and age_ns <= speaks_now_ns(group)


def _unheard(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    """The last holder may go on by holds, and nobody has told us yet.

    What a site said before the lease ran out says nothing of what it promised since. After a loss of witnesses every
    site is heard, or one full lease passes.
    """
    former = group.former
    if former is None or former.site == site:
        return []
    since, heard = sight.former_since, sight.heard.get(site)
    if since is not None and heard is not None and heard <= since:
        return [Blocker(site, Reason.SITES_UNHEARD, "not heard since the lease ran out")]
    if all(one in sight.heard for one in group.sites):
        return []
    wait_ns = promise_wait(group.hold_wait or group.config.constants) - (now - sight.started)
    return [Blocker(site, Reason.SITES_UNHEARD, f"{wait_ns / 1e9:.1f} s left")] if wait_ns > 0 else []


def _promises(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    """While a site that is heard promises the last holder not to begin, nobody does: it may live by that promise.

    A site that merely starts anew says the same of itself, as often as it is started: that keeps nobody else.
    """
    found: list[Blocker] = []
    for other, record in group.sites.items():
        report, age_ns = record.report, sight.heard_age_ns(other, now)
        heard = age_ns is not None and age_ns <= heard_max_ns(group)
        if heard and report is not None and report.promising and (other == site or _by_holds_of(group, report)):
            by = "" if other == site else f"by {other}, "
            left_s = max(0, _promise_max_ns(group) - sight.promising_ns(other, now)) / 1e9
            found.append(Blocker(site, Reason.PROMISE_OUTSTANDING, f"{by}at most {left_s:.1f} s more"))
    return found


def _promise_max_ns(group: GroupState) -> int:
    """No site promises, or may have promised in a former life, for longer than this from when it said so first."""
    lease = group.config.constants if group.lease is None else longest(group.config.constants, group.lease.constants)
    return promise_wait(lease if group.hold_wait is None else longest(lease, group.hold_wait))


def _by_holds_of(group: GroupState, report: HealthReport) -> bool:
    former, promised = group.former, report.promised
    # Below `settled` it is of an epoch that is over: its holder lived by a later one.
    return former is not None and promised is not None and promised.epoch >= group.settled


# -- vacancy ----------------------------------------------------------------------------------------------


def _fill_vacancy(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision:
    name = group.config.group
    blockers: list[Blocker] = []
    for site in _in_order(group):
        found = blockers_of(group, site, sight, now)
        if not found:
            return Decision(name, DecisionKind.GRANT, _vacancy_reason(group), site, tuple(blockers))
        blockers.extend(found)
    for site in _in_order(group):
        if _only_unproven(group.sites[site], site, blockers):
            return Decision(name, DecisionKind.CLEAR_QUARANTINE, Reason.LAST_RESORT, site, tuple(blockers))
    return Decision(name, _NOTHING, Reason.NO_CANDIDATE, None, tuple(blockers))


def _in_order(group: GroupState) -> list[SiteId]:
    """The successor of a handover first, then the order of preference; who left the last grant unclaimed comes last."""
    order = sorted(group.config.sites, key=lambda site: site == group.unclaimed_by)
    if group.successor is not None and group.successor.site in group.sites:
        order.remove(group.successor.site)
        order.insert(0, group.successor.site)
    return order


def _vacancy_reason(group: GroupState) -> Reason:
    if group.successor is not None:
        return group.successor.reason
    if group.last_end is LeaseInput.RELEASE:
        return Reason.HOLDER_RELEASED
    if group.last_end is LeaseInput.EXPIRY:
        return Reason.HOLDER_EXPIRED
    return Reason.FIRST_ACTIVATION


def grant_cause(group: GroupState, site: SiteId) -> Cause:
    """Why the site becomes active, as its activation steps will see it."""
    if site in permits.under_permit(group):
        return Cause.ADOPTED
    if group.successor is not None and group.successor.site == site:
        return group.successor.cause
    return Cause.FIRST if group.last_end is None else Cause.TAKEOVER


def _only_unproven(record: SiteRecord, site: SiteId, blockers: list[Blocker]) -> bool:
    """Nothing but an unproven unclean end blocks the site, it is verified down, and nothing is failing."""
    against = [blocker.reason for blocker in blockers if blocker.site == site]
    note = record.quarantine.get(QuarantineCause.UNCLEAN_END)
    report = record.report
    if against != [Reason.QUARANTINED] or len(record.quarantine) != 1 or note is None or report is None:
        return False
    return proven_down(report, note.epoch) and report.data_checks is not DataChecks.FAILED


def blockers_of(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    """Everything that stands against activating the site now; empty when it is eligible."""
    record = group.sites[site]
    report = record.report
    age_ns = sight.heard_age_ns(site, now)
    if report is None or age_ns is None or age_ns > heard_max_ns(group):
        since = "never" if report is None else "not since this witness started"
        return [Blocker(site, Reason.NOT_HEARD, since if age_ns is None else f"last {age_ns / 1e9:.1f} s ago")]
    found: list[Blocker] = []
    if not report.enforce:
        found.append(Blocker(site, Reason.NOT_ENFORCING))
    if not report.verified_down:
        found.append(Blocker(site, Reason.NOT_VERIFIED_DOWN, report.state.value))
    if not report.ready:
        found.append(Blocker(site, Reason.NOT_READY, "; ".join(report.blockers)[:200]))
    if record.maintenance:
        found.append(Blocker(site, Reason.IN_MAINTENANCE))
    if record.quarantine:
        causes = ", ".join(sorted(cause.value for cause in record.quarantine))
        found.append(Blocker(site, Reason.QUARANTINED, causes))
    if not record.carried:
        found.append(Blocker(site, Reason.CONFIG_NOT_CARRIED))
    if group.config.witness_loss is WitnessLoss.HOLD and report.group_version != group.version:
        found.append(Blocker(site, Reason.CONFIG_NOT_KNOWN, f"it knows {report.group_version}, it is {group.version}"))
    found.extend(clock_rules.blockers(record, site))
    found.extend(_lag(group, site, record))
    found.extend(licenses.blockers(group, site))
    found.extend(_reconciling(group, site))
    found.extend(session_wait.blockers(group, site))
    found.extend(_promises(group, site, sight, now))
    if group.phase is Phase.VACANT:
        found.extend(_unheard(group, site, sight, now))
    found.extend(_others_not_down(group, site, sight, now))
    return found


def _reconciling(group: GroupState, site: SiteId) -> list[Blocker]:
    """Some site may be active under a break-glass permit, or said that it is."""
    found = [Blocker(other, Reason.UNDER_PERMIT) for other in permits.under_permit(group) if other != site]
    found.extend(
        Blocker(other, Reason.RECONCILING, f"silent for {permits.silent_ms(group, other) // 1_000} s at least")
        for other in permits.away_sites(group, group.permits.seen_ms)
    )
    return found


def _others_not_down(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    """A vacant lease is no proof against a site that speaks now and does not say that it is down.

    It may run something outside of its guard, or only watch a platform that somebody else started. An operator
    vouches for it by putting it in maintenance. A site that is silent is judged by its lease alone.
    """
    if group.phase is not Phase.VACANT:
        return []
    found: list[Blocker] = []
    for other, record in group.sites.items():
        report, age_ns = record.report, sight.heard_age_ns(other, now)
        if other == site or report is None or age_ns is None or age_ns > speaks_now_ns(group):
            continue
        ended = other == group.last_holder and group.last_end is LeaseInput.RELEASE
        released = ended and report.finished_epoch < group.epoch  # said before it proved itself down and released
        # Nothing was heard since its last renewal, however long the ttl is that the next epoch will have.
        silent = other == group.last_holder and group.last_end is LeaseInput.EXPIRY and other in sight.renewing
        if record.maintenance or released or silent:
            continue
        if not (report.verified_down and report.enforce):
            said = report.state.value if report.enforce else f"{report.state.value}, enforce: false"
            found.append(Blocker(site, Reason.OTHER_SITE_NOT_DOWN, f"{other}: {said}"))
        active = licenses.activated_at(record)
        found.extend(Blocker(site, Reason.LICENSE_ACTIVE_ELSEWHERE, f"{other}: {name}") for name in active)
    return found


def _lag(group: GroupState, site: SiteId, record: SiteRecord) -> list[Blocker]:
    limit_ms = group.config.max_replication_lag_ms
    if limit_ms is None or site == last_holder(group):
        return []
    if record.lag_ms == LAG_UNKNOWN_MS:
        return [Blocker(site, Reason.LAG_UNKNOWN, f"limit {limit_ms} ms")]
    if record.lag_ms > limit_ms:
        return [Blocker(site, Reason.LAG_TOO_HIGH, f"{record.lag_ms} ms, limit {limit_ms} ms")]
    return []


def last_holder(group: GroupState) -> SiteId | None:
    """Whose data is the newest. A group that begins anew knows it only from what all its sites have finished."""
    if group.last_holder is not None:
        return group.last_holder
    reports = {site: record.report for site, record in group.sites.items()}
    finished = {site: report.finished_epoch for site, report in reports.items() if report is not None}
    newest = max(finished.values(), default=Epoch(0))
    found = [site for site, epoch in finished.items() if epoch == newest]
    return found[0] if newest > 0 and len(found) == 1 and len(finished) == len(reports) else None


# -- a running site ---------------------------------------------------------------------------------------


def _judge_holder(group: GroupState, sight: GroupSight, now: InstantNs) -> Decision:
    name, lease = group.config.group, group.lease
    if lease is None or lease.site is None:
        return Decision(name, _NOTHING, Reason.NO_CANDIDATE)
    age_ns = sight.heard_age_ns(lease.site, now)
    if age_ns is not None and age_ns > heard_max_ns(group):
        return Decision(name, _NOTHING, Reason.WAITING_FOR_EXPIRY, retry_in_ns=1_000 * NS_PER_MS)
    return (
        _away_from_unfit(group, lease.site, sight, now)
        or _failback(group, lease.site, sight, now)
        or Decision(name, _NOTHING, Reason.HOLDER_ACTIVE)
    )


def _away_from_unfit(group: GroupState, holder: SiteId, sight: GroupSight, now: InstantNs) -> Decision | None:
    since, fast = sight.unfit_since, clock_rules.too_fast(group.sites[holder])
    if since is None and not fast:
        return None
    name, why = group.config.group, Reason.CLOCK_TOO_FAST if fast else Reason.HOLDER_UNFIT
    left_ns = 0 if fast or since is None else since + group.config.unhealthy_for_ms * NS_PER_MS - now
    if left_ns > 0:
        return Decision(name, _NOTHING, Reason.HOLDER_UNFIT, holder, retry_in_ns=left_ns)
    blockers: list[Blocker] = []
    for site in group.config.sites:
        if site == holder:
            continue
        found = blockers_of(group, site, sight, now)
        if not found:
            wished = Decision(name, DecisionKind.REVOKE, why, site, tuple(blockers))
            return _unless_flapping(group, sight, now, wished)
        blockers.extend(found)
    return Decision(name, _NOTHING, Reason.NO_CANDIDATE, None, tuple(blockers), retry_in_ns=1_000 * NS_PER_MS)


def _failback(group: GroupState, holder: SiteId, sight: GroupSight, now: InstantNs) -> Decision | None:
    preferred = group.config.sites[0]
    since = sight.preferred_fit_since
    report = group.sites[holder].report
    settled = report is not None and report.state is SiteState.ACTIVE
    if group.config.failback is not Failback.AUTOMATIC or holder == preferred or since is None or not settled:
        return None
    name = group.config.group
    if blockers_of(group, preferred, sight, now):
        # Lag and freshness pass without a changed report: nobody else would look again.
        return Decision(name, _NOTHING, Reason.HOLDER_ACTIVE, retry_in_ns=1_000 * NS_PER_MS)
    left_ns = since + group.config.failback_after_ms * NS_PER_MS - now
    if left_ns > 0:
        return Decision(name, _NOTHING, Reason.HOLDER_ACTIVE, retry_in_ns=left_ns)
    wished = Decision(name, DecisionKind.REVOKE, Reason.FAILBACK_DUE, preferred)
    return _unless_flapping(group, sight, now, wished)


def _unless_flapping(group: GroupState, sight: GroupSight, now: InstantNs, wished: Decision) -> Decision:
    """Cooldown and cap hold back moves away from a running site only; they never block recovery."""
    name, config = group.config.group, group.config
    window_from = now - config.moves_window_ms * NS_PER_MS
    while sight.moves and sight.moves[0] < window_from:
        sight.moves.popleft()
    if len(sight.moves) >= config.moves_max:
        left_ns = sight.moves[0] - window_from
        return Decision(name, _NOTHING, Reason.MOVES_EXHAUSTED, retry_in_ns=left_ns, would=wished.kind)
    last = sight.moves[-1] if sight.moves else sight.started
    left_ns = last + config.cooldown_ms * NS_PER_MS - now
    if left_ns > 0:
        return Decision(name, _NOTHING, Reason.COOLDOWN, retry_in_ns=left_ns, would=wished.kind)
    return wished


def revoke_cause(reason: Reason) -> Cause:
    return Cause.FAILBACK if reason is Reason.FAILBACK_DUE else Cause.HANDOVER
