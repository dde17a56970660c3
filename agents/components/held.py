"""How each component is held while its site is active, in one word and a sentence; for the status and the doctor.

Strong to weak. `namespace`: the kernel ends it at the deadline, whatever else is stopped. `cgroup`: this host's agent
kills its control group, so it must be able to run. `ladder`: steps, commands or an engine must do it. What is weaker
than a namespace is bounded only by what the kernel times out by itself: addresses and ports of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.components.spec import ComponentKind, ComponentSpec
from agents.fencing.containment import PROCESS_GROUP

NAMESPACE = "namespace"
CGROUP = "cgroup"
LADDER = "ladder"
UNKNOWN = "unknown"

BOUNDED = "if this whole site is stopped it outlives the deadline; only kernel-timed addresses and ports bound it"


def component_rows(
    specs: Sequence[ComponentSpec], containment: str, execs: Sequence[Mapping[str, Any]]
) -> list[dict[str, str]]:
    """`containment`: of the group's guard, in words; `execs`: the group's exec guards of the status."""
    return [_row(spec, containment, execs) for spec in specs]


def _row(spec: ComponentSpec, containment: str, execs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    held, words = _held(spec, containment, execs)
    return {"name": spec.name, "kind": spec.kind.value, "role": spec.role.value, "held": held, "words": words}


def _held(spec: ComponentSpec, containment: str, execs: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    if spec.kind is ComponentKind.PROCESS:
        return _contained(containment, "by the group's guard, or by `site-agent exec`")
    if spec.under_exec:
        kinds = sorted({str(one["containment"]) for one in execs if one["containment"]})
        return _contained(kinds[0] if kinds else containment, "by `site-agent exec`")
    if spec.kind is ComponentKind.UNIT:
        how = "the agent kills its control group"
        return CGROUP, f"{_role(spec)}{how}; {BOUNDED}. Stronger: `site-agent wrap {spec.unit}`"
    if spec.kind is ComponentKind.CONTAINER:
        return LADDER, f"{_role(spec)}steps and the engine end it; {BOUNDED}. Stronger: wrap its entrypoint"
    return LADDER, f"{_role(spec)}steps and commands {'demote' if spec.dual_role else 'end'} it; {BOUNDED}"


def _role(spec: ComponentSpec) -> str:
    return "out of the active role or dead by the deadline, and starts in the standby role only; " * spec.dual_role


def _contained(containment: str, by: str) -> tuple[str, str]:
    if not containment:
        return UNKNOWN, f"{by}; no guard was started yet"
    if containment.startswith(PROCESS_GROUP):
        return LADDER, f"{by}, process by process: no PID namespace can be had here; {BOUNDED}"
    return NAMESPACE, f"{by}: the kernel ends it at the deadline"
