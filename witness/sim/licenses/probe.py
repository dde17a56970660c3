"""The probe that says whether a license is activated at a site: truly, late, or not at all truly.

As agents.license.room has it: an answer that overlaps a change of the site's role is dropped. Nothing but faults makes
it lie, and nothing of that reaches the platform.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agents.core.agent import SiteAgent
from proto.clock import ClockReading
from proto.health import DORMANT_STATES
from proto.units import NS_PER_MS, GroupId, LicenseName

if TYPE_CHECKING:
    from witness.sim.site import SiteHost

Place = tuple[GroupId, LicenseName]
PROBE_NS = (200 * NS_PER_MS, 600 * NS_PER_MS)
TAKES_NS = (1 * NS_PER_MS, 150 * NS_PER_MS)
FAILED = "probe-failed"


class ActivityProbe:
    """Of one license at one host; its answers begin anew with each process of the agent."""

    def __init__(self, host: SiteHost, place: Place) -> None:
        self.lies: bool | None = None
        """What it says whatever is so."""
        self.fails = False
        self.cached_for_ns = 0
        """It says what it saw so long ago."""
        self._host = host
        self._place = place
        self._rng = host.parts(f"license/probe/{host.name}/{place[0]}/{place[1]}")
        self._cache: tuple[bool, int] | None = None

    def begin(self) -> None:
        self._host.later(self._rng.randint(*PROBE_NS), self._ask)

    def heal(self) -> None:
        self.lies, self.fails, self.cached_for_ns = None, False, 0

    def _ask(self) -> None:
        self._host.later(self._rng.randint(*PROBE_NS), self._ask)
        agent = self._host.agent
        if agent is not None:
            role, answer = agent.groups[self._place[0]].licenses.role, self._answer()
            self._host.later(self._rng.randint(*TAKES_NS), partial(self._told, role, answer))

    def _answer(self) -> bool | None:
        if self.fails:
            self._host.hit("license-probe-fails")
            return None
        if self.lies is not None:
            self._host.hit("license-probe-lies")
            return self.lies
        now_ns, true = self._host.guest.own_ns(), self._host.shells[self._place[0]].runs()
        if self._cache is None or now_ns >= self._cache[1]:
            self._cache = true, now_ns + self.cached_for_ns
        if self._cache[0] is not true:
            self._host.hit("license-probe-stale")
        return self._cache[0]

    def _told(self, role: int, answer: bool | None) -> None:
        group, name = self._place

        def probed(agent: SiteAgent, now: ClockReading) -> None:
            found = agent.groups[group]
            if found.licenses.role != role:
                return
            if answer and found.state in DORMANT_STATES:
                self._host.hit("license-probe-fences")
            self._host.judges.licenses.probed(group, self._host.settings.site, name, activated=answer is True)
            agent.license_probed(group, name, answer, FAILED if answer is None else "", now)

        self._host.feed(probed)
