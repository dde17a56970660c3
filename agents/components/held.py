"""How each component is held while its site is active, in one word and a sentence; for the status and the doctor.

Strong to weak. `namespace`: the kernel ends it at the deadline, whatever else is stopped. `cgroup`: this host's agent
kills its control group, so it must be able to run. `ladder`: steps, commands or an engine must do it. What is weaker
than a namespace is bounded only by what the kernel times out by itself: addresses and ports of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.components.spec import ComponentKind, ComponentSpec
from agents.fencing.containment import PROCESS_GROUP

NAMESPACE = "namespace"
CGROUP = "cgroup"
LADDER = "ladder"
UNKNOWN = "unknown"

OUTLIVES = "if this whole site is stopped it outlives the deadline"


@dataclass(frozen=True, slots=True)
class Around:
    """What else of a group bears on its components."""

    containment: str = ""
    """Of the group's guard, in words."""
    execs: Sequence[Mapping[str, Any]] = ()
    """The group's exec guards, of the status."""
    outside: tuple[str, ...] = ()
    """Control groups that the guard kills, too."""
    timed: bool = False
    """Addresses or ports have a lifetime in the kernel."""
    watchdog: bool = False

    @property
    def bounds(self) -> str:
        if self.watchdog:
            return f"{OUTLIVES} until the watchdog resets the host"
        if self.timed:
            return f"{OUTLIVES}; only the kernel-timed addresses and ports bound it"
        return f"{OUTLIVES} and nothing bounds it: name its addresses and ports under resources"


def component_rows(specs: Sequence[ComponentSpec], around: Around) -> list[dict[str, str]]:
    return [_row(spec, around) for spec in specs]


def _row(spec: ComponentSpec, around: Around) -> dict[str, str]:
    held, words = _held(spec, around)
    return {"name": spec.name, "kind": spec.kind.value, "role": spec.role.value, "held": held, "words": words}


def _held(spec: ComponentSpec, around: Around) -> tuple[str, str]:
    if spec.kind is ComponentKind.PROCESS:
        return _contained(around.containment, around, "by the group's guard, or by `site-agent exec`")
    if spec.under_exec:
        kinds = sorted({str(one["containment"]) for one in around.execs if one["containment"]})
        return _contained(kinds[0] if kinds else around.containment, around, "by `site-agent exec`")
    if spec.kind is ComponentKind.UNIT:
        by_guard = any(place.rpartition("/")[2] == spec.unit for place in around.outside)
        how = f"{'guard and agent kill' if by_guard else 'the agent kills'} its control group"
        return CGROUP, f"{_role(spec)}{how}; {around.bounds}. Stronger: `site-agent wrap {spec.unit}`"
    if spec.kind is ComponentKind.CONTAINER:
        return LADDER, f"{_role(spec)}steps and the engine end it; {around.bounds}. Stronger: wrap its entrypoint"
    return LADDER, f"{_role(spec)}steps and commands {'demote' if spec.dual_role else 'end'} it; {around.bounds}"


def _role(spec: ComponentSpec) -> str:
    return "out of the active role or dead by the deadline, and starts in the standby role only; " * spec.dual_role


def _contained(containment: str, around: Around, by: str) -> tuple[str, str]:
    if not containment:
        return UNKNOWN, f"{by}; no guard was started yet"
    if containment.startswith(PROCESS_GROUP):
        return LADDER, f"{by}, process by process: no PID namespace can be had here; {around.bounds}"
    return NAMESPACE, f"{by}: the kernel ends it at the deadline"
