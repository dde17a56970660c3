"""From the settings to a group's components and to what is looked at while the site is dormant."""

from __future__ import annotations

from pathlib import Path

from agents.components.base import Component
from agents.components.by_command import CommandComponent, DualRole
from agents.components.cgroups import CGROUP_ROOT
from agents.components.container import ContainerComponent
from agents.components.spec import ComponentKind, ComponentSpec
from agents.components.unit import UnitComponent
from proto.units import GroupId, SiteId


def build_components(
    site: SiteId,
    group: GroupId,
    specs: tuple[ComponentSpec, ...],
    cgroup_root: Path = CGROUP_ROOT,
) -> tuple[Component, ...]:
    """Without the processes: what runs under a guard is proven down by the guard."""
    about = {"THIRDSITE_GROUP": group, "THIRDSITE_SITE": site}
    built = (_component(spec, about, cgroup_root) for spec in specs)
    return tuple(component for component in built if component is not None)


def _component(spec: ComponentSpec, about: dict[str, str], cgroup_root: Path) -> Component | None:
    body: Component | None = None
    if spec.kind is ComponentKind.UNIT:
        body = UnitComponent(spec, cgroup_root)
    elif spec.kind is ComponentKind.CONTAINER:
        body = ContainerComponent(spec)
    if spec.dual_role:
        return DualRole(spec, about, body)
    return CommandComponent(spec, about) if spec.kind is ComponentKind.DATABASE else body
