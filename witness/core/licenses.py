"""What a group's licenses forbid and demand: who is current, who may not be activated, who must not be active.

The rules have numbers (E4 ...) in docs/internals/license-escrow.md; witness.core.escrow_rules keeps those of the puts.
Everything here is judged on what is replicated: the values that were put, and each site's last word of what it holds.
A site's word counts for more than the witnesses' own store: what the holder sealed and could not put any more is newer
than what they keep, and a site that holds less would start the platform with a dead key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from proto.commands import Cause, Grant
from proto.decisions import Blocker, Reason
from proto.events import EventKind
from proto.groups import GroupConfig, Mode
from proto.health import HealthReport
from proto.license import (
    NO_VERSION,
    NOT_BELIEVED,
    VERSION_SKIP_MAX,
    EscrowItem,
    EscrowPolicy,
    EscrowVersion,
    LicenseReport,
    LicenseSpec,
    held_of,
    version_words,
)
from proto.messages import EscrowValue
from proto.units import LicenseName, SiteId
from witness.core import permits
from witness.core.changes import Scope
from witness.core.state import ClusterState, GroupState, SiteRecord

VALUES_MAX = 4
"""Sealed keys that follow one answer; the others follow the next ones."""


def spec_of(config: GroupConfig, name: LicenseName) -> LicenseSpec | None:
    return next((spec for spec in config.licenses if spec.name == name), None)


def said_of(record: SiteRecord, name: LicenseName) -> LicenseReport | None:
    licenses = () if record.report is None else record.report.licenses
    return next((one for one in licenses if one.name == name), None)


def stored(group: GroupState, name: LicenseName) -> EscrowVersion | None:
    kept = group.escrow.kept.get(name)
    return None if kept is None else kept.sealed.version


def number_min(group: GroupState, name: LicenseName) -> int:
    """No value may be put with a lower number (E2)."""
    version = stored(group, name)
    return 1 + (group.escrow.floor if version is None else version.version)


def next_number(group: GroupState, name: LicenseName, *, without: SiteId | None = None) -> int:
    """Above every number that is known of, also of values that were sealed while no witness could be reached.

    `without`: a site whose own word does not count.
    """
    said = (said_of(record, name) for site, record in group.sites.items() if site != without)
    numbers = [one.held.version for one in said if one is not None and one.held is not None]
    return max(number_min(group, name), *(1 + number for number in numbers), 1)


def newest(group: GroupState, name: LicenseName) -> EscrowVersion:
    """Of all that is kept here and of all that sites say they hold; NO_VERSION when there is nothing."""
    held = (held_of(record.report.licenses, name) for record in group.sites.values() if record.report is not None)
    return max((version for version in (stored(group, name), *held) if version is not None), default=NO_VERSION)


# -- who may be activated -----------------------------------------------------------------------------------


def not_current(group: GroupState, site: SiteId) -> list[tuple[LicenseName, str]]:
    """Licenses for which the site must not be activated, each with what was seen (E6, E7, E8)."""
    found = []
    for spec in group.config.licenses:
        seen = _behind(group, site, spec.name) if spec.escrow is EscrowPolicy.REQUIRED else ""
        waived = group.escrow.waived.get(spec.name)
        if seen and (waived is None or waived < newest(group, spec.name)):
            found.append((spec.name, f"{spec.name}: {seen}"))
    return found


def _behind(group: GroupState, site: SiteId, name: LicenseName) -> str:
    said, top = said_of(group.sites[site], name), newest(group, name)
    if said is None:
        return "its agent is not configured for this license"
    held = said.held or NO_VERSION
    if held < top:
        return f"it holds {version_words(said.held)}, the newest is {version_words(top)} ({_whose(group, name, top)})"
    silent = [other for other, record in group.sites.items() if other != site and record.report is None]
    if group.escrow.unsure and silent:
        return f"restored from a backup, and {', '.join(silent)} may hold a newer one: not heard since"
    return ""


def _whose(group: GroupState, name: LicenseName, version: EscrowVersion) -> str:
    """Where that version is to be had."""
    found = [site for site, record in group.sites.items() if (said_of(record, name) or _NOTHING).held == version]
    return ", ".join([*(["stored here"] if stored(group, name) == version else []), *found])


_NOTHING = LicenseReport(LicenseName("none"))


def blockers(group: GroupState, site: SiteId) -> list[Blocker]:
    return [Blocker(site, Reason.LICENSE_NOT_CURRENT, seen) for _, seen in not_current(group, site)]


def against_grant(group: GroupState, command: Grant) -> Reason | None:
    """The machine's own look, at the very entry: a put may have come between the decision and its grant (E9)."""
    if command.cause in (Cause.REGRANT, Cause.ADOPTED):
        return None  # it is active already, with the key that it has
    return Reason.LICENSE_NOT_CURRENT if not_current(group, command.site) else None


