"""What a group's plans consist of, as plain values made from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.actions.down_checks import DownCheck
from agents.components.base import Component
from agents.settings import StepSpec
from proto.units import GroupId, SiteId


@dataclass(frozen=True, slots=True)
class GroupPlans:
    group: GroupId
    site: SiteId
    enforce: bool
    activation: tuple[StepSpec, ...]
    deactivation: tuple[StepSpec, ...]
    checks: tuple[DownCheck, ...]
    log_dir: Path
    components: tuple[Component, ...] = ()
