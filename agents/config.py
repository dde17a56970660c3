"""The agent's configuration file as a checked, closed, immutable model.

Rule: what the file says is either taken whole or refused with every error in it (proto/edge/config_file.py); what
is contradictory or unsafe is refused with both numbers. The group's ttl is the witnesses' business, so only the
part of the timing that does not depend on it is judged here; the rest is judged when the first answer brings the
ttl, and a site whose budgets do not fit reports itself not ready (proto.timing).
Rejected: settings by environment variables (two places to look at in an outage), reading the file again while it
runs (a restart of the agent changes nothing for a platform that is held by its guard).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from agents.config_components import COMPONENTS_MAX, ComponentConfig, check_components
from agents.config_fields import (
    ClusterHex,
    Command,
    Environment,
    Label,
    LookTimeout,
    PlanTimeout,
    unique,
    written,
)
from agents.config_ladder import LadderConfig
from agents.config_license import LICENSES_MAX, LicenseConfig, check_licenses
from agents.config_members import MEMBERS_MAX, MemberOfSiteConfig, check_members, check_place
from agents.config_resources import ResourcesConfig, check_shared
from agents.config_site_link import SiteLinkConfig, check_site_link
from agents.core.settings import ProbeKind, ProbeRole
from agents.license.plan_steps import with_license_steps
from agents.settings import (
    NO_MEMBER,
    STATUS_SOCKET,
    CheckSpec,
    Endpoint,
    GroupSpec,
    PlanSpec,
    ProbeSpec,
    SiteSettings,
    StepSpec,
    TlsPaths,
)
from proto import limits
from proto.edge.config_file import ConfigModel, config_schema, load_config, parse_config, refusal
from proto.edge.config_logs import LogConfig
from proto.edge.config_types import (
    Address,
    ConfigAddress,
    ConfigPath,
    DurationMs,
    GroupName,
    MemberId,
    SiteName,
    WitnessName,
    duration_between,
)
from proto.lease import LeaseConstants
from proto.timing import SiteBudgets, check_site

STEPS_MAX = 64
PROBES_MAX = 64
CHECKS_MAX = 32
RETRIES_MAX = 100
UNIX_PATH_BYTES_MAX = 107
"""sun_path of a Unix socket, less its closing zero."""
PROBE_INTERVAL_MS_MIN = 50


class TlsConfig(ConfigModel):
    ca: ConfigPath = Field(description="the cluster's own CA", examples=["/etc/thirdsite/ca.pem"])
    cert: ConfigPath = Field(description="this agent's certificate", examples=["/etc/thirdsite/cert.pem"])
    key: ConfigPath = Field(description="its private key", examples=["/etc/thirdsite/key.pem"])
    crl: ConfigPath | None = Field(default=None, description="the CA's revocations")


class WitnessConfig(ConfigModel):
    id: WitnessName = Field(examples=["w1"])
    address: ConfigAddress = Field(examples=["w1.example.net:7410"])


class LocalConfig(ConfigModel):
    http: ConfigAddress | None = Field(default=None, description="for load balancers and metrics; none: off")


class StepConfig(ConfigModel):
    name: Label
    command: Command | None = Field(default=None, description="needed, except of a step that runs on a member")
    member: MemberId | None = Field(
        default=None, description="the member that runs it, by the command of that name in its own file"
    )
    timeout: PlanTimeout = written("30s")
    retries: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = 0
    retry_delay: Annotated[DurationMs, duration_between(0, 60_000)] = written("500ms")
    env: Environment = Field(default_factory=dict)
    directory: str = Field(default="/", pattern="^/", examples=["/srv/shop"])
    undo: Command | None = Field(
        default=None,
        description="takes the step back when its activation fails, is cut short or did not survive a crash",
    )
    needs: Annotated[DurationMs, duration_between(0, limits.TTL_MS_MAX)] = written("0ms")
    """With less left before the graceful stop the step is not begun."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_place(self)
        if self.needs > self.timeout:
            raise refusal(
                f"needs {self.needs} ms is longer than timeout {self.timeout} ms",
                "raise timeout or lower needs",
            )
        return self

    def spec(self) -> StepSpec:
        return StepSpec(
            name=self.name,
            argv=self.command or (),
            timeout_ms=self.timeout,
            retries=self.retries,
            retry_delay_ms=self.retry_delay,
            env=self.env,
            directory=self.directory,
            undo=self.undo or (),
            needs_ms=self.needs,
            member=self.member or NO_MEMBER,
        )


class PlanConfig(ConfigModel):
    timeout: PlanTimeout = written("60s")
    steps: tuple[StepConfig, ...] = Field(default=(), max_length=STEPS_MAX)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        unique([step.name for step in self.steps], "step", "steps")
        for step in self.steps:
            if step.timeout > self.timeout:
                raise refusal(
                    f"step {step.name} may take {step.timeout} ms, the whole plan {self.timeout} ms",
                    "raise the plan's timeout or lower the step's",
                )
        return self

    def spec(self) -> PlanSpec:
        return PlanSpec(self.timeout, tuple(step.spec() for step in self.steps))


