"""The part of the configuration that says how hard a host ends a group: control groups, watchdog, reset.

Rule: a rung that is `required` and cannot be had makes the site not ready; one that is not required is used where it
can be had, and the status says which are. Times that the group's budgets must leave are refused with both numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.settings import LadderSpec
from proto import limits
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import DurationMs, duration_between
from proto.timing import SiteBudgets, TimingViolation, check_ladder

OUTSIDE_MAX = 32

DevicePath = Annotated[str, Field(pattern=r"^/\S+$", max_length=256)]
CgroupPath = Annotated[str, Field(pattern=r"^/?[^/\s.][^/\s]*(/[^/\s.][^/\s]*)*/?$", max_length=1024)]


_ANY_BUDGETS = SiteBudgets(stop_budget_ms=limits.TTL_MS_MAX, kill_budget_ms=limits.TTL_MS_MAX)
"""What breaks a rule beside these breaks it beside any, also where the budgets come with the group's ttl."""


class CgroupConfig(ConfigModel):
    enabled: bool = True
    required: bool = False
    outside: tuple[CgroupPath, ...] = Field(
        default=(),
        max_length=OUTSIDE_MAX,
        description="control groups of units outside of the guard that are frozen and killed with it",
        examples=[["system.slice/shop-legacy.service"]],
    )


class WatchdogConfig(ConfigModel):
    device: DevicePath = Field(default="/dev/watchdog", examples=["/dev/watchdog"])
    required: bool = False


class ResetConfig(ConfigModel):
    before: Annotated[DurationMs, duration_between(1, 60_000)] = Field(
        description="before the deadline, when what was killed is still there", examples=["100ms"]
    )
    trigger: DevicePath = "/proc/sysrq-trigger"
    required: bool = False


class LadderConfig(ConfigModel):
    cgroup: CgroupConfig = Field(default_factory=CgroupConfig)
    watchdog: WatchdogConfig | None = Field(default=None, description="resets the host unless the lease goes on")
    reset: ResetConfig | None = Field(default=None, description="resets the host when a kill does not end it")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.cgroup.required and not self.cgroup.enabled:
            raise refusal("cgroup is required and not enabled", "enable it, or do not require it")
        for violation in self.violations(_ANY_BUDGETS):
            raise refusal(f"{violation.field} = {violation.value}: {violation.rule}", violation.remedy)
        return self

    def violations(self, budgets: SiteBudgets) -> Iterator[TimingViolation]:
        before = None if self.reset is None else self.reset.before
        yield from check_ladder(budgets, watchdog=self.watchdog is not None, reset_before_ms=before)

    def spec(self) -> LadderSpec:
        wanted = {"cgroup": self.cgroup, "watchdog": self.watchdog, "reset": self.reset}
        required = [name for name, rung in wanted.items() if rung is not None and rung.required]
        if self.cgroup.outside and self.cgroup.required:
            required.append("outside")
        return LadderSpec(
            cgroup=self.cgroup.enabled,
            outside=self.cgroup.outside,
            watchdog="" if self.watchdog is None else self.watchdog.device,
            reset_trigger="" if self.reset is None else self.reset.trigger,
            reset_before_ms=0 if self.reset is None else self.reset.before,
            required=tuple(required),
        )
