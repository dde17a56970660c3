"""Holds as the replicated machine keeps them: who may live on by them, and the re-grant in place (docs/adr/0016).

Rules (DESIGN section 6): a lease that ended by expiry while its group's configuration allowed holds leaves a *former*
holder. As long as nobody else has claimed a later epoch (a grant alone gives no authority), that very instance of it
(incarnation, claim, epoch) is not refused but told to go on by its holds, without authority from here; and it may be
granted a new epoch in place, which it claims with the claim of the former one: a copy of it that holds nothing has
none. A site that promises is not granted, nor anybody while it does; nor a site whose agent does not know the whole
set of sites of now. Everything here is of feature level 2: below it nothing is noted and nothing is refused.
"""

from __future__ import annotations

from proto.commands import Cause, Grant, QuarantineCause
from proto.decisions import Reason
from proto.events import EventKind
from proto.groups import Mode, WitnessLoss
from proto.health import HealthReport, SiteState
from proto.holds import HoldMark
from proto.lease import LeaseConstants, longest
from proto.messages import GroupHeartbeat, GroupSites, Heartbeat
from proto.units import SiteId
from witness.core.changes import Scope
from witness.core.state import ClusterState, Former, GroupState, Lease, SiteRecord

HOLDS_LEVEL = 2
RUNNING = frozenset({SiteState.ACTIVATING, SiteState.ACTIVE})
LIVING = RUNNING | {SiteState.DEACTIVATING}


def known(state: ClusterState) -> bool:
    return state.feature_level >= HOLDS_LEVEL


def group_sites(group: GroupState) -> GroupSites:
    config = group.config
    return GroupSites(
        group=config.group,
        version=group.version,
        sites=config.sites,
        witness_loss=config.witness_loss,
        wait=group.hold_wait,
        permits=config.permits,
        constants=config.constants,
    )


def is_told(group: GroupState, record: SiteRecord, answered: int) -> bool:
    """Its agent does not say that it knows this version, or may not know yet that licenses are spoken of here.

    Nor, by what it `answered`, that permits are taken: where it has no site link it says the version of any answer, and
    the message that tells of them may have been lost on its own (simulation seed 221867).
    """
    report = record.report
    if report is None:
        return False
    silent = bool(group.config.licenses) and not report.licenses
    silent = silent or (bool(group.config.break_glass_key) and answered < 0)
    return report.group_version != group.version or silent


# -- leases that may be lived on ----------------------------------------------------------------------------


def may_be_held(group: GroupState, lease: Lease) -> None:
    """From its grant, or from the configuration that allows it: the lease may be lived on by holds."""
    if group.config.witness_loss is WitnessLoss.HOLD and lease.site is not None:
        lease.holds = True
        group.hold_wait = _longest(group.hold_wait, lease.constants)


def _longest(one: LeaseConstants | None, other: LeaseConstants) -> LeaseConstants:
    return other if one is None else longest(one, other)


def settle(scope: Scope, group: GroupState, lease: Lease, record: SiteRecord) -> None:
    """The holder says, in a renewal, that it lives by this very epoch: everything older is over everywhere."""
    report = record.report
    here = report is not None and report.state in LIVING and report.holding is None and report.permit is None
    if known(scope.state) and here:
        group.settled, group.former = lease.epoch, None
        group.hold_wait = lease.constants if lease.holds else None


def expired(scope: Scope, group: GroupState, lease: Lease) -> None:
    """Nobody renewed it, and its holder may go on by holds."""
    if not known(scope.state) or not lease.holds or lease.claim is None:
        return
    if lease.cause is Cause.REGRANT and group.former is not None:
        group.former.last = lease.epoch  # its holder never said that it lives by it: it may, or by the one before
        return
    if lease.site is not None and lease.incarnation is not None:
        group.former = Former(lease.site, lease.incarnation, lease.claim, lease.epoch, lease.epoch)


def lives(group: GroupState, record: SiteRecord, beat: Heartbeat, entry: GroupHeartbeat) -> bool:
    """The former holder speaks, and says that it goes on by holds of its epoch."""
    former, report = group.former, record.report
    if former is None or report is None or report.holding is None or report.holding.epoch != entry.epoch:
        return False
    same = (beat.site, beat.incarnation, entry.claim) == (former.site, former.incarnation, former.claim)
    return same and former.lives_by(entry.epoch)


def may_live(group: GroupState) -> bool:
    """Nobody has shown that the former holder is down, and no operator vouched for it, by putting it in maintenance."""
    former = group.former
    record = None if former is None else group.sites.get(former.site)
    report = None if record is None else record.report
    if former is None or (record is not None and record.maintenance):
        return False
    return report is None or not report.verified_down or report.finished_epoch < former.last


