"""From the configuration's words to a group's plans and checks."""

from __future__ import annotations

from pathlib import Path

from agents.actions.down_checks import CommandSaysDown, DownCheck, PortRefused
from agents.actions.plans import GroupPlans, StepSpec
from agents.config import DownCheckConfig, GroupConfig, StepConfig
from proto.invariants import require
from proto.units import SiteId


def group_plans(site: SiteId, config: GroupConfig, log_root: Path) -> GroupPlans:
    return GroupPlans(
        group=config.group,
        site=site,
        enforce=config.enforce,
        activation=tuple(_step(step) for step in config.activation.steps),
        deactivation=tuple(_step(step) for step in config.deactivation.steps),
        checks=tuple(_check(check) for check in config.verify_down),
        log_dir=log_root / config.group,
    )


def _step(config: StepConfig) -> StepSpec:
    return StepSpec(
        name=config.name,
        argv=config.command,
        timeout_ms=config.timeout,
        retries=config.retries,
        retry_delay_ms=config.retry_delay,
        env=config.env,
        directory=config.directory,
    )


def _check(config: DownCheckConfig) -> DownCheck:
    if config.target is not None:
        return PortRefused(config.name, config.target.host, config.target.port, config.timeout)
    require(
        config.command is not None, f"check {config.name} passed the configuration's rules without a target"
    )
    return CommandSaysDown(config.name, config.command or (), config.timeout)
