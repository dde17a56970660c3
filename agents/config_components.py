"""`components` of a group in the agent's configuration: what the platform consists of, and what proves it down.

Rule: a component that does not say what proves it down is refused, with the key to add; a key that means nothing for
its kind or role is refused too, because somebody relied on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from agents.components.spec import ENGINE_SOCKET, ComponentKind, ComponentRole, ComponentSpec
from agents.config_fields import Command, Label, LookTimeout, unique, written
from proto.edge.config_file import ConfigModel, refusal
from proto.edge.config_types import ConfigPath

COMPONENTS_MAX = 64
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,247}\.service")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")

_K, _R = ComponentKind, ComponentRole
_NEEDS: dict[tuple[ComponentKind, ComponentRole], tuple[str, ...]] = {
    (_K.PROCESS, _R.EXCLUSIVE): (),
    (_K.UNIT, _R.EXCLUSIVE): ("unit",),
    (_K.CONTAINER, _R.EXCLUSIVE): ("container",),
    (_K.DATABASE, _R.EXCLUSIVE): ("down",),
    (_K.UNIT, _R.DUAL_ROLE): ("unit", "out_of_role", "standby_start"),
    (_K.CONTAINER, _R.DUAL_ROLE): ("container", "out_of_role", "standby_start"),
    (_K.DATABASE, _R.DUAL_ROLE): ("out_of_role", "standby_start"),
}
_MAY: dict[tuple[ComponentKind, ComponentRole], tuple[str, ...]] = {
    (_K.UNIT, _R.EXCLUSIVE): ("under_exec",),
    (_K.CONTAINER, _R.EXCLUSIVE): ("engine", "under_exec"),
    (_K.DATABASE, _R.EXCLUSIVE): ("end",),
    (_K.UNIT, _R.DUAL_ROLE): ("rejoined",),
    (_K.CONTAINER, _R.DUAL_ROLE): ("engine", "rejoined"),
    (_K.DATABASE, _R.DUAL_ROLE): ("end", "rejoined"),
}
"""What else may stand there; `name`, `kind`, `role` and `timeout` always may."""
_WHY = {
    "unit": 'for example `unit: "api-server.service"`',
    "container": "the container's name",
    "down": "a command that exits with 0 when it is down",
    "out_of_role": "a command that exits with 0 when it is dead, read-only or following",
    "standby_start": "a command that exits with 0 when its next start is in the standby role",
}


class ComponentConfig(ConfigModel):
    name: Label
    kind: ComponentKind
    role: ComponentRole = Field(default=ComponentRole.EXCLUSIVE, description="dual-role: it also runs as a replica")
    unit: str | None = Field(default=None, description="kind unit: a service of systemd")
    container: str | None = Field(default=None, description="kind container: its name")
    engine: ConfigPath | None = Field(default=None, description=f"the engine's socket, default {ENGINE_SOCKET}")
    under_exec: bool | None = Field(default=None, description="its command is wrapped by `site-agent exec`")
    down: Command | None = Field(default=None, description=_WHY["down"])
    out_of_role: Command | None = Field(default=None, description=_WHY["out_of_role"])
    standby_start: Command | None = Field(default=None, description=_WHY["standby_start"])
    rejoined: Command | None = Field(
        default=None, description="a command that exits with 0 when a former primary follows again"
    )
    end: Command | None = Field(default=None, description="a command that takes it down, or out of its role, at once")
    timeout: Annotated[LookTimeout, Field(description="of each look and command")] = written("5s")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        shape = (self.kind, self.role)
        if shape not in _NEEDS:
            raise refusal(
                "a process ends with the lease, so it cannot be a replica beside it",
                "write role exclusive, or name the unit, container or database that runs in both roles",
            )
        for key in _NEEDS[shape]:
            if getattr(self, key) is None:
                raise refusal(f"kind {self.kind.value} in role {self.role.value} needs {key}", f"add it: {_WHY[key]}")
        taken = {*_NEEDS[shape], *_MAY.get(shape, ()), "name", "kind", "role", "timeout"}
        for key in sorted(type(self).model_fields.keys() - taken):
            if getattr(self, key) is not None:
                raise refusal(f"kind {self.kind.value} in role {self.role.value} has no {key}", f"remove {key}")
        _matches(self.unit, _UNIT, "a unit is the full name of a service", 'write for example "api-server.service"')
        _matches(self.container, _CONTAINER, "a container's name has letters, digits, '_', '.' and '-'", "correct it")
        return self

    def spec(self) -> ComponentSpec:
        return ComponentSpec(
            name=self.name,
            kind=self.kind,
            role=self.role,
            under_exec=self.under_exec or self.kind is ComponentKind.PROCESS,
            unit=self.unit or "",
            container=self.container or "",
            engine=self.engine or Path(ENGINE_SOCKET),
            down=self.down or (),
            out_of_role=self.out_of_role or (),
            standby_start=self.standby_start or (),
            rejoined=self.rejoined or (),
            end=self.end or (),
            timeout_ms=self.timeout,
        )


def _matches(value: str | None, pattern: re.Pattern[str], rule: str, remedy: str) -> None:
    if value is not None and pattern.fullmatch(value) is None:
        raise refusal(f"{value!r}: {rule}", remedy)


def check_components(components: Sequence[ComponentConfig]) -> None:
    """Names are told apart in the status and in blockers; a unit or container is one component."""
    unique([one.name for one in components], "component", "components")
    unique([one.unit for one in components if one.unit is not None], "unit", "components")
    unique([(one.engine, one.container) for one in components if one.container], "container", "components")
