"""Looks at required members, at the pace of probes (agents/core/member_looks.py has what is judged)."""

from __future__ import annotations

from collections.abc import Callable

from agents.core.member_looks import holds_probe, not_holding, not_ready, ready_probe
from agents.members.desk import MemberDesk
from agents.probes.base import ProbeResult
from agents.probes.schedule import ScheduledProbe
from agents.settings import GroupSpec, MemberSpec, SiteSettings
from proto.clock import Clock
from proto.health import DORMANT_STATES, SiteState
from proto.units import Epoch, GroupId, MemberName

INTERVAL_MS = 1_000
TIMEOUT_MS = 500

SiteLook = Callable[[GroupId], tuple[SiteState, Epoch]]
"""How the site stands with the group, and the epoch that it holds."""


class ReadyLook:
    def __init__(self, desk: MemberDesk, group: GroupSpec, name: MemberName, site: SiteLook, clock: Clock) -> None:
        self._desk, self._group, self._name, self._site, self._clock = desk, group.group, name, site, clock
        plans = (*group.activation.steps, *group.deactivation.steps)
        self._steps = frozenset(step.name for step in plans if step.member == name)

    async def look(self) -> ProbeResult:
        seat = self._desk.seat(self._group, self._name)
        known = self._desk.known_steps(self._group, self._name)
        dormant = self._site(self._group)[0] in DORMANT_STATES
        words = not_ready(seat, self._steps, known, self._clock.now(), dormant=dormant)
        return ProbeResult(passed=not words, detail=words)

    async def close(self) -> None:
        """Nothing is held between looks."""


class HoldsLook:
    """Passes while the site is not active: what a member must hold then is a plan's business."""

    def __init__(self, desk: MemberDesk, group: GroupId, name: MemberName, site: SiteLook, clock: Clock) -> None:
        self._desk, self._group, self._name, self._site, self._clock = desk, group, name, site, clock

    async def look(self) -> ProbeResult:
        state, epoch = self._site(self._group)
        if state is not SiteState.ACTIVE:
            return ProbeResult(passed=True)
        words = not_holding(self._desk.seat(self._group, self._name), epoch, self._clock.now())
        return ProbeResult(passed=not words, detail=words)

    async def close(self) -> None:
        """Nothing is held between looks."""


def member_looks(settings: SiteSettings, desk: MemberDesk, site: SiteLook, clock: Clock) -> tuple[ScheduledProbe, ...]:
    return tuple(
        probe
        for group in settings.groups
        for member in settings.members
        if member.required and group.group in member.groups
        for probe in _looks(group, member, desk, site, clock)
    )


def _looks(
    group: GroupSpec, member: MemberSpec, desk: MemberDesk, site: SiteLook, clock: Clock
) -> tuple[ScheduledProbe, ScheduledProbe]:
    ready = ReadyLook(desk, group, member.name, site, clock)
    holds = HoldsLook(desk, group.group, member.name, site, clock)
    return (
        ScheduledProbe(group.group, ready_probe(member.name), ready, INTERVAL_MS, TIMEOUT_MS),
        ScheduledProbe(group.group, holds_probe(member.name), holds, INTERVAL_MS, TIMEOUT_MS),
    )
