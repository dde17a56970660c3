"""What a group's plans consist of, as plain values made from the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agents.actions.down_checks import DownCheck
from proto.units import GroupId, SiteId


@dataclass(frozen=True, slots=True)
class StepSpec:
    name: str
    argv: tuple[str, ...]
    timeout_ms: int = 30_000
    retries: int = 0
    retry_delay_ms: int = 500
    env: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class GroupPlans:
    group: GroupId
    site: SiteId
    enforce: bool
    activation: tuple[StepSpec, ...]
    deactivation: tuple[StepSpec, ...]
    checks: tuple[DownCheck, ...]
    log_dir: Path
