"""What operators change: the cluster's founding, groups, modes, maintenance, quarantine. Each change is an event."""

from __future__ import annotations

from proto import limits
from proto.commands import (
    Author,
    ConfigureGroup,
    DeleteGroup,
    FoundCluster,
    QuarantineCause,
    SetMaintenance,
    SetMode,
    SetQuarantine,
)
from proto.decisions import Reason
from proto.errors import BadValue
from proto.events import EventKind
from proto.groups import Mode, check_group
from proto.lease import longest
from proto.license import LICENSES_MAX
from proto.messages import NoticeKind
from proto.units import NO_LINEAGE, RESTORE_GENERATION_SHIFT, Epoch
from witness.core import clock_rules, holds_rules, licenses, permits, session_wait
from witness.core.changes import Scope
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, barred, refused
from witness.core.state import ClusterState, GroupState, QuarantineNote, SiteRecord
from witness.core.transitions import Phase


def found(scope: Scope, command: FoundCluster) -> Outcome:
    state = scope.state
    if not 1 <= len(set(command.witnesses)) == len(command.witnesses) <= limits.WITNESSES_MAX:
        return refused(Reason.MALFORMED, "a cluster has 1 to 5 different witnesses")
    if state.cluster is not None:
        same = state.cluster == command.cluster and state.witnesses == command.witnesses
        return refused(Reason.ALREADY_SO if same else Reason.CLUSTER_MISMATCH)
    state.cluster, state.witnesses = command.cluster, command.witnesses
    scope.ledger.append(EventKind.CLUSTER_FOUNDED, f"witnesses: {', '.join(command.witnesses)}")
    return DONE


def configure(scope: Scope, command: ConfigureGroup) -> Outcome:
    try:
        check_group(command.config)
    except BadValue as error:
        return refused(Reason.BAD_CONFIGURATION, str(error)[: limits.TEXT_CHARS_MAX])
    group = scope.state.groups.get(command.config.group)
    others = (other for name, other in scope.state.groups.items() if name != command.config.group)
    if command.config.licenses and licenses.licenses_of(others) + len(command.config.licenses) > LICENSES_MAX:
        return refused(Reason.TOO_MANY_LICENSES, f"at most {LICENSES_MAX} in all groups: remove some first")
    if group is None:
        return _create(scope, command)
    if command.expected_version != group.version:
        return refused(Reason.VERSION_CONFLICT, f"expected version {command.expected_version}, it is {group.version}")
    if command.config == group.config:
        return refused(Reason.ALREADY_SO)
    gone = set(group.config.sites) - set(command.config.sites)
    if group.lease is not None and (group.lease.site in gone or (gone and group.lease.site is None)):
        return refused(Reason.LEASE_HELD, f"cannot remove {', '.join(sorted(gone))} while its lease may be in force")
    unknown = gone & {*permits.under_permit(group), *permits.away_sites(group, scope.state.calendar.counted_ms)}
    if unknown:
        return refused(Reason.RECONCILING, f"cannot remove {', '.join(sorted(unknown))}: a permit may be in use there")
    for site in sorted(gone):
        del group.sites[site]
    for site in command.config.sites:
        if site not in group.sites:
            group.sites[site] = permits.added(scope.state)
    if group.successor is not None and group.successor.site in gone:
        group.successor = None
    before, group.config = group.config, command.config
    if group.lease is not None:
        holds_rules.may_be_held(group, group.lease)
    group.version += 1
    permits.configured(scope.state, group)
    session_wait.noted(scope.state, group, before)
    licenses.configured(group)
    _told(scope, EventKind.GROUP_CHANGED, f"version {group.version}", group, command.author)
    licenses.named(scope, group, before)
    _judge_clocks(scope, group)
    scope.tell_sites(group, NoticeKind.CHANGED)
    return DONE


def _create(scope: Scope, command: ConfigureGroup) -> Outcome:
    """A group begins barred: whoever may still run under a former life of it has one full lease to end.

    After a restore that life may have had a longer lease than the configuration says now.
    """
    state, config = scope.state, command.config
    if command.expected_version != 0:
        return refused(Reason.UNKNOWN_GROUP, "the group does not exist; expected_version 0 creates it")
    if len(state.groups) >= limits.GROUPS_MAX:
        return refused(Reason.TOO_MANY_GROUPS)
    spent = state.tombstones.pop(config.group, Epoch(0))
    epoch = Epoch(max(spent + 1, (state.generation << RESTORE_GENERATION_SHIFT) + 1))
    group = GroupState(
        config=config,
        version=_first_version(state, spent),
        mode=config.mode,
        epoch=epoch,
        phase=Phase.BARRED,
        lease=barred(epoch, config.constants if state.bar is None else longest(config.constants, state.bar.constants)),
        sites={site: SiteRecord() for site in config.sites},
    )
    state.groups[config.group] = group
    anew = spent > 0 or state.lineage != NO_LINEAGE
    if anew and group.lease is not None and holds_rules.known(state):
        group.hold_wait = group.lease.constants
    permits.created(state, group, anew=anew)
    session_wait.created(state, group)
    licenses.created(state, group)
    _told(scope, EventKind.GROUP_CREATED, f"sites: {', '.join(config.sites)}", group, command.author)
    _judge_clocks(scope, group)
    scope.changes.counted.add(config.group)
    scope.tell_sites(group, NoticeKind.CHANGED)
    return DONE