def activated_at(record: SiteRecord) -> list[LicenseName]:
    return [] if record.report is None else [one.name for one in record.report.licenses if one.activated]


def claimed(group: GroupState) -> None:
    """A site begins with what it has: what was given up, or was unsure, is behind it (E8)."""
    group.escrow.waived.clear()
    group.escrow.unsure = False


# -- the group's configuration and its end ------------------------------------------------------------------


def configured(group: GroupState) -> None:
    """Values of licenses that are kept no more are dropped, and their numbers are never used again (E10)."""
    wanted = {spec.name for spec in group.config.licenses if spec.escrow is not EscrowPolicy.NONE}
    for name in sorted(group.escrow.kept.keys() - wanted):
        group.escrow.floor = max(group.escrow.floor, group.escrow.kept.pop(name).sealed.version.version)
    for name in sorted(group.escrow.waived.keys() - wanted):
        del group.escrow.waived[name]


def created(state: ClusterState, group: GroupState) -> None:
    group.escrow.floor = state.escrow_floors.pop(group.config.group, 0)


def deleted(state: ClusterState, group: GroupState) -> None:
    """The sealed values go; the numbers stay spent (E10)."""
    numbers = [record.sealed.version.version for record in group.escrow.kept.values()]
    floor = max([group.escrow.floor, *numbers])
    if floor:
        state.escrow_floors[group.config.group] = floor


def licenses_of(groups: Iterable[GroupState]) -> int:
    return sum(len(group.config.licenses) for group in groups)


def restored(group: GroupState) -> None:
    """The backup is older than the loss: sites may hold what was sealed since (E7)."""
    group.escrow.unsure = bool(group.config.licenses)
    group.escrow.waived.clear()


# -- what a heartbeat brings and takes ----------------------------------------------------------------------


def behind(group: GroupState, record: SiteRecord) -> list[EscrowValue]:
    """Values that the site does not hold, as it says itself; none of licenses that its agent does not know (E5)."""
    found = []
    for name, kept in group.escrow.kept.items():
        said = said_of(record, name)
        if said is not None and (said.held or NO_VERSION) < kept.sealed.version:
            found.append(EscrowValue(group.config.group, EscrowItem(name, kept.sealed)))
    return found


def some_of(values: list[EscrowValue], turn: int) -> tuple[EscrowValue, ...]:
    """As many as one answer brings; with `turn` growing each has its turn, also when some are never taken."""
    if len(values) <= VALUES_MAX:
        return tuple(values)
    first = turn * VALUES_MAX % len(values)
    return tuple((values[first:] + values[:first])[:VALUES_MAX])


def believed(scope: Scope, group: GroupState, site: SiteId, report: HealthReport) -> HealthReport:
    """The same, without what it cannot hold: a number far above all that others know of (E2).

    Taken in, one absurd word would set the number that the holder gives next, and leave no room above it. The report
    as a whole is taken all the same: a holder whose renewals were refused for it would be fenced.
    """
    if not report.licenses:
        return report
    return replace(report, licenses=tuple(_believed(scope, group, site, said) for said in report.licenses))


def _believed(scope: Scope, group: GroupState, site: SiteId, said: LicenseReport) -> LicenseReport:
    most = next_number(group, said.name, without=site) + VERSION_SKIP_MAX
    if said.held is None or said.held.version <= most:
        return said
    before = said_of(group.sites[site], said.name)
    if before is None or before.problem != NOT_BELIEVED:
        text = (
            f"{said.name}: it says that it holds {version_words(said.held)}, but no number above {most} can have been "
            "given yet: not believed, so it counts as holding none"
        )
        _tell(scope, group, site, EventKind.LICENSE_PROBLEM, text)
    return replace(said, held=None, problem=NOT_BELIEVED)


