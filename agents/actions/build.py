"""From the settings to a group's plans and checks."""

from __future__ import annotations

from pathlib import Path

from agents.actions.down_checks import CommandSaysDown, DownCheck, PortRefused
from agents.actions.guard_setup import resource_checks, timed_resources
from agents.actions.plans import GroupPlans
from agents.components.base import Component
from agents.settings import CheckSpec, GroupSpec
from proto.units import SiteId


def group_plans(site: SiteId, group: GroupSpec, log_root: Path, components: tuple[Component, ...] = ()) -> GroupPlans:
    return GroupPlans(
        group=group.group,
        site=site,
        enforce=group.enforce,
        activation=group.activation.steps,
        deactivation=group.deactivation.steps,
        on_epoch=group.on_epoch,
        checks=(*(_check(check) for check in group.checks), *resource_checks(group)),
        log_dir=log_root / group.group,
        components=components,
        resources=tuple(resource.name for resource in timed_resources(group)),
    )


def _check(spec: CheckSpec) -> DownCheck:
    if spec.target is not None:
        return PortRefused(spec.name, spec.target.host, spec.target.port, spec.timeout_ms)
    return CommandSaysDown(spec.name, spec.command, spec.timeout_ms)
