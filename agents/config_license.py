"""`licenses` of a group in the agent's configuration: where the current key lies, how it is restored, what tells.

Rule: a license that is kept in escrow says where its key is read, how it is put back and which file seals it. A key of
a kind that means nothing is refused, because somebody relied on it. Passwords stand in files of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.config_fields import Command, LookTimeout, PlanTimeout, unique, written
from agents.license.spec import (
    STEP_PREFIX,
    VALUE_BYTES_MAX,
    PlaceKind,
    PlaceSpec,
    SiteLicense,
    WhenUnknown,
)
from agents.license.sql import driver_problem
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import ConfigAddress, ConfigPath, DurationMs, LicenseName, duration_between
from proto.license import LICENSES_PER_GROUP_MAX, EscrowPolicy
from proto.limits import LOCK_DELAY_MS_MAX

LICENSES_MAX = LICENSES_PER_GROUP_MAX
STATEMENT_CHARS_MAX = 2_000
MYSQL_PORT = 3306
_CONNECTION = ("address", "socket", "user", "password_file", "ca")
_PLACEHOLDER = re.compile(r"%s|%%|%")

_K = PlaceKind


class PlaceConfig(ConfigModel):
    """One kind with what it needs."""

    kind: PlaceKind
    path: ConfigPath | None = Field(default=None, description="kind file")
    command: Command | None = Field(default=None, description="kind command: prints the key, or reads it")
    address: ConfigAddress | None = Field(default=None, description="kind sql", examples=["127.0.0.1:3306"])
    socket: ConfigPath | None = Field(default=None, description="kind sql: instead of an address")
    user: Annotated[str, Field(min_length=1, max_length=80)] | None = Field(default=None, description="kind sql")
    password_file: ConfigPath | None = Field(default=None, description="kind sql: mode 0600, one line")
    ca: ConfigPath | None = Field(default=None, description="kind sql: TLS, with a server of this authority")
    timeout: LookTimeout = written("5s")

    def _belongs(self, own: dict[PlaceKind, tuple[str, ...]]) -> None:
        """Refuses what is missing, or means nothing for the kind. The first name of each is needed."""
        needed = own[self.kind][0]
        if getattr(self, needed) is None:
            raise refusal(f"kind {self.kind.value} needs {needed}", "add it")
        for name in sorted({one for names in own.values() for one in names} - set(own[self.kind])):
            if getattr(self, name) is not None:
                raise refusal(f"kind {self.kind.value} has no {name}", f"remove {name}")

    def _spec(self, statement: str | None, connection: PlaceConfig) -> PlaceSpec:
        at = connection.address
        return PlaceSpec(
            kind=self.kind,
            timeout_ms=self.timeout,
            path=self.path,
            command=self.command or (),
            statement=statement or "",
            host="" if at is None else at.host,
            port=MYSQL_PORT if at is None else at.port,
            socket="" if connection.socket is None else str(connection.socket),
            user=connection.user or "",
            password_file=connection.password_file,
            ca=connection.ca,
        )


Statement = Annotated[str, Field(min_length=1, max_length=STATEMENT_CHARS_MAX)]


class SourceConfig(PlaceConfig):
    query: Statement | None = Field(default=None, description="kind sql: one column of one row")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._belongs({_K.SQL: ("query", *_CONNECTION), _K.FILE: ("path",), _K.COMMAND: ("command",)})
        if self.kind is _K.SQL and (self.address is None) is (self.socket is None):
            raise refusal("a database is reached by an address or by a socket", "write one of the two")
        if self.kind is _K.SQL and self.user is None:
            raise refusal("kind sql needs user", "add it")
        return self

    def spec(self) -> PlaceSpec:
        return self._spec(self.query, self)


class SinkConfig(PlaceConfig):
    statement: Statement | None = Field(
        default=None, description="kind sql: changes exactly one row; %s stands for the key"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self._belongs({_K.SQL: ("statement", *_CONNECTION), _K.FILE: ("path",), _K.COMMAND: ("command",)})
        found = _PLACEHOLDER.findall(self.statement or "%s")
        if found.count("%s") != 1 or "%" in found:
            raise refusal("a statement has exactly one %s, for the key, and writes other % as %%", "correct it")
        return self

    @property
    def own_connection(self) -> bool:
        return any(getattr(self, name) is not None for name in _CONNECTION)

    def spec(self, source: SourceConfig | None) -> PlaceSpec:
        """Without a connection of its own it has the source's."""
        return self._spec(self.statement, self if self.own_connection or source is None else source)


class LicenseProbeConfig(ConfigModel):
    command: Command = Field(description="exits with 0 when the license is activated here, with 1 when it is not")
    interval: Annotated[DurationMs, duration_between(200, 3_600_000)] = written("5s")
    timeout: LookTimeout = written("5s")