def reported(scope: Scope, group: GroupState, site: SiteId, before: HealthReport | None) -> None:
    """Tells of what a changed report says of its licenses: problems, and that it is current again (E12)."""
    record = group.sites[site]
    for name in sorted(unnamed(group.config, record.report) - unnamed(group.config, before)):
        _tell(scope, group, site, EventKind.LICENSE_PROBLEM, f"{name}: {UNNAMED}")
    for said in () if record.report is None else record.report.licenses:
        was = next((one for one in (() if before is None else before.licenses) if one.name == said.name), None)
        if said.problem not in ("", NOT_BELIEVED) and (was is None or was.problem != said.problem):
            _tell(scope, group, site, EventKind.LICENSE_PROBLEM, f"{said.name}: {said.problem}")
        top = newest(group, said.name)
        writes = group.lease is not None and group.lease.site == site
        ready = not said.problem and said.held is not None and said.held == top
        if ready and was is not None and (was.problem or (was.held != top and not writes)):
            _tell(scope, group, site, EventKind.LICENSE_CURRENT, f"{said.name}: it holds {version_words(top)}")


def named(scope: Scope, group: GroupState, before: GroupConfig) -> None:
    """Tells of licenses of its sites that the group names no more, or names now (E12)."""
    for site in group.config.sites:
        report = group.sites[site].report
        here, was = unnamed(group.config, report), unnamed(before, report)
        for name in sorted(here - was):
            _tell(scope, group, site, EventKind.LICENSE_PROBLEM, f"{name}: {UNNAMED}")
        for name in sorted(was - here):
            _tell(scope, group, site, EventKind.LICENSE_CURRENT, f"{name}: the group names it now")


UNNAMED = (
    "the group names no such license, so nothing is kept of it and no site is kept back for it: name it in the group's "
    "file, or remove it from the agent's"
)


def unnamed(config: GroupConfig, report: HealthReport | None) -> set[LicenseName]:
    """Licenses of the site's agent that the group does not name."""
    said = () if report is None else report.licenses
    return {one.name for one in said if spec_of(config, one.name) is None}


def watch(scope: Scope, group: GroupState, site: SiteId) -> None:
    """Both-active: a license that is seen activated where nothing may run, told at once and once (E11)."""
    record = group.sites[site]
    if record.report is None or not (record.report.licenses or record.both_active):
        return
    wrong = {name: why for name in activated_at(record) if (why := _why_wrong(group, site, record, name))}
    for name in sorted(wrong.keys() - record.both_active):
        _tell(scope, group, site, EventKind.BOTH_ACTIVE, f"{name}: its probe sees it activated, {wrong[name]}")
    for name in sorted(record.both_active - wrong.keys()):
        _tell(scope, group, site, EventKind.BOTH_ACTIVE_ENDED, f"{name}: it says so no more, or may be active")
    record.both_active = set(wrong)


def _why_wrong(group: GroupState, site: SiteId, record: SiteRecord, name: LicenseName) -> str:
    """'' when the license may be activated there."""
    if may_be_active(group, site, record):
        return ""
    if group.mode is Mode.OBSERVE or (record.report is not None and not record.report.enforce):
        # Nobody grants anything here: only two of them are a contradiction.
        # In the order of the configuration: an image has the sites in another one, and this goes into the ledger.
        others = [one for one in group.config.sites if one != site and name in activated_at(group.sites[one])]
        return f"and {', '.join(others)} said the same last" if others else ""
    lease = group.lease
    return "while nobody holds the lease" if lease is None or lease.site is None else f"while {lease.site} is granted"


def may_be_active(group: GroupState, site: SiteId, record: SiteRecord) -> bool:
    """By a claimed lease, by holds that nobody was granted after, or by a permit that counts."""
    lease, former, report = group.lease, group.former, record.report
    if lease is not None and lease.site == site and lease.claim is not None:
        return lease.incarnation == record.incarnation
    if report is not None and report.holding is not None and former is not None:
        return (former.site, former.incarnation) == (site, record.incarnation)
    return report is not None and report.permit is not None and site in permits.under_permit(group)


def _tell(scope: Scope, group: GroupState, site: SiteId, kind: EventKind, text: str) -> None:
    scope.ledger.append(kind, text, group=group.config.group, site=site, epoch=group.epoch)
    scope.changes.dirty.add(group.config.group)
