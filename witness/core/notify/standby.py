"""What the next failure would find: dormant sites that are not heard, and groups in which nobody could take over.

Rule: told once when it has lasted for three ttl, 30 s at least, so that an agent which is started anew, or a site that
moves, wakes nobody; and told once when it is over. That a site could take over again must last as long, or a probe that
fails and holds in turn would wake people every time. A site in maintenance may be silent. Why nobody could take over is
whatever keeps each site from being activated (witness.core.decide); it is not told once more when every such site is
one that was told to be silent. In a vacant group nobody is active already, and the same keeps every site from it. In
`observe` nothing takes over, so only silence is told.

Every witness looks, so that a new leader knows for how long it has lasted; the one that leads has it noted
(NoteStandby). Nothing is decided on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proto import limits
from proto.commands import NoteStandby
from proto.decisions import Blocker, Reason, blocker_words
from proto.events import EventKind
from proto.groups import Mode
from proto.units import NS_PER_MS, NS_PER_S, GroupId, InstantNs, SiteId
from witness.core.changes import Scope
from witness.core.decide import blockers_of
from witness.core.effects import Outcome
from witness.core.lease_rules import DONE, refused
from witness.core.sight import GroupSight, heard_max_ns
from witness.core.state import GroupState
from witness.core.transitions import Phase

LASTS_MIN_NS: Final = 30 * NS_PER_S
"""An agent that is upgraded, or a host that is started anew without its platform, is back within this."""
LASTS_TTLS: Final = 3


def lasts_ns(group: GroupState) -> int:
    """What lasts shorter than this is not told."""
    return max(LASTS_MIN_NS, LASTS_TTLS * group.config.constants.ttl_ms * NS_PER_MS)


def against_takeover(group: GroupState, sight: GroupSight, now: InstantNs) -> tuple[Blocker, ...]:
    """What keeps every site from taking over, or from being activated; empty when one could, or nobody may say."""
    holder = None if group.lease is None else group.lease.site
    if group.mode is Mode.OBSERVE or group.phase not in (Phase.HELD, Phase.VACANT):
        return ()
    found: list[Blocker] = []
    for site in group.config.sites:
        against = [] if site == holder else blockers_of(group, site, sight, now)
        if site != holder and not against:
            return ()
        found.extend(against)
    return tuple(found)


def excused(group: GroupState, site: SiteId) -> str:
    """Why the site may be silent, '' when it may not. The holder's silence is judged by its lease."""
    if group.lease is not None and group.lease.site == site:
        return "it holds the lease"
    return "it is in maintenance" if group.sites[site].maintenance else ""


def missing_words(group: GroupState, sight: GroupSight, now: InstantNs) -> str:
    if group.lease is None or group.lease.site is None:
        return "nobody is active, and no site can be activated"
    age_ns = sight.heard_age_ns(group.lease.site, now)
    if age_ns is None or age_ns > heard_max_ns(group):
        return f"{group.lease.site} is not heard, and nobody could take over yet"
    return f"if {group.lease.site} failed now, nobody could take over"


class StandbyWatch:
    """Of one witness's process."""

    def __init__(self) -> None:
        self._since: dict[GroupId, InstantNs] = {}
        """Since when nobody could take over."""
        self._again: dict[GroupId, InstantNs] = {}
        """Since when a site could, where it was told that none could."""

    def look(self, group: GroupState, sight: GroupSight, now: InstantNs) -> list[NoteStandby]:
        """What is due to be noted, and has not been."""
        against = against_takeover(group, sight, now)
        return [*self._silent(group, sight, now, nobody=bool(against)), *self._missing(group, sight, against, now)]

    def forget(self, gone: Iterable[GroupId]) -> None:
        for name in gone:
            self._since.pop(name, None)
            self._again.pop(name, None)

    @property
    def known(self) -> tuple[GroupId, ...]:
        return tuple({**self._since, **self._again})

    def _silent(self, group: GroupState, sight: GroupSight, now: InstantNs, *, nobody: bool) -> list[NoteStandby]:
        found, name = [], group.config.group
        for site in group.config.sites:
            for_ns, told = now - sight.heard.get(site, sight.started), group.sites[site].silent
            why = excused(group, site)
            if not told and not why and for_ns >= lasts_ns(group):
                text = f"not heard for {for_ns // NS_PER_S} s"
                if nobody:
                    text += f"; {missing_words(group, sight, now)}"
                found.append(NoteStandby(name, site, False, text))
            elif told and (why or (site in sight.heard and for_ns < lasts_ns(group))):
                found.append(NoteStandby(name, site, True, why or "heard again"))
        return found

    def _missing(
        self, group: GroupState, sight: GroupSight, against: tuple[Blocker, ...], now: InstantNs
    ) -> list[NoteStandby]:
        name = group.config.group
        if group.phase not in (Phase.HELD, Phase.VACANT):
            return []  # it is on its way: what was told stays told
        if not against:
            self._since.pop(name, None)
            return self._over(group, now)
        self._again.pop(name, None)
        if all(one.reason is Reason.NOT_HEARD and group.sites[one.site].silent for one in against):
            self._since.pop(name, None)  # a site that is back has its time to become fit
            return []
        since = self._since.setdefault(name, now)
        if group.no_standby or now - since < lasts_ns(group):
            return []
        why = "; ".join(blocker_words(one) for one in against)
        text = f"{missing_words(group, sight, now)}: {why}"
        return [NoteStandby(name, None, False, text[: limits.TEXT_CHARS_MAX])]

    def _over(self, group: GroupState, now: InstantNs) -> list[NoteStandby]:
        name = group.config.group
        if not group.no_standby:
            self._again.pop(name, None)
            return []
        if group.mode is Mode.OBSERVE:
            return [NoteStandby(name, None, True, "in observe nothing takes over")]
        for_ns = now - self._again.setdefault(name, now)
        if for_ns < lasts_ns(group):
            return []
        return [NoteStandby(name, None, True, f"a site could take over, for {for_ns // NS_PER_S} s now")]


# -- replicated -----------------------------------------------------------------------------------------------


def note_standby(scope: Scope, command: NoteStandby) -> Outcome:
    group = scope.state.groups.get(command.group)
    if group is None:
        return refused(Reason.UNKNOWN_GROUP)
    if command.site is not None and command.site not in group.sites:
        return refused(Reason.UNKNOWN_SITE)
    told = group.no_standby if command.site is None else group.sites[command.site].silent
    if told is not command.over:
        return refused(Reason.ALREADY_SO)
    if command.site is None:
        group.no_standby = not command.over
        kind = EventKind.STANDBY_AGAIN if command.over else EventKind.NO_STANDBY
    else:
        group.sites[command.site].silent = not command.over
        kind = EventKind.SITE_HEARD if command.over else EventKind.SITE_SILENT
    text = command.text[: limits.TEXT_CHARS_MAX]
    scope.ledger.append(kind, text, group=command.group, site=command.site, epoch=group.epoch)
    scope.changes.dirty.add(command.group)
    return DONE