class LicenseConfig(ConfigModel):
    name: LicenseName = Field(examples=["fingerprint"])
    escrow: EscrowPolicy = Field(
        default=EscrowPolicy.REQUIRED, description="as in the group's file; none: the key does not change"
    )
    key_file: ConfigPath | None = Field(
        default=None, description="the sealing keys, of `site-agent license new-key`; the same on every site"
    )
    source: SourceConfig | None = Field(default=None, description="where the current key is read")
    sink: SinkConfig | None = Field(default=None, description="how a key is put back before the platform starts")
    restore_after: str | None = Field(
        default=None, description="the activation step after which the key is put back; without it first of all"
    )
    unknown: WhenUnknown = Field(
        default=WhenUnknown.REFUSE, description="what an activation does with a key in place that nobody here knows"
    )
    watch: Annotated[DurationMs, duration_between(100, 3_600_000)] = written("1s")
    min_size: Annotated[int, Field(ge=1, le=VALUE_BYTES_MAX)] = 1
    max_size: Annotated[int, Field(ge=1, le=VALUE_BYTES_MAX)] = VALUE_BYTES_MAX
    pattern: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="a regular expression that the whole key matches"
    )
    activate: Command | None = Field(default=None, description="a step behind the restore; idempotent")
    deactivate: Command | None = Field(default=None, description="undoes it; the last step of a deactivation")
    probe: LicenseProbeConfig | None = None
    step_timeout: PlanTimeout = written("30s")
    lock_delay: Annotated[DurationMs, duration_between(0, LOCK_DELAY_MS_MAX)] = Field(
        default="0s",  # type: ignore[assignment]  # as it would stand in the file
        description="how long the vendor keeps a session after an unclean end; the group's must not be shorter",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kept = {"source": self.source, "key_file": self.key_file}
        for name, value in kept.items():
            if (value is None) is not (self.escrow is EscrowPolicy.NONE):
                rule = "needs" if value is None else "has no"
                remedy = f"add {name}" if value is None else f"remove {name}, or write escrow required or optional"
                raise refusal(f"escrow {self.escrow.value} {rule} {name}", remedy)
        self._check_sink()
        if self.min_size > self.max_size:
            raise refusal(f"min_size {self.min_size} is larger than max_size {self.max_size}", "exchange the two")
        try:
            re.compile((self.pattern or "").encode())
        except re.error as error:
            raise refusal(f"pattern is no regular expression: {error}", "correct it") from None
        if self.escrow is EscrowPolicy.NONE and not (self.activate or self.probe):
            raise refusal("a license without escrow, activate and probe does nothing", "add one of them")
        if self.activate and not self.deactivate:
            raise refusal("activate needs deactivate", "add the command that undoes it")
        return self

    def _check_sink(self) -> None:
        if self.sink is None:
            if self.escrow is EscrowPolicy.REQUIRED:
                raise refusal("escrow required needs sink", "add it, or write escrow optional")
            return
        if self.escrow is EscrowPolicy.NONE:
            raise refusal("escrow none has no sink", "remove sink")
        shared = self.source is not None and self.source.kind is _K.SQL
        if self.sink.kind is _K.SQL and not (self.sink.own_connection or shared):
            raise refusal("the sink has no database to connect to", "add address or socket, and user")
        if _K.SQL in (self.sink.kind, None if self.source is None else self.source.kind) and driver_problem():
            raise refusal(driver_problem(), "install it, then check again")

    def spec(self) -> SiteLicense:
        return SiteLicense(
            name=self.name,
            escrow=self.escrow,
            source=None if self.source is None else self.source.spec(),
            sink=None if self.sink is None else self.sink.spec(self.source),
            key_file=self.key_file,
            activate=self.activate or (),
            deactivate=self.deactivate or (),
            probe=() if self.probe is None else self.probe.command,
            probe_ms=5_000 if self.probe is None else self.probe.interval,
            timeout_ms=5_000 if self.probe is None else self.probe.timeout,
            step_timeout_ms=self.step_timeout,
            lock_delay_ms=self.lock_delay,
            watch_ms=self.watch,
            size_min=self.min_size,
            size_max=self.max_size,
            pattern=self.pattern or "",
            restore_after=self.restore_after or "",
            unknown=self.unknown,
        )


def check_licenses(licenses: Sequence[LicenseConfig], activation: Sequence[str], deactivation: Sequence[str]) -> None:
    """`activation` and `deactivation`: the names of the plans' own steps."""
    unique([one.name for one in licenses], "license", "licenses")
    taken = [name for name in (*activation, *deactivation) if name.startswith(STEP_PREFIX)]
    if licenses and taken:
        raise refusal(f"step {taken[0]} is called like the steps of a license", "rename it")
    for one in licenses:
        if one.restore_after is not None and one.restore_after not in activation:
            rule = f"license {one.name}: restore_after names {one.restore_after}, which is no activation step"
            raise refusal(rule, f"name one of {', '.join(activation) or 'the steps that you add'}, or remove it")
