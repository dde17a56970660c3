"""What automatic mode would do in groups where it may not: looked at by the leader, noted by a command when it changes.

In `manual` and `paused` that is what the decision itself says (Decision.would). In `observe` nothing holds a lease:
the platform runs by somebody else's hand, so the holder is taken to be the one site whose service probes pass and that
does not say that it is down. It counts as lost when it was not heard for as long as its lease would have lasted, and
as unfit when its probes failed for `unhealthy_for`. A site could take over when it is heard and ready, its lag within
bounds, and neither in maintenance nor in quarantine; what only an enforcing agent can prove is taken for granted here.

Nothing is done on it. It is counted once for each time that a move was due (witnessctl would-have).
Rejected: a simulated lease with votes (an agent that only watches asks for no renewal, so it would measure nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from proto import limits
from proto.commands import NoteWould
from proto.decisions import REASON_TEXT, Blocker, Decision, DecisionKind, Reason, blocker_words
from proto.events import EventKind
from proto.groups import Mode
from proto.lease import witness_wait
from proto.messages import LAG_UNKNOWN_MS
from proto.units import NS_PER_MS, InstantNs, SiteId
from witness.core import clock_rules
from witness.core.changes import Scope
from witness.core.decide import automatic
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, refused
from witness.core.sight import GroupSight, heard_max_ns
from witness.core.state import GroupState, Shadow

SINCE_LEVEL: Final = 2


@dataclass(frozen=True, slots=True)
class Wish:
    active: SiteId | None = None
    needed: bool = False
    to: SiteId | None = None
    reason: Reason = Reason.HOLDER_ACTIVE
    blockers: tuple[Blocker, ...] = ()


def note(level: int, group: GroupState, sight: GroupSight, decision: Decision, now: InstantNs) -> NoteWould | None:
    """The command that is due, or None while what was noted still holds. `level`: the cluster's feature level."""
    noted = group.shadow
    idle = group.mode is Mode.AUTOMATIC and noted.active is None and not noted.needed
    if level < SINCE_LEVEL or idle:
        return None
    wish = _wish(group, sight, decision, now)
    if (wish.active, wish.needed, wish.to) == (noted.active, noted.needed, noted.to):
        return None
    text = "; ".join(blocker_words(blocker) for blocker in wish.blockers)[: limits.TEXT_CHARS_MAX // 2]
    return NoteWould(group.config.group, wish.active, wish.needed, wish.to, wish.reason, text)


def _wish(group: GroupState, sight: GroupSight, decision: Decision, now: InstantNs) -> Wish:
    if group.mode is Mode.AUTOMATIC:
        return Wish()
    if group.mode is Mode.OBSERVE:
        return _observed(group, sight, now)
    held = None if group.lease is None else group.lease.site
    if decision.would not in (DecisionKind.GRANT, DecisionKind.REVOKE):
        return Wish(held)
    wished = automatic(group, sight, now)
    return Wish(held or group.last_holder, True, wished.site, wished.reason, wished.blockers)


# -- a platform that runs by somebody else's hand -----------------------------------------------------------


def _observed(group: GroupState, sight: GroupSight, now: InstantNs) -> Wish:
    running = [site for site in group.config.sites if _heard(group, site, sight, now) and _runs(group, site)]
    before = group.shadow.active if group.shadow.active in group.sites else None
    active = running[0] if len(running) == 1 else before
    if active is None or active in running:
        sight.shadow_unfit_since = None
        return Wish(active)
    reason = _lost(group, active, sight, now)
    if reason is None:
        return Wish(active, group.shadow.needed, group.shadow.to)
    blockers: list[Blocker] = []
    for site in group.config.sites:
        found = [] if site == active else _against(group, site, sight, now)
        if site != active and not found:
            return Wish(active, True, site, reason, tuple(blockers))
        blockers.extend(found)
    return Wish(active, True, None, reason, tuple(blockers))


def _runs(group: GroupState, site: SiteId) -> bool:
    report = group.sites[site].report
    return report is not None and report.healthy and not report.verified_down


def _heard(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> bool:
    age_ns = sight.heard_age_ns(site, now)
    return age_ns is not None and age_ns <= heard_max_ns(group)


def _lost(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> Reason | None:
    """Why a lease of its would be over by now, or a handover due; None while neither is certain."""
    if not _heard(group, site, sight, now):
        sight.shadow_unfit_since = None
        silent_ns = now - sight.heard.get(site, sight.started)
        return Reason.HOLDER_EXPIRED if silent_ns > witness_wait(group.config.constants) else None
    sight.shadow_unfit_since = sight.shadow_unfit_since or now
    unfit_ns = now - sight.shadow_unfit_since
    return Reason.HOLDER_UNFIT if unfit_ns >= group.config.unhealthy_for_ms * NS_PER_MS else None


def _against(group: GroupState, site: SiteId, sight: GroupSight, now: InstantNs) -> list[Blocker]:
    record = group.sites[site]
    report, limit_ms = record.report, group.config.max_replication_lag_ms
    if report is None or not _heard(group, site, sight, now):
        return [Blocker(site, Reason.NOT_HEARD)]
    found = [] if report.ready else [Blocker(site, Reason.NOT_READY, "; ".join(report.blockers)[:200])]
    found += [Blocker(site, Reason.IN_MAINTENANCE)] if record.maintenance else []
    found += [Blocker(site, Reason.QUARANTINED)] if record.quarantine else []
    found += clock_rules.blockers(record, site)
    if limit_ms is not None and record.lag_ms == LAG_UNKNOWN_MS:
        found.append(Blocker(site, Reason.LAG_UNKNOWN, f"limit {limit_ms} ms"))
    elif limit_ms is not None and record.lag_ms > limit_ms:
        found.append(Blocker(site, Reason.LAG_TOO_HIGH, f"{record.lag_ms} ms, limit {limit_ms} ms"))
    return found


# -- replicated -----------------------------------------------------------------------------------------------


def note_would(scope: Scope, command: NoteWould) -> Outcome:
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if any(site is not None and site not in group.sites for site in (command.active, command.to)):
        return refused(Reason.UNKNOWN_SITE)
    before, count = group.shadow, group.shadow.count
    if (before.active, before.needed, before.to) == (command.active, command.needed, command.to):
        return refused(Reason.ALREADY_SO)
    began = command.needed and not (before.needed and before.to == command.to)
    counted = began and command.to is not None
    group.shadow = Shadow(command.active, command.needed, command.to, count + 1 if counted else count)
    if began:
        where = f"activated {command.to}" if command.to is not None else "found no site to activate"
        whence = f", instead of {command.active}" if command.active is not None else ""
        passed_over = f" ({command.text})" if command.text else ""
        scope.ledger.append(
            EventKind.WOULD_HAVE,
            f"{group.mode.value}: it would have {where}{whence}: {REASON_TEXT[command.reason]}{passed_over}",
            group=command.group,
            site=command.to,
            epoch=group.epoch,
        )
    scope.changes.dirty.add(command.group)
    return DONE
