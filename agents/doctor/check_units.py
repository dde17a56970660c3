"""systemd units that start, or start again, what only the lease may start."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.components.spec import ComponentSpec
from agents.doctor.finding import Finding, Promise, Severity
from agents.doctor.host import Host
from agents.settings import GroupSpec
from agents.units.drop_in import effective_problems, unit_group
from agents.units.tree import Unit

_STARTS = re.compile(r"\bsystemctl\b(?:\s+--?[\w=-]+)*\s+(?:re)?start\s+([^;&|]*)")
_SERVICE = re.compile(r"^[A-Za-z0-9:_.\\@-]+$")


def check_units(host: Host) -> Iterator[Finding]:
    for group in host.enforced():
        named = {one.unit: one for one in group.components if one.unit}
        for spec in named.values():
            yield from _component(host, group, spec)
        for name in sorted(_started_by_steps(group) - set(named)):
            yield from _unnamed(host, group, name)


def _component(host: Host, group: GroupSpec, spec: ComponentSpec) -> Iterator[Finding]:
    unit = host.units.load(spec.unit)
    if unit is None or not unit.fragment:
        yield Finding(
            Severity.WARNING,
            spec.unit,
            "there is no such unit on this host",
            Promise.COMES_BACK,
            "a step that starts it will fail here",
            "install it, or correct the name in the configuration",
            group.group,
        )
        return
    if spec.dual_role:
        return
    yield from _starters(host, group, unit)
    yield from _held(group, spec, unit)


def _starters(host: Host, group: GroupSpec, unit: Unit) -> Iterator[Finding]:
    for way in host.starters.of(unit):
        yield Finding(
            Severity.BROKEN,
            unit.name,
            way.words,
            Promise.NO_SPLIT_BRAIN,
            "it would run without the lease; only the activation steps may start it",
            way.remedy,
            group.group,
        )


def _held(group: GroupSpec, spec: ComponentSpec, unit: Unit) -> Iterator[Finding]:
    if spec.under_exec:
        for problem in effective_problems(unit, group.group):
            why = "the configuration says that it runs under the lease, and it does not"
            what, _, remedy = problem.partition(": ")
            yield Finding(Severity.BROKEN, unit.name, what, Promise.NO_SPLIT_BRAIN, why, remedy, group.group)
        return
    if unit_group(unit) == group.group:
        why = "a guard that waits for the lease would be taken for the running unit, and killed"
        remedy = f"set under_exec: true for the component {spec.name}"
        what = "is wrapped by site-agent exec, the configuration does not say so"
        yield Finding(Severity.WARNING, unit.name, what, Promise.COMES_BACK, why, remedy, group.group)
        return
    wrap = f"site-agent wrap {unit.name} --group {group.group}"
    restart = unit.last("Service", "Restart", "no")
    if restart != "no":
        why = "systemd starts it again after the agent has killed it at the deadline"
        what = f"Restart={restart}, outside of a guard"
        yield Finding(Severity.BROKEN, unit.name, what, Promise.NO_SPLIT_BRAIN, why, wrap, group.group)
    why = "it outlives the deadline when agent and guard are stopped with it (a frozen host)"
    what = "runs outside of a guard"
    yield Finding(Severity.WARNING, unit.name, what, Promise.NO_SPLIT_BRAIN, why, wrap, group.group)


def _started_by_steps(group: GroupSpec) -> set[str]:
    """Services that activation steps start with systemctl, also from within a shell's line."""
    found: set[str] = set()
    for step in group.activation.steps:
        for line in (" ".join(step.argv), *step.argv):
            for match in _STARTS.finditer(line):
                words = [word for word in match[1].split() if _SERVICE.match(word) and not word.startswith("-")]
                found |= {word if word.endswith((".service", ".target")) else f"{word}.service" for word in words}
    return {name for name in found if name.endswith(".service")}


def _unnamed(host: Host, group: GroupSpec, name: str) -> Iterator[Finding]:
    why = "nothing proves it down, nothing ends it, and no status shows it"
    remedy = f"add {{name: ..., kind: unit, unit: {name}}} to components"
    what = "an activation step starts it, components do not name it"
    yield Finding(Severity.WARNING, name, what, Promise.NO_SPLIT_BRAIN, why, remedy, group.group)
    unit = host.units.load(name)
    if unit is not None:
        yield from _starters(host, group, unit)