class DownCheckConfig(ConfigModel):
    """Proof that nothing of the active role runs: a refused port, or a command that exits with 0 when it is down."""

    name: Label
    kind: ProbeKind
    target: ConfigAddress | None = None
    command: Command | None = None
    timeout: LookTimeout = written("2s")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.kind is ProbeKind.HTTP:
            raise refusal("an HTTP answer proves nothing about what is down", "use kind tcp or exec")
        _exactly(self.kind, {ProbeKind.TCP: self.target, ProbeKind.EXEC: self.command})
        return self

    def spec(self) -> CheckSpec:
        return CheckSpec(self.name, self.kind, endpoint_of(self.target), self.command or (), self.timeout)


class ProbeConfig(ConfigModel):
    name: Label
    role: ProbeRole
    kind: ProbeKind
    target: ConfigAddress | None = None
    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)] | None = Field(
        default=None, examples=["http://127.0.0.1:8080/healthz"]
    )
    command: Command | None = None
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(default=(200,), min_length=1, max_length=32)
    verify_tls: bool = Field(default=True, description="false: an https:// probe takes any certificate")
    interval: Annotated[DurationMs, duration_between(PROBE_INTERVAL_MS_MIN, 3_600_000)] = written("1s")
    timeout: LookTimeout = written("500ms")
    rise: Annotated[int, Field(ge=1, le=1_000)] = 2
    fall: Annotated[int, Field(ge=1, le=1_000)] = 3

    @model_validator(mode="after")
    def _fits(self) -> Self:
        targets = {ProbeKind.TCP: self.target, ProbeKind.HTTP: self.url, ProbeKind.EXEC: self.command}
        _exactly(self.kind, targets)
        if self.role is ProbeRole.LAG and self.kind is not ProbeKind.EXEC:
            raise refusal(f"a lag probe prints a number; kind {self.kind.value} does not", "use kind exec")
        if self.timeout > self.interval:
            raise refusal(
                f"timeout {self.timeout} ms is longer than interval {self.interval} ms: looks would overlap",
                f"set timeout to at most {self.interval}ms",
            )
        return self

    def spec(self) -> ProbeSpec:
        return ProbeSpec(
            name=self.name,
            role=self.role,
            kind=self.kind,
            target=endpoint_of(self.target),
            url=self.url or "",
            command=self.command or (),
            statuses=self.status,
            verify_tls=self.verify_tls,
            interval_ms=self.interval,
            timeout_ms=self.timeout,
            rise=self.rise,
            fall=self.fall,
        )


_TARGET_FIELDS = {ProbeKind.TCP: "target", ProbeKind.HTTP: "url", ProbeKind.EXEC: "command"}


def _exactly(kind: ProbeKind, targets: Mapping[ProbeKind, object]) -> None:
    if targets[kind] is None:
        raise refusal(f"kind {kind.value} needs {_TARGET_FIELDS[kind]}", f"add {_TARGET_FIELDS[kind]}")
    for other, value in targets.items():
        if other is not kind and value is not None:
            raise refusal(
                f"kind {kind.value} has no {_TARGET_FIELDS[other]}",
                f"remove {_TARGET_FIELDS[other]} or change the kind",
            )


class GroupConfig(ConfigModel):
    group: GroupName
    enforce: bool = Field(default=True, description="false: probe and report, never start, stop or fence")
    stop_budget: PlanTimeout | None = Field(default=None, description="default: a quarter of the group's ttl")
    kill_budget: PlanTimeout | None = Field(default=None, description="default: a tenth of the group's ttl")
    activation: PlanConfig = Field(default_factory=PlanConfig)
    deactivation: PlanConfig = Field(default_factory=PlanConfig)
    on_epoch: tuple[StepConfig, ...] = Field(
        default=(),
        max_length=STEPS_MAX,
        description="steps that tell resources the new epoch of a site that goes on without a stop",
    )
    verify_down: tuple[DownCheckConfig, ...] = Field(default=(), max_length=CHECKS_MAX)
    probes: tuple[ProbeConfig, ...] = Field(default=(), max_length=PROBES_MAX)
    components: tuple[ComponentConfig, ...] = Field(default=(), max_length=COMPONENTS_MAX)
    resources: ResourcesConfig = Field(default_factory=ResourcesConfig)
    ladder: LadderConfig = Field(default_factory=LadderConfig)
    licenses: tuple[LicenseConfig, ...] = Field(default=(), max_length=LICENSES_MAX)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        plans = (self.activation.steps, self.deactivation.steps)
        check_licenses(self.licenses, *([step.name for step in steps] for steps in plans))
        unique([probe.name for probe in self.probes], "probe", "probes")
        unique([check.name for check in self.verify_down], "check", "verify_down")
        check_components(self.components)
        if (self.stop_budget is None) is not (self.kill_budget is None):
            raise refusal("stop_budget and kill_budget belong together", "write both or none")
        budgets = self.budgets
        if budgets is not None:
            for violation in (*check_site(_LONGEST_LEASE, budgets), *self.ladder.violations(budgets)):
                raise refusal(f"{violation.field} = {violation.value}: {violation.rule}", violation.remedy)
        return self

    @property
    def budgets(self) -> SiteBudgets | None:
        if self.stop_budget is None or self.kill_budget is None:
            return None
        return SiteBudgets(self.stop_budget, self.kill_budget)

    def spec(self) -> GroupSpec:
        return GroupSpec(
            group=self.group,
            enforce=self.enforce,
            budgets=self.budgets,
            activation=self.activation.spec(),
            deactivation=self.deactivation.spec(),
            on_epoch=tuple(step.spec() for step in self.on_epoch),
            checks=tuple(check.spec() for check in self.verify_down),
            probes=tuple(probe.spec() for probe in self.probes),
            components=tuple(component.spec() for component in self.components),
            resources=self.resources.spec(),
            ladder=self.ladder.spec(),
            licenses=tuple(one.spec() for one in self.licenses),
        )


