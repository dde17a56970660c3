"""What a license becomes in its group's plans: ordinary steps, journaled, undone and ended as all others are.

In an activation the key is restored first, or right behind the step that `restore_after` names (a replica must be
promoted before it takes a key); then a check comes first, so that nothing begins that could not end well. The license
is activated behind the restore. In a deactivation it is deactivated last. The plans' timeouts grow by these steps.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

from agents.license.spec import VARIABLE, SiteLicense, StepTask
from agents.settings import GroupSpec, PlanSpec, StepSpec, plain
from proto.units import ClusterId, SiteId

_INHERITED = ("PYTHONPATH",)


def with_license_steps(group: GroupSpec, cluster: ClusterId, site: SiteId, state_dir: Path) -> GroupSpec:
    """The same group, as its plans run."""
    activation, deactivation = list(group.activation.steps), list(group.deactivation.steps)
    first = 0
    for one in group.licenses:
        task = StepTask(cluster, site, group.group, state_dir, one)
        steps = _beginning(one, task)
        if one.restore_after and one.keeps:
            at = 1 + [step.name for step in activation].index(one.restore_after)
            activation[at:at] = steps
            steps = [_own(one.check_step, "check", one, task)]
        activation[first:first] = steps
        first += len(steps)
        if one.deactivate:
            deactivation.append(StepSpec(one.deactivate_step, one.deactivate, one.step_timeout_ms, env=_about(one)))
    return dataclasses.replace(
        group,
        activation=_longer(group.activation, activation),
        deactivation=_longer(group.deactivation, deactivation),
    )


def _beginning(one: SiteLicense, task: StepTask) -> list[StepSpec]:
    steps = [_own(one.restore_step, "restore", one, task)] if one.keeps else []
    if one.activate:
        activate = StepSpec(one.activate_step, one.activate, one.step_timeout_ms, env=_about(one), undo=one.deactivate)
        steps.append(activate)
    return steps


def _own(name: str, verb: str, one: SiteLicense, task: StepTask) -> StepSpec:
    spec = json.dumps(dataclasses.asdict(task), default=plain)
    env = {VARIABLE: spec, **_about(one), **{name: os.environ[name] for name in _INHERITED if name in os.environ}}
    return StepSpec(name, (sys.executable, "-P", "-m", "agents.license.step", verb), one.step_timeout_ms, env=env)


def _about(one: SiteLicense) -> dict[str, str]:
    return {"THIRDSITE_LICENSE": one.name}


def _longer(plan: PlanSpec, steps: list[StepSpec]) -> PlanSpec:
    added = sum(step.timeout_ms for step in steps) - sum(step.timeout_ms for step in plan.steps)
    return PlanSpec(plan.timeout_ms + added, tuple(steps))
