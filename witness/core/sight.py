"""What one witness has seen, on its own clock: the observations that decisions rest on and that are not replicated.

Freshness and cooldowns are judged on each replica's own clock from its own apply times; what is applied while
catching up has unknown age and does not count; after a restart everything starts in full (DESIGN section 4).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from proto import limits
from proto.health import SiteState
from proto.units import NS_PER_MS, GroupId, Incarnation, InstantNs, SiteId
from witness.core.changes import Changes
from witness.core.state import ClusterState, GroupState
from witness.core.transitions import Phase


@dataclass(slots=True)
class GroupSight:
    """`since` instants are on this witness's lease clock."""

    started: InstantNs
    """When this witness began to see the group: nothing is known from before."""
    heard: dict[SiteId, InstantNs] = field(default_factory=dict)
    renewing: set[SiteId] = field(default_factory=set)
    """Whose last heartbeat renewed the lease: who falls silent then is judged by that lease alone."""
    promising: dict[SiteId, tuple[Incarnation | None, InstantNs]] = field(default_factory=dict)
    """Which life of each site says that it promises, and since when; for people."""
    unfit_since: InstantNs | None = None
    preferred_fit_since: InstantNs | None = None
    former_since: InstantNs | None = None
    """Since when the last holder may live on by holds; None while nobody may."""
    shadow_unfit_since: InstantNs | None = None
    """Since when the site that runs unasked, in observe, is unfit (witness.core.shadow)."""
    moves: deque[InstantNs] = field(default_factory=deque)
    failed_at: dict[SiteId, InstantNs] = field(default_factory=dict)

    def speaks(self, site: SiteId, now: InstantNs, *, renews: bool) -> None:
        self.heard[site] = now
        if renews:
            self.renewing.add(site)
        else:
            self.renewing.discard(site)

    def heard_age_ns(self, site: SiteId, now: InstantNs) -> int | None:
        at = self.heard.get(site)
        return None if at is None else now - at

    def promising_ns(self, site: SiteId, now: InstantNs) -> int:
        """For how long the site has said, as far as this witness saw, that it promises."""
        found = self.promising.get(site)
        return 0 if found is None else now - found[1]


class Sights:
    def __init__(self, now: InstantNs) -> None:
        self._groups: dict[GroupId, GroupSight] = {}
        self._now = now

    def of(self, group: GroupId, now: InstantNs) -> GroupSight:
        sight = self._groups.get(group)
        if sight is None:
            sight = self._groups[group] = GroupSight(started=now)
        return sight

    def forget_all(self) -> None:
        """After a snapshot replaced the state: what was seen before may concern other groups."""
        self._groups.clear()

    def note(self, state: ClusterState, changes: Changes, *, fresh: bool, now: InstantNs) -> None:
        """Takes in what one applied entry changed."""
        if fresh:
            for site, groups, renewed in changes.heard:
                for name in groups:
                    self.of(name, now).speaks(site, now, renews=name in renewed)
        for name in changes.moved:
            self.of(name, now).moves.append(now)
        for name, site in changes.failed:
            self.of(name, now).failed_at[site] = now
        for name in changes.dirty:
            group = state.groups.get(name)
            if group is None:
                self._groups.pop(name, None)
            else:
                sight = self.of(name, now)
                self._fitness(group, sight, now)
                _promises(group, sight, now)
                sight.former_since = None if group.former is None else (sight.former_since or now)

    def _fitness(self, group: GroupState, sight: GroupSight, now: InstantNs) -> None:
        lease = group.lease
        holder = None if lease is None or lease.site is None else group.sites.get(lease.site)
        report = None if holder is None else holder.report
        unfit = (
            group.phase is Phase.HELD and report is not None and report.state is SiteState.ACTIVE and not report.healthy
        )
        sight.unfit_since = (sight.unfit_since or now) if unfit else None
        preferred = group.sites[group.config.sites[0]].report
        fit = preferred is not None and preferred.verified_down and preferred.ready and preferred.enforce
        sight.preferred_fit_since = (sight.preferred_fit_since or now) if fit else None


def _promises(group: GroupState, sight: GroupSight, now: InstantNs) -> None:
    before, sight.promising = sight.promising, {}
    for site, record in group.sites.items():
        if record.report is not None and record.report.promising:
            known = before.get(site)
            same = known is not None and known[0] == record.incarnation
            sight.promising[site] = known if same and known is not None else (record.incarnation, now)


def heard_max_ns(group: GroupState) -> int:
    """A site is heard while its last fresh heartbeat is at most this old: one ttl, three heartbeats.

    Agents keep the pace of the lease in force, so a shorter ttl that waits for the next epoch does not count yet.
    """
    in_force = group.config.constants if group.lease is None else group.lease.constants
    ttl_ms = max(group.config.constants.ttl_ms, in_force.ttl_ms)
    return ttl_ms * NS_PER_MS + limits.TIMER_STEP_MAX_NS


def speaks_now_ns(group: GroupState) -> int:
    """A site speaks now while its last fresh heartbeat is younger than this: two of its heartbeats may be missing."""
    return group.config.constants.ttl_ms * NS_PER_MS * 9 // 10