def _first_version(state: ClusterState, spent: Epoch) -> int:
    """Above those of every former life: agents say which version's sites they know, and ask no others for holds."""
    return max(spent + 1, state.generation) if holds_rules.known(state) else 1


def _judge_clocks(scope: Scope, group: GroupState) -> None:
    """What is known of them is judged by this group's drift bound, which is new or may be."""
    for site in group.config.sites:
        clock_rules.judge(scope, group, site)


def delete(scope: Scope, command: DeleteGroup) -> Outcome:
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if group.phase is not Phase.VACANT:
        return refused(Reason.LEASE_HELD)
    if holds_rules.may_live(group):
        return refused(Reason.HOLDER_MAY_LIVE)
    if group.permits.session is not None:
        return refused(Reason.SESSION_MAY_LIVE)
    unknown = {*permits.under_permit(group), *permits.away_sites(group, scope.state.calendar.counted_ms)}
    if unknown:
        return refused(Reason.RECONCILING, f"cannot delete it: a permit may be in use at {', '.join(sorted(unknown))}")
    _told(scope, EventKind.GROUP_DELETED, f"its epochs end at {group.epoch}", group, command.author)
    # No version is used again either (_first_version), nor an epoch of a permit that was vouched away.
    later = (group.version, group.permits.floor) if holds_rules.known(scope.state) else ()
    spent = max((group.epoch, *later))
    scope.state.tombstones[command.group] = Epoch(spent)
    licenses.deleted(scope.state, group)
    session_wait.deleted(scope.state, group)
    del scope.state.groups[command.group]
    scope.tell_sites(group, NoticeKind.CHANGED)
    return DONE


def set_mode(scope: Scope, command: SetMode) -> Outcome:
    """Leases live on in every change; observe grants none, so it is entered and left only with nothing running."""
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if group.mode is command.mode:
        return refused(Reason.ALREADY_SO)
    if command.mode is Mode.OBSERVE and group.phase not in (Phase.VACANT, Phase.BARRED):
        return refused(Reason.LEASE_HELD)
    if command.mode is Mode.PAUSED and (group.phase in (Phase.REVOKING, Phase.OVERDUE) or group.successor is not None):
        return refused(Reason.HANDOVER_RUNNING, "a handover is under way; pause when it has ended")
    running = _may_run(group) if group.mode is Mode.OBSERVE else []
    if running:
        return refused(Reason.SITES_NOT_DOWN, "; ".join(running)[: limits.TEXT_CHARS_MAX])
    text = f"{group.mode.value} -> {command.mode.value}"
    group.mode = command.mode
    _told(scope, EventKind.MODE, text, group, command.author)
    return DONE


def _may_run(group: GroupState) -> list[str]:
    """Each site where something may run, as nobody has proven that nothing does, with what to do there.

    Not one that is active under a permit: whoever grants again adopts it in place, or grants nobody (docs/adr/0018).
    """
    found = []
    for site in group.config.sites:
        report = group.sites[site].report
        if report is not None and report.permit is not None:
            continue
        if report is None:
            found.append(f"{site} was never heard: start its agent, with enforce: true")
        elif not report.enforce:
            found.append(
                f"{site} only watches: stop the platform there, set enforce: true in its agent's file and restart it"
            )
        elif not report.verified_down:
            found.append(f"{site} says {report.state.value}, not down: stop the platform there, and wait for standby")
    return found


def set_maintenance(scope: Scope, command: SetMaintenance) -> Outcome:
    group = scope.state.groups.get(command.group)
    record = None if group is None else group.sites.get(command.site)
    if group is None or record is None:
        return refused(Reason.UNKNOWN_GROUP if group is None else Reason.UNKNOWN_SITE)
    if record.maintenance is command.on:
        return refused(Reason.ALREADY_SO)
    record.maintenance = command.on
    text = f"{command.site}: {'on' if command.on else 'off'}"
    _told(scope, EventKind.MAINTENANCE, text, group, command.author)
    return DONE


def set_quarantine(scope: Scope, command: SetQuarantine) -> Outcome:
    group = scope.state.groups.get(command.group)
    record = None if group is None else group.sites.get(command.site)
    if group is None or record is None:
        return refused(Reason.UNKNOWN_GROUP if group is None else Reason.UNKNOWN_SITE)
    if command.on:
        if QuarantineCause.OPERATOR in record.quarantine:
            return refused(Reason.ALREADY_SO)
        record.quarantine[QuarantineCause.OPERATOR] = QuarantineNote(group.epoch, command.author.reason)
        _told(scope, EventKind.QUARANTINED, f"{command.site}: operator", group, command.author)
        return DONE
    asked = [cause for cause in record.quarantine if not command.causes or cause in command.causes]
    causes = sorted(asked, key=lambda cause: cause.value)  # the order of arrival is in no snapshot
    if not causes:
        return refused(Reason.NOT_QUARANTINED)
    for cause in causes:
        del record.quarantine[cause]
    text = f"{command.site}: {', '.join(cause.value for cause in causes)}"
    _told(scope, EventKind.QUARANTINE_CLEARED, text, group, command.author)
    return DONE


def _told(scope: Scope, kind: EventKind, text: str, group: GroupState, author: Author) -> None:
    why = f" ({author.reason})" if author.reason else ""
    scope.ledger.append(kind, text + why, group=group.config.group, epoch=group.epoch, author=author.name)
    scope.changes.dirty.add(group.config.group)