_LONGEST_LEASE = LeaseConstants(limits.TTL_MS_MAX, limits.DRIFT_MAX_PPM_DEFAULT, 0)
"""What does not fit the longest lease fits none; the group's own ttl is checked when it is known."""


class AgentConfig(ConfigModel):
    cluster: ClusterHex = Field(examples=["0123456789abcdef0123456789abcdef"])
    site: SiteName = Field(examples=["dc-a"])
    tls: TlsConfig
    state_dir: ConfigPath = Field(examples=["/var/lib/thirdsite/agent"])
    runtime_dir: ConfigPath = Field(examples=["/run/thirdsite"])
    witnesses: tuple[WitnessConfig, ...] = Field(max_length=limits.WITNESSES_MAX)
    local: LocalConfig = Field(default_factory=LocalConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    groups: tuple[GroupConfig, ...] = Field(max_length=limits.HEARTBEAT_GROUPS_MAX)
    members_listen: ConfigAddress | None = Field(
        default=None, description="where this site's members reach their lead", examples=["10.0.0.1:7420"]
    )
    members: tuple[MemberOfSiteConfig, ...] = Field(
        default=(), max_length=MEMBERS_MAX, description="further hosts of this site"
    )
    site_link: SiteLinkConfig | None = Field(default=None, description="the other sites; none: no relay, no holds")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.witnesses or not self.groups:
            raise refusal("at least one witness and one group are needed", "add them")
        unique([witness.id for witness in self.witnesses], "witness", "witnesses")
        unique([witness.address for witness in self.witnesses], "address", "witnesses")
        unique([group.group for group in self.groups], "group", "groups")
        unique([one.ladder.watchdog.device for one in self.groups if one.ladder.watchdog], "watchdog", "groups")
        check_members(self.members, self.members_listen, [group.spec() for group in self.groups])
        own = {"local.http": self.local.http, "members_listen": self.members_listen}
        check_site_link(self.site_link, self.site, own)
        own["site_link.listen"] = None if self.site_link is None else self.site_link.listen
        check_shared({group.group: group.resources.spec() for group in self.groups}, own)
        check_directories(self.state_dir, self.runtime_dir)
        return self

    def settings(self) -> SiteSettings:
        return SiteSettings(
            cluster=self.cluster,
            site=self.site,
            tls=TlsPaths(self.tls.ca, self.tls.cert, self.tls.key, self.tls.crl),
            state_dir=self.state_dir,
            runtime_dir=self.runtime_dir,
            witnesses=tuple((witness.id, Endpoint(*witness.address)) for witness in self.witnesses),
            http=endpoint_of(self.local.http),
            groups=tuple(
                with_license_steps(group.spec(), self.cluster, self.site, self.state_dir) for group in self.groups
            ),
            members=tuple(member.spec() for member in self.members),
            members_listen=endpoint_of(self.members_listen),
            site_link=None if self.site_link is None else self.site_link.spec(),
            log=self.log.settings(),
        )


def endpoint_of(address: Address | None) -> Endpoint | None:
    return None if address is None else Endpoint(*address)


def check_directories(state_dir: Path, runtime_dir: Path) -> None:
    """Raises pydantic's error with a remedy."""
    if state_dir == runtime_dir:
        raise refusal("state_dir outlives a reboot, runtime_dir must not: they differ", "choose two directories")
    path = runtime_dir / STATUS_SOCKET
    length = len(str(path).encode())
    if length > UNIX_PATH_BYTES_MAX:
        raise refusal(
            f"the socket's path {path} has {length} bytes, Unix takes {UNIX_PATH_BYTES_MAX}",
            "choose a shorter runtime_dir",
        )


def load_agent_config(path: Path) -> SiteSettings:
    """Raises ConfigRefused with every problem of the file."""
    return load_config(path, AgentConfig).settings()


def parse_agent_config(text: str, file: str = "agent.yaml", base: Path = Path()) -> SiteSettings:
    return parse_config(text, AgentConfig, file=file, base=base).settings()


def agent_schema() -> dict[str, Any]:
    return config_schema(AgentConfig)
