"""The agent's configuration file as a checked, closed, immutable model.

Rule: what the file says is either taken whole or refused with every error in it (proto/edge/config_file.py); what
is contradictory or unsafe is refused with both numbers. The group's ttl is the witnesses' business, so only the
part of the timing that does not depend on it is judged here; the rest is judged when the first answer brings the
ttl, and a site whose budgets do not fit reports itself not ready (proto.timing).
Rejected: settings by environment variables (two places to look at in an outage), reading the file again while it
runs (a restart of the agent changes nothing for a platform that is held by its guard).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from agents.core.settings import AgentSettings, GroupSettings, ProbeRole, ProbeSettings
from agents.probes.base import ProbeKind
from proto import limits
from proto.edge.config_file import ConfigModel, load_config, refusal
from proto.edge.config_types import (
    Address,
    ConfigAddress,
    ConfigPath,
    DurationMs,
    GroupName,
    SiteName,
    WitnessName,
    duration_between,
)
from proto.lease import LeaseConstants
from proto.timing import SiteBudgets, check_site
from proto.units import ClusterId

STEPS_MAX = 64
PROBES_MAX = 64
CHECKS_MAX = 32
RETRIES_MAX = 100
COMMAND_ITEMS_MAX = 256
UNIX_PATH_BYTES_MAX = 107
"""sun_path of a Unix socket, less its closing zero."""
PROBE_INTERVAL_MS_MIN = 50
TIMEOUT_MS_MIN = 10
PLAN_TIMEOUT_MS_MAX = 86_400_000


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def _written(duration: str) -> Any:
    """A default as it would stand in the file; it passes the same validators."""
    return Field(default=duration)


def _hex_id(value: object) -> str:
    if not isinstance(value, str) or len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise refusal(
            "a cluster id is 32 lower-case hex digits", "copy it from `witness pki` or a witness's status"
        )
    return value


def _argv(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise refusal(
            "a command is a list whose first item is the program", 'write for example ["/bin/true"]'
        )
    if len(value) > COMMAND_ITEMS_MAX or any("\0" in item for item in value):
        raise refusal(
            f"at most {COMMAND_ITEMS_MAX} items without NUL are taken", "put the rest into a script"
        )
    return value


def _environment(value: dict[str, str]) -> dict[str, str]:
    for name, content in value.items():
        if not name or "=" in name or "\0" in name + content:
            raise refusal("a variable's name has no '=' and no NUL", f"rename {name!r}")
        if name.startswith("THIRDSITE_"):
            raise refusal(f"{name} is set by the agent", "choose a name without THIRDSITE_ in front")
    return value


def _label(value: str) -> str:
    if not 0 < len(value) <= 63 or not all(
        part.isalnum() and part.isascii() for part in value.replace("_", "-").split("-")
    ):
        raise refusal(
            "a name is 1 to 63 letters, digits, '-' and '_', a letter or digit first",
            "choose a short name, for example 'start-db'",
        )
    return value


def _unique(items: Sequence[object], what: str, field: str) -> None:
    seen: set[object] = set()
    for item in items:
        if item in seen:
            raise refusal(f"{what} {item!s} stands in {field} twice", "remove or rename one of the two")
        seen.add(item)


ClusterHex = Annotated[
    ClusterId, BeforeValidator(_hex_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"})
]
Command = Annotated[tuple[str, ...], AfterValidator(_argv)]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
Label = Annotated[str, AfterValidator(_label)]
PlanTimeout = Annotated[DurationMs, duration_between(TIMEOUT_MS_MIN, PLAN_TIMEOUT_MS_MAX)]
LookTimeout = Annotated[DurationMs, duration_between(TIMEOUT_MS_MIN, 60_000)]


class TlsConfig(ConfigModel):
    ca: ConfigPath = Field(description="the cluster's own CA", examples=["/etc/thirdsite/ca.pem"])
    cert: ConfigPath = Field(description="this agent's certificate", examples=["/etc/thirdsite/agent.pem"])
    key: ConfigPath = Field(description="its private key", examples=["/etc/thirdsite/agent.key"])


class WitnessConfig(ConfigModel):
    id: WitnessName = Field(examples=["w1"])
    address: ConfigAddress = Field(examples=["w1.example.net:7410"])


class LocalConfig(ConfigModel):
    http: ConfigAddress | None = Field(default=None, description="for load balancers and metrics; none: off")
    socket: ConfigPath | None = Field(default=None, description="default: agent.sock in runtime_dir")


class StepConfig(ConfigModel):
    name: Label
    command: Command
    timeout: PlanTimeout = _written("30s")
    retries: Annotated[int, Field(ge=0, le=RETRIES_MAX)] = 0
    retry_delay: Annotated[DurationMs, duration_between(0, 60_000)] = _written("500ms")
    env: Environment = Field(default_factory=dict)
    directory: str = Field(default="/", pattern="^/")


class PlanConfig(ConfigModel):
    timeout: PlanTimeout = _written("60s")
    steps: tuple[StepConfig, ...] = Field(default=(), max_length=STEPS_MAX)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _unique([step.name for step in self.steps], "step", "steps")
        for step in self.steps:
            if step.timeout > self.timeout:
                raise refusal(
                    f"step {step.name} may take {step.timeout} ms, the whole plan {self.timeout} ms",
                    "raise the plan's timeout or lower the step's",
                )
        return self


class DownCheckConfig(ConfigModel):
    """Proof that nothing of the active role runs: a refused port, or a command that exits with 0 when it is down."""

    name: Label
    kind: ProbeKind
    target: ConfigAddress | None = None
    command: Command | None = None
    timeout: LookTimeout = _written("2s")

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.kind is ProbeKind.HTTP:
            raise refusal("an HTTP answer proves nothing about what is down", "use kind tcp or exec")
        _exactly(self.kind, {ProbeKind.TCP: self.target, ProbeKind.EXEC: self.command})
        return self


class ProbeConfig(ConfigModel):
    name: Label
    role: ProbeRole
    kind: ProbeKind
    target: ConfigAddress | None = None
    url: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2048)] | None = None
    command: Command | None = None
    status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = Field(
        default=(200,), min_length=1, max_length=32
    )
    verify_tls: bool = Field(default=True, description="false: an https:// probe takes any certificate")
    interval: Annotated[DurationMs, duration_between(PROBE_INTERVAL_MS_MIN, 3_600_000)] = _written("1s")
    timeout: LookTimeout = _written("500ms")
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
    verify_down: tuple[DownCheckConfig, ...] = Field(default=(), max_length=CHECKS_MAX)
    probes: tuple[ProbeConfig, ...] = Field(default=(), max_length=PROBES_MAX)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _unique([probe.name for probe in self.probes], "probe", "probes")
        _unique([check.name for check in self.verify_down], "check", "verify_down")
        if (self.stop_budget is None) is not (self.kill_budget is None):
            raise refusal("stop_budget and kill_budget belong together", "write both or none")
        budgets = self.budgets
        if budgets is not None:
            for violation in check_site(_LONGEST_LEASE, budgets):
                raise refusal(f"{violation.field} = {violation.value}: {violation.rule}", violation.remedy)
        return self

    @property
    def budgets(self) -> SiteBudgets | None:
        if self.stop_budget is None or self.kill_budget is None:
            return None
        return SiteBudgets(self.stop_budget, self.kill_budget)


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
    groups: tuple[GroupConfig, ...] = Field(max_length=limits.HEARTBEAT_GROUPS_MAX)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.witnesses or not self.groups:
            raise refusal("at least one witness and one group are needed", "add them")
        _unique([witness.id for witness in self.witnesses], "witness", "witnesses")
        _unique([witness.address for witness in self.witnesses], "address", "witnesses")
        _unique([group.group for group in self.groups], "group", "groups")
        if self.state_dir == self.runtime_dir:
            raise refusal(
                "state_dir outlives a reboot, runtime_dir must not: they differ", "choose two directories"
            )
        length = len(str(self.socket_path).encode())
        if length > UNIX_PATH_BYTES_MAX:
            raise refusal(
                f"the socket's path {self.socket_path} has {length} bytes, Unix takes {UNIX_PATH_BYTES_MAX}",
                "choose a shorter runtime_dir or local.socket",
            )
        return self

    @property
    def socket_path(self) -> Path:
        return self.local.socket or self.runtime_dir / "agent.sock"

    @property
    def http_address(self) -> Address | None:
        return self.local.http


def load_agent_config(path: Path) -> AgentConfig:
    """Raises ConfigRefused with every problem of the file."""
    return load_config(path, AgentConfig)


def agent_settings(config: AgentConfig, *, store_id: bytes, agent_version: str) -> AgentSettings:
    """What the core needs of it, as plain values."""
    return AgentSettings(
        site=config.site,
        cluster=config.cluster,
        agent_version=agent_version,
        store_id=store_id,
        witnesses=tuple(witness.id for witness in config.witnesses),
        groups=tuple(
            GroupSettings(
                group=group.group,
                enforce=group.enforce,
                budgets=group.budgets,
                activation_timeout_ms=group.activation.timeout,
                deactivation_timeout_ms=group.deactivation.timeout,
                probes=tuple(ProbeSettings(one.name, one.role, one.rise, one.fall) for one in group.probes),
            )
            for group in config.groups
        ),
    )
