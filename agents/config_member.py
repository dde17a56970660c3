"""The configuration file of a member: a further host of a site, which obeys the site's agent.

Rule: it says how this host holds its part of each group and what a step's name means here. It names no witness: whether
and for how long anything may run is the lead's to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from agents.config import (
    CHECKS_MAX,
    STEPS_MAX,
    DownCheckConfig,
    LocalConfig,
    StepConfig,
    TlsConfig,
    check_directories,
    endpoint_of,
)
from agents.config_components import COMPONENTS_MAX, ComponentConfig, check_components
from agents.config_fields import ClusterHex, PlanTimeout, unique, written
from agents.config_ladder import LadderConfig
from agents.config_resources import ResourcesConfig, check_shared
from agents.core.member_group import START_MS
from agents.settings import (
    Endpoint,
    GroupSpec,
    MemberGroupSpec,
    MemberProcessSettings,
    PlanSpec,
    TlsPaths,
)
from proto import limits
from proto.edge.config_file import ConfigModel, config_schema, load_config, parse_config, refusal
from proto.edge.config_logs import LogConfig
from proto.edge.config_types import ConfigAddress, ConfigPath, GroupName, MemberId, SiteName
from proto.timing import SiteBudgets


class MemberGroupConfig(ConfigModel):
    group: GroupName
    enforce: bool = Field(
        default=True, description="false: never start, stop or fence; write it on all hosts of a site"
    )
    stop_budget: PlanTimeout | None = Field(default=None, description="default: a quarter of the group's ttl")
    kill_budget: PlanTimeout | None = Field(default=None, description="default: a tenth of the group's ttl")
    stop_timeout: PlanTimeout = written("30s")
    steps: tuple[StepConfig, ...] = Field(
        default=(), max_length=STEPS_MAX, description="what the lead's plans may ask for, by name"
    )
    verify_down: tuple[DownCheckConfig, ...] = Field(default=(), max_length=CHECKS_MAX)
    components: tuple[ComponentConfig, ...] = Field(default=(), max_length=COMPONENTS_MAX)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    ladder: LadderConfig = Field(default_factory=LadderConfig)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unique([step.name for step in self.steps], "step", "steps")
        unique([check.name for check in self.verify_down], "check", "verify_down")
        check_components(self.components)
        for step in self.steps:
            if step.member is not None:
                raise refusal(
                    f"step {step.name} runs elsewhere: a member has no members", "add its command, not `member`"
                )
        if (self.stop_budget is None) is not (self.kill_budget is None):
            raise refusal("stop_budget and kill_budget belong together", "write both or none")
        if self.budgets is not None:
            for violation in self.ladder.violations(self.budgets):
                raise refusal(f"{violation.field} = {violation.value}: {violation.rule}", violation.remedy)
        return self

    @property
    def budgets(self) -> SiteBudgets | None:
        if self.stop_budget is None or self.kill_budget is None:
            return None
        return SiteBudgets(self.stop_budget, self.kill_budget)

    def spec(self) -> MemberGroupSpec:
        held = GroupSpec(
            group=self.group,
            enforce=self.enforce,
            budgets=self.budgets,
            activation=PlanSpec(START_MS, ()),
            deactivation=PlanSpec(self.stop_timeout, ()),
            checks=tuple(check.spec() for check in self.verify_down),
            probes=(),
            components=tuple(component.spec() for component in self.components),
            resources=self.resources.spec(),
            ladder=self.ladder.spec(),
        )
        return MemberGroupSpec(held, tuple(step.spec() for step in self.steps))


class MemberConfig(ConfigModel):
    cluster: ClusterHex = Field(examples=["0123456789abcdef0123456789abcdef"])
    site: SiteName = Field(examples=["dc-a"])
    member: MemberId = Field(examples=["db1"], description="as the site's agent names it under `members`")
    lead: ConfigAddress = Field(examples=["agent.dc-a.example.net:7420"], description="the agent's members_listen")
    tls: TlsConfig
    state_dir: ConfigPath = Field(examples=["/var/lib/thirdsite/member"])
    runtime_dir: ConfigPath = Field(examples=["/run/thirdsite"])
    local: LocalConfig = Field(default_factory=LocalConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    groups: Annotated[tuple[MemberGroupConfig, ...], Field(min_length=1, max_length=limits.HEARTBEAT_GROUPS_MAX)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unique([group.group for group in self.groups], "group", "groups")
        unique([one.ladder.watchdog.device for one in self.groups if one.ladder.watchdog], "watchdog", "groups")
        check_shared({group.group: group.resources.spec() for group in self.groups}, {"local.http": self.local.http})
        check_directories(self.state_dir, self.runtime_dir)
        return self

    def settings(self) -> MemberProcessSettings:
        return MemberProcessSettings(
            cluster=self.cluster,
            site=self.site,
            member=self.member,
            lead=Endpoint(*self.lead),
            tls=TlsPaths(self.tls.ca, self.tls.cert, self.tls.key, self.tls.crl),
            state_dir=self.state_dir,
            runtime_dir=self.runtime_dir,
            http=endpoint_of(self.local.http),
            groups=tuple(group.spec() for group in self.groups),
            log=self.log.settings(),
        )


def load_member_config(path: Path) -> MemberProcessSettings:
    """Raises ConfigRefused with every problem of the file."""
    return load_config(path, MemberConfig).settings()


def parse_member_config(text: str, file: str = "member.yaml", base: Path = Path()) -> MemberProcessSettings:
    return parse_config(text, MemberConfig, file=file, base=base).settings()


def member_schema() -> dict[str, Any]:
    return config_schema(MemberConfig)
