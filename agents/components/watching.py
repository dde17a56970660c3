"""Components are looked at as probes are: a dormant site on which one runs in the active role is not ready.

Rule: while the site is dormant each component must be down, or out of the active role; one that is found up (started
by hand, by a boot, by a restart policy) makes the site not ready at once and is ended. While anything is allowed to
run nothing is judged here: what must run then is the service probes' business. `rejoined` is a data check: after an
unclean end it keeps a former primary in quarantine until it follows again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agents.components.base import Component
from agents.components.spec import ComponentSpec
from agents.core.settings import ProbeRole, ProbeSettings
from agents.probes.base import ProbeResult
from agents.probes.exec import ExecProbe
from agents.probes.schedule import ScheduledProbe
from proto.units import GroupId

INTERVAL_MS = 2_000
LOOK, REJOINED = "component:", ":rejoined"
"""Around a component's name; no probe of the configuration can be called so."""


def watched(spec: ComponentSpec) -> bool:
    """A process has no life outside of its guards, so there is nothing to look at."""
    return bool(spec.unit or spec.container or spec.down or spec.out_of_role)


def component_probe_settings(specs: Sequence[ComponentSpec]) -> tuple[ProbeSettings, ...]:
    """One bad look counts; so does one good one: the proof of down was made by others."""
    down = [ProbeSettings(LOOK + spec.name, ProbeRole.READY, 1, 1) for spec in specs if watched(spec)]
    joined = [ProbeSettings(LOOK + spec.name + REJOINED, ProbeRole.DATA, 1, 1) for spec in specs if spec.rejoined]
    return (*down, *joined)


class DormantSite(Protocol):
    """What is asked of a group's runner, agents/actions/runner.py."""

    @property
    def dormant(self) -> bool: ...

    def component_found(self, words: str) -> None: ...


class ComponentProbe:
    """The site is asked before and after the look: what changed meanwhile is not judged."""

    def __init__(self, component: Component, site: DormantSite) -> None:
        self._component = component
        self._site = site

    async def look(self) -> ProbeResult:
        words = await self._component.still_up() if self._site.dormant else ""
        if not words or not self._site.dormant:
            return ProbeResult(passed=True)
        self._site.component_found(f"{self._component.spec.name}: {words}")
        return ProbeResult(passed=False, detail=words.partition(": pids ")[0])

    async def close(self) -> None:
        """Nothing is held between looks."""


def component_probes(
    group: GroupId, components: Sequence[Component], specs: Sequence[ComponentSpec], site: DormantSite
) -> tuple[ScheduledProbe, ...]:
    """The looks and the data checks, at their pace."""
    looks = [
        ScheduledProbe(group, LOOK + one.spec.name, ComponentProbe(one, site), INTERVAL_MS, 4 * one.spec.timeout_ms)
        for one in components
    ]
    joined = [
        ScheduledProbe(
            group,
            LOOK + spec.name + REJOINED,
            ExecProbe(spec.rejoined, spec.timeout_ms, measures=False),
            INTERVAL_MS,
            spec.timeout_ms,
        )
        for spec in specs
        if spec.rejoined
    ]
    return (*looks, *joined)
