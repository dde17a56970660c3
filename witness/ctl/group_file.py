"""groups.yaml: groups as people write them, with units, into the fields that the API takes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from proto import limits
from proto.edge.config_file import ConfigModel, config_schema, load_config, refusal
from proto.edge.config_types import DurationMs, GroupName, LicenseName, SiteName, duration_between
from proto.errors import BadValue
from proto.groups import BOUNDS, LAG_MS_MAX, Failback, GroupConfig, Mode, WitnessLoss, check_group
from proto.lease import LeaseConstants
from proto.license import LICENSES_PER_GROUP_MAX, EscrowPolicy, LicenseSpec
from proto.permit import AFTER_MS_DEFAULT, AFTER_MS_MAX, AFTER_MS_MIN
from witness.timing.compiler import Refusal, compile_wish, judge
from witness.timing.wish import Wish

PPM_PER_PERCENT = 10_000


def _percent(value: Any) -> int:
    """Reads "1%" as parts per million."""
    rule = "a share is written in percent"
    if not isinstance(value, str) or not value.endswith("%"):
        raise refusal(rule, 'write for example "1%" or "0.5%"')
    try:
        exact = Decimal(value.removesuffix("%").strip()) * PPM_PER_PERCENT
    except ArithmeticError as error:
        raise refusal(rule, 'write for example "1%" or "0.5%"') from error
    if not exact.is_finite() or exact != int(exact):
        raise refusal("at most four decimals are kept", "round it")
    return int(exact)


def _drift_range(ppm: int) -> int:
    low, high = limits.DRIFT_MAX_PPM_MIN, limits.DRIFT_MAX_PPM_MAX
    if not low <= ppm <= high:
        rule = f"must lie between {low / PPM_PER_PERCENT:g}% and {high / PPM_PER_PERCENT:g}%"
        raise refusal(rule, "choose a share in that range")
    return ppm


Percent = Annotated[int, BeforeValidator(_percent), WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?%$"})]
Drift = Annotated[Percent, AfterValidator(_drift_range)]
Ttl = Annotated[DurationMs, duration_between(limits.TTL_MS_MIN, limits.TTL_MS_MAX)]
LockDelay = Annotated[DurationMs, duration_between(0, limits.LOCK_DELAY_MS_MAX)]
_DEFAULTS = GroupConfig.__dataclass_fields__
_BOUNDS = {name: (low, high) for name, low, high in BOUNDS}


def _between(field: str) -> AfterValidator:
    """The core's bounds, told with the file's units."""
    return duration_between(*_BOUNDS[field])


def _ms(field: str) -> Any:
    """The core's default, as people write it: defaults are validated too."""
    return Field(default=f"{_DEFAULTS[field].default}ms")


class BreakGlassSpec(ConfigModel):
    """Whose permits the group takes when all witnesses are lost, and how long they must have been away."""

    key: str = Field(description="the public key that `witness pki break-glass init` printed")
    after: Annotated[DurationMs, duration_between(AFTER_MS_MIN, AFTER_MS_MAX)] = _ms("break_glass_after_ms")


class LicenseEntry(ConfigModel):
    """What may be activated at one site only, by the name that the agents' configuration has for it, too."""

    name: LicenseName = Field(examples=["fingerprint"])
    escrow: EscrowPolicy = Field(
        default=EscrowPolicy.REQUIRED,
        description="required: a site without the newest sealed key is not activated; optional: it may be; none: the "
        "key never changes, only double activation is watched for",
    )


class TimingSpec(ConfigModel):
    """A wish instead of a ttl: the ttl follows from it, with the delays that are assumed (`witnessctl timing`)."""

    takeover_within: DurationMs | None = Field(default=None, examples=["10s"])
    tolerate_silence: DurationMs | None = Field(default=None, examples=["2s"])
    activation: DurationMs = Field(default="0s")  # type: ignore[assignment]  # validated

    @model_validator(mode="after")
    def _something(self) -> TimingSpec:
        if self.takeover_within is None and self.tolerate_silence is None:
            raise refusal("a wish names takeover_within or tolerate_silence", "add one, or remove timing")
        return self

    def wish(self, drift_max_ppm: int, lock_delay_ms: int) -> Wish:
        return Wish(
            takeover_ms=self.takeover_within,
            silence_ms=self.tolerate_silence,
            activation_ms=self.activation,
            drift_max_ppm=drift_max_ppm,
            lock_delay_ms=lock_delay_ms,
        )