# -- grants -------------------------------------------------------------------------------------------------


def grant_problem(scope: Scope, group: GroupState, record: SiteRecord, command: Grant) -> Reason | None:
    """What a grant needs beside what lease_rules asks; of a re-grant in place, instead of that."""
    if command.cause is Cause.REGRANT:
        return regrant_problem(group, record, command)
    report = record.report
    if not known(scope.state) or report is None or command.cause is Cause.ADOPTED:
        return None
    if report.promising:
        return Reason.PROMISE_OUTSTANDING
    # It must know whom it would have to ask for holds: sites that were added later are not eligible until it says so.
    behind = group.config.witness_loss is WitnessLoss.HOLD and report.group_version != group.version
    return Reason.CONFIG_NOT_KNOWN if behind else None


def regrant_problem(group: GroupState, record: SiteRecord, command: Grant) -> Reason | None:
    former, report = group.former, record.report
    if former is None or (former.site, former.incarnation) != (command.site, command.incarnation):
        return Reason.NOT_HOLDER
    if group.mode is Mode.OBSERVE:
        return Reason.MODE_FORBIDS
    if report is None or record.incarnation != former.incarnation:
        return Reason.WRONG_INCARNATION
    if not report.enforce:
        return Reason.NOT_ENFORCING
    if report.holding is None or not former.lives_by(report.holding.epoch) or report.state not in RUNNING:
        return Reason.HOLDS_UNPROVEN
    if report.group_version != group.version:
        return Reason.CONFIG_NOT_KNOWN
    if QuarantineCause.STORE_CHANGED in record.quarantine:
        return Reason.QUARANTINED
    return Reason.HOLDS_BROKEN if contradictions(group, report.holding, former.site) else None


def contradictions(group: GroupState, holding: HoldMark, holder: SiteId) -> list[SiteId]:
    """Sites whose last promise cannot be of this chain, however old their word is."""
    found = []
    for site, record in group.sites.items():
        promised = None if record.report is None else record.report.promised
        if site == holder or promised is None:
            continue
        forked = promised[:2] == holding[:2] and promised.chain != holding.chain
        if promised.epoch > holding.epoch or forked:
            found.append(site)
    return found


def unproven(report: HealthReport, holding: HoldMark) -> bool:
    """This site's last promise, as it says, does not reach to the holder's last complete round."""
    promised = report.promised
    return promised is None or (promised.epoch, promised.number) < (holding.epoch, holding.number)


def broken(scope: Scope, group: GroupState, site: SiteId) -> None:
    """The chain is refused for good: the holder is told so by its next heartbeat."""
    former, report = group.former, group.sites[site].report
    if former is None or report is None or report.holding is None:
        return
    others = ", ".join(contradictions(group, report.holding, site))
    text = f"round {report.holding.number} of its holds is contradicted by {others}: it is not granted in place"
    scope.ledger.append(EventKind.HOLDS_BROKEN, text, group=group.config.group, site=site, epoch=former.epoch)
    group.former = None
    scope.changes.dirty.add(group.config.group)


def regranted(scope: Scope, group: GroupState, command: Grant) -> None:
    """The former holder goes on under a new epoch; that its lease had ended without a release is explained."""
    record, former = group.sites[command.site], group.former
    holding = None if record.report is None else record.report.holding
    rounds = "" if holding is None else f" until round {holding.number} (chain {holding.chain.hex()[:16]})"
    name = group.config.group
    before = command.expected_epoch if former is None else former.epoch
    text = f"in place of epoch {before}: proven unbroken chain of holds{rounds}"
    scope.ledger.append(EventKind.REGRANTED, text, group=name, site=command.site, epoch=command.epoch)
    if record.quarantine.pop(QuarantineCause.UNCLEAN_END, None) is not None:
        text = "its lease had run out while it went on by holds of every other site"
        scope.ledger.append(EventKind.QUARANTINE_CLEARED, text, group=name, site=command.site, epoch=command.epoch)


# -- what is told -------------------------------------------------------------------------------------------


def note_holding(scope: Scope, group: GroupState, site: SiteId, before: HealthReport | None, now: HealthReport) -> None:
    """Holds are known here only when somebody is back to tell of them."""
    was = None if before is None else before.holding
    name = group.config.group
    if was is None and now.holding is not None:
        text = f"no witness answered it: it goes on by holds of every other site, {now.holding.number} rounds so far"
        scope.ledger.append(EventKind.HOLDS_BEGAN, text, group=name, site=site, epoch=now.holding.epoch)
    elif was is not None and now.holding is None:
        text = f"it went on by holds until round {was.number} or later"
        scope.ledger.append(EventKind.HOLDS_ENDED, text, group=name, site=site, epoch=was.epoch)
