"""What a group's plans consist of, as plain values made from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.actions.down_checks import DownCheck
from agents.components.base import Component
from agents.settings import StepSpec
from proto.units import Epoch, GroupId, SiteId


@dataclass(frozen=True, slots=True)
class GroupPlans:
    group: GroupId
    site: SiteId
    enforce: bool
    activation: tuple[StepSpec, ...]
    deactivation: tuple[StepSpec, ...]
    checks: tuple[DownCheck, ...]
    log_dir: Path
    on_epoch: tuple[StepSpec, ...] = ()
    """What tells the resources a new epoch without a stop."""
    components: tuple[Component, ...] = ()
    resources: tuple[str, ...] = ()
    """What the group's guard times in the kernel, in words."""

    def about(self, epoch: Epoch, cause: str, plan: str) -> dict[str, str]:
        """What each step is told beside its own environment."""
        return {
            "THIRDSITE_GROUP": self.group,
            "THIRDSITE_SITE": self.site,
            "THIRDSITE_EPOCH": str(epoch),
            "THIRDSITE_CAUSE": cause,
            "THIRDSITE_PLAN": plan,
        }
