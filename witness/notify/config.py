"""The `notify` section of a witness's file (docs/reference/notifications.md): who is told of what, and by which means.

Secrets, and addresses that hold one, stand in files of their own, one each; here are their paths. The section should be
the same on every witness: the one that leads tells.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from proto.edge.config_file import ConfigModel, refusal, refusal_of
from proto.edge.config_types import ConfigPath, DurationMs, duration_between
from proto.errors import BadValue
from proto.events import EventKind
from proto.severity import Severity
from proto.units import check_name
from witness.core.notify.settings import (
    MONITORS_MAX,
    TARGETS_MAX,
    Means,
    Monitor,
    NotifySettings,
    QuietHours,
    Target,
    Way,
)

ARGUMENTS_MAX = 32
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\*?|\*")


def _written(duration: str, description: str | None = None) -> Any:
    """A default as people write it: it is validated like what stands in a file."""
    return Field(default=duration, description=description)


def _name(value: Any) -> str:
    try:
        return check_name(value, "name")
    except BadValue as error:
        raise refusal_of(error) from error


def _clock(value: Any) -> str:
    """An AfterValidator would come too late: YAML reads 22:00 without quotes as a number of seconds, or as text."""
    if not isinstance(value, str) or _CLOCK.fullmatch(value) is None:
        raise refusal("a time of day is HH:MM in quotes", 'write for example "22:00"')
    return value


def _pattern(value: str) -> str:
    if _PATTERN.fullmatch(value) is None:
        raise refusal("a group's name, or the beginning of names with * behind it", "write for example shop or shop-*")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        remedy = 'write for example "Europe/Berlin"; install the time zones (tzdata) if it is right'
        raise refusal("this machine knows no such time zone", remedy) from error
    return value


def _web(value: str) -> str:
    if not value.startswith(("http://", "https://")) or any(char.isspace() for char in value):
        raise refusal("begins with https:// or http:// and has no blanks", "write the whole address, or use url_file")
    if "@" in value.partition("://")[2].partition("/")[0]:
        raise refusal("holds a password", "put the address into a file and name that with url_file")
    return value


Name = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string"})]
TimeOfDay = Annotated[str, BeforeValidator(_clock), WithJsonSchema({"type": "string", "examples": ["22:00"]})]
Pattern = Annotated[str, AfterValidator(_pattern)]
Url = Annotated[str, AfterValidator(_web)]
Timeout = Annotated[DurationMs, duration_between(500, 60_000)]
RetryFor = Annotated[DurationMs, duration_between(0, 86_400_000)]
Every = Annotated[DurationMs, duration_between(10_000, 3_600_000)]
GroupWait = Annotated[DurationMs, duration_between(0, 600_000)]
GroupInterval = Annotated[DurationMs, duration_between(0, 3_600_000)]
RemindEvery = Annotated[DurationMs, duration_between(60_000, 604_800_000)]


class Day(Enum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


class AppriseConfig(ConfigModel):
    """Mail, chat and whatever else apprise knows."""

    url_file: ConfigPath = Field(
        examples=["/etc/thirdsite/notify/mail.url"], description="a file with one apprise address, readable by us alone"
    )


class _Address(ConfigModel):
    url: Url | None = Field(default=None, examples=["https://hooks.example.net/thirdsite"])
    url_file: ConfigPath | None = Field(default=None, description="instead of url, when the address holds a secret")
    ca: ConfigPath | None = Field(
        default=None, description="certificates to check the receiver with; else the system's"
    )

    @model_validator(mode="after")
    def _one_address(self) -> _Address:
        if (self.url is None) == (self.url_file is None):
            raise refusal("exactly one of url and url_file is needed", "url_file, when a token stands in the address")
        return self

    def way(self, means: Means, timeout_ms: int, secret: str = "") -> Way:
        return Way(
            means.value,
            url=self.url or "",
            url_file="" if self.url_file is None else str(self.url_file),
            secret_file=secret,
            ca="" if self.ca is None else str(self.ca),
            timeout_ms=timeout_ms,
        )


class WebhookConfig(_Address):
    """A signed HTTP POST."""

    secret_file: ConfigPath = Field(
        examples=["/etc/thirdsite/notify/hook.secret"], description="what requests are signed with; 16 bytes or more"
    )


class ExecConfig(ConfigModel):
    """A command that is given the notification as JSON on its standard input."""

    command: tuple[str, ...] = Field(
        min_length=1, max_length=ARGUMENTS_MAX, examples=['["/usr/local/bin/send-sms", "+4912345"]']
    )

    @model_validator(mode="after")
    def _absolute(self) -> ExecConfig:
        if not self.command[0].startswith("/"):
            raise refusal(f"command {self.command[0]!r:.60} is no absolute path", "write the whole path of the program")
        return self

    def way(self, timeout_ms: int) -> Way:
        return Way(Means.EXEC.value, command=self.command, timeout_ms=timeout_ms)


class TargetConfig(ConfigModel):
    """One receiver, and what it wants to know."""

    name: Name = Field(examples=["on-call"])
    apprise: AppriseConfig | None = None
    webhook: WebhookConfig | None = None
    exec: ExecConfig | None = None
    severity: Severity = Field(default=Severity.WARNING, description="the least that is told")
    groups: tuple[Pattern, ...] = Field(default=(), max_length=64, description="without it: all")
    kinds: tuple[EventKind, ...] = Field(default=(), description="only these kinds of events; without it: all")
    kinds_not: tuple[EventKind, ...] = Field(default=(), description="never these")
    quiet_hours: tuple[Name, ...] = Field(default=(), max_length=8, description="names of notify.quiet_hours")
    remind: bool = Field(default=True, description="say again what nobody acknowledged")
    timeout: Timeout = _written("10s", "for one attempt")
    retry_for: RetryFor = _written("15m", "until a notification is given up")

    @model_validator(mode="after")
    def _one_means(self) -> TargetConfig:
        named = [means for means in ("apprise", "webhook", "exec") if getattr(self, means) is not None]
        if len(named) != 1:
            said = " and ".join(named) or "none"
            raise refusal(
                f"a target has exactly one of apprise, webhook, exec; here is {said}", "make a target of each"
            )
        return self

    def settings(self) -> Target:
        return Target(
            name=self.name,
            way=self._way(),
            severity=self.severity.value,
            groups=self.groups,
            kinds=tuple(kind.value for kind in self.kinds),
            kinds_not=tuple(kind.value for kind in self.kinds_not),
            quiet_hours=self.quiet_hours,
            remind=self.remind,
            retry_for_ms=self.retry_for,
        )

    def _way(self) -> Way:
        if self.apprise is not None:
            return Way(Means.APPRISE.value, url_file=str(self.apprise.url_file), timeout_ms=self.timeout)
        if self.webhook is not None:
            return self.webhook.way(Means.WEBHOOK, self.timeout, str(self.webhook.secret_file))
        if self.exec is not None:
            return self.exec.way(self.timeout)
        raise refusal("a target has exactly one of apprise, webhook, exec", "name one")


class QuietHoursConfig(ConfigModel):
    """Holds back what is not critical, until they are over."""

    name: Name = Field(examples=["night"])
    begin: TimeOfDay = Field(examples=['"22:00"'])
    end: TimeOfDay = Field(examples=['"07:00"'], description="at or before the begin: on the next day")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(examples=["Europe/Berlin"])
    days: tuple[Day, ...] = Field(default=tuple(Day), min_length=1, description="on which they begin")

    def settings(self) -> QuietHours:
        days = tuple(sorted(list(Day).index(day) for day in set(self.days)))
        return QuietHours(self.name, _minutes(self.begin), _minutes(self.end), self.time_zone, days)


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


class MonitorConfig(ConfigModel):
    """An outside monitor that raises the alarm when the pings stop."""

    name: Name = Field(examples=["kuma"])
    get: _Address | None = None
    post: _Address | None = None
    exec: ExecConfig | None = None
    every: Every = _written("1m")
    timeout: Timeout = _written("10s")
    groups: tuple[Pattern, ...] = Field(default=(), max_length=64, description="that must be well; without it: all")
    standby: bool = Field(default=True, description="a group is well only while another site could take over")

    @model_validator(mode="after")
    def _one_means(self) -> MonitorConfig:
        named = [means for means in ("get", "post", "exec") if getattr(self, means) is not None]
        if len(named) != 1:
            said = " and ".join(named) or "none"
            raise refusal(f"a monitor has exactly one of get, post, exec; here is {said}", "make a monitor of each")
        if self.timeout > self.every:
            raise refusal("timeout is longer than every", "shorten timeout")
        return self

    def settings(self) -> Monitor:
        return Monitor(self.name, self._way(), self.every, self.groups, self.standby)

    def _way(self) -> Way:
        if self.get is not None:
            return self.get.way(Means.GET, self.timeout)
        if self.post is not None:
            return self.post.way(Means.POST, self.timeout)
        if self.exec is not None:
            return self.exec.way(self.timeout)
        raise refusal("a monitor has exactly one of get, post, exec", "name one")


class NotifyConfig(ConfigModel):
    """Who is told of what."""

    targets: tuple[TargetConfig, ...] = Field(default=(), max_length=TARGETS_MAX)
    quiet_hours: tuple[QuietHoursConfig, ...] = Field(default=(), max_length=8)
    monitors: tuple[MonitorConfig, ...] = Field(default=(), max_length=MONITORS_MAX)
    group_wait: GroupWait = _written("10s", "what is not critical waits so long for more of its kind")
    group_interval: GroupInterval = _written("1m", "between two notifications that are not critical")
    remind_every: RemindEvery = _written("30m", "until somebody acknowledges the alarm, or it is over")

    @model_validator(mode="after")
    def _relations(self) -> NotifyConfig:
        for what in ("targets", "quiet_hours", "monitors"):
            names = [one.name for one in getattr(self, what)]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise refusal(f"{what} name {', '.join(twice)} more than once", "give each its own name")
        known = {hours.name for hours in self.quiet_hours}
        for target in self.targets:
            unknown = sorted(set(target.quiet_hours) - known)
            if unknown:
                rule = f"target {target.name} names quiet hours {', '.join(unknown)} that there are not"
                raise refusal(rule, f"known are: {', '.join(sorted(known)) or 'none'}")
        return self

    def settings(self) -> NotifySettings:
        return NotifySettings(
            targets=tuple(target.settings() for target in self.targets),
            monitors=tuple(monitor.settings() for monitor in self.monitors),
            quiet_hours=tuple(hours.settings() for hours in self.quiet_hours),
            group_wait_ms=self.group_wait,
            group_interval_ms=self.group_interval,
            remind_every_ms=self.remind_every,
        )