class GroupSpec(ConfigModel):
    """One group; what is left out has the default that is shown by `witnessctl status GROUP --json`."""

    group: GroupName = Field(examples=["shop"])
    sites: tuple[SiteName, ...] = Field(examples=["[dc-a, dc-b]"], description="the preferred site first")
    ttl: Ttl = Field(default=f"{limits.TTL_MS_DEFAULT}ms")  # type: ignore[assignment]  # validated
    drift_max: Drift = Field(default="1%")  # type: ignore[assignment]  # validated
    lock_delay: LockDelay = Field(default="0s")  # type: ignore[assignment]  # validated
    timing: TimingSpec | None = Field(default=None, description="a wish that the ttl follows from, or must meet")
    mode: Mode = Mode.AUTOMATIC
    unhealthy_for: Annotated[DurationMs, _between("unhealthy_for_ms")] = _ms("unhealthy_for_ms")
    max_replication_lag: Annotated[DurationMs, duration_between(0, LAG_MS_MAX)] | None = None
    failback: Failback = Failback.MANUAL
    failback_after: Annotated[DurationMs, _between("failback_after_ms")] = _ms("failback_after_ms")
    cooldown: Annotated[DurationMs, _between("cooldown_ms")] = _ms("cooldown_ms")
    moves_max: int = 3
    moves_window: Annotated[DurationMs, _between("moves_window_ms")] = _ms("moves_window_ms")
    handover_timeout: Annotated[DurationMs, _between("handover_timeout_ms")] = _ms("handover_timeout_ms")
    activation_backoff: Annotated[DurationMs, _between("activation_backoff_ms")] = _ms("activation_backoff_ms")
    witness_loss: WitnessLoss = Field(
        default=WitnessLoss.HOLD,
        description="when no witness answers: go on while every other site holds (needs site links), or fence",
    )
    labels: dict[str, str] = Field(default_factory=dict)
    break_glass: BreakGlassSpec | None = None
    licenses: tuple[LicenseEntry, ...] = Field(default=(), max_length=LICENSES_PER_GROUP_MAX)

    @model_validator(mode="after")
    def _rules(self) -> GroupSpec:
        self._meet_the_wish()
        try:
            check_group(self.config())
        except BadValue as error:
            field = error.field.removeprefix(f"groups.{self.group}.")
            raise refusal(f"{field}: {error.value!r}: {error.rule}", error.remedy) from error
        return self

    def _meet_the_wish(self) -> None:
        """The ttl follows from the wish; one that stands beside it must meet it."""
        if self.timing is None:
            return
        wish = self.timing.wish(self.drift_max, self.lock_delay)
        if "ttl" not in self.model_fields_set:
            found = compile_wish(wish)
            if isinstance(found, Refusal):
                raise refusal(f"timing: {found.words()}", "wish for one of these, or see `witnessctl timing`")
            object.__setattr__(self, "ttl", found.timers.ttl_ms)
            return
        broken = [one for one in judge(wish, self.ttl).inequalities if not one.holds]
        if broken:
            text = "; ".join(one.words() for one in broken)
            raise refusal(f"timing with ttl {self.ttl} ms: {text}", "remove ttl, so that it follows from the wish")

    def config(self) -> GroupConfig:
        return GroupConfig(
            group=self.group,
            sites=self.sites,
            constants=LeaseConstants(self.ttl, self.drift_max, self.lock_delay),
            mode=self.mode,
            unhealthy_for_ms=self.unhealthy_for,
            max_replication_lag_ms=self.max_replication_lag,
            failback=self.failback,
            failback_after_ms=self.failback_after,
            cooldown_ms=self.cooldown,
            moves_max=self.moves_max,
            moves_window_ms=self.moves_window,
            handover_timeout_ms=self.handover_timeout,
            activation_backoff_ms=self.activation_backoff,
            labels=tuple(sorted(self.labels.items())),
            witness_loss=self.witness_loss,
            break_glass_key="" if self.break_glass is None else self.break_glass.key,
            break_glass_after_ms=AFTER_MS_DEFAULT if self.break_glass is None else self.break_glass.after,
            licenses=tuple(LicenseSpec(one.name, one.escrow) for one in self.licenses),
        )


class GroupsFile(ConfigModel):
    groups: tuple[GroupSpec, ...] = Field(min_length=1, max_length=limits.GROUPS_MAX)

    @model_validator(mode="after")
    def _different(self) -> GroupsFile:
        seen: set[str] = set()
        for spec in self.groups:
            if spec.group in seen:
                raise refusal(f"the group {spec.group} is there more than once", "remove one of the two")
            seen.add(spec.group)
        return self


def load_groups(path: Path) -> tuple[GroupConfig, ...]:
    """Raises ConfigRefused."""
    return tuple(spec.config() for spec in load_config(path, GroupsFile).groups)


def groups_schema() -> dict[str, Any]:
    return config_schema(GroupsFile)
