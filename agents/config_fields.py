"""The words of the agent's configuration file that several parts of it share, each with its rule and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from proto.edge.config_file import refusal
from proto.edge.config_types import DurationMs, duration_between
from proto.units import ClusterId

COMMAND_ITEMS_MAX = 256
TIMEOUT_MS_MIN = 10
PLAN_TIMEOUT_MS_MAX = 86_400_000


def written(duration: str) -> Any:
    """A default as it would stand in the file; it passes the same validators."""
    return Field(default=duration)


def unique(items: Sequence[object], what: str, field: str) -> None:
    """Refuses the first one that stands there twice."""
    seen: set[object] = set()
    for item in items:
        if item in seen:
            raise refusal(f"{what} {item!s} stands in {field} twice", "remove or rename one of the two")
        seen.add(item)


def _hex_id(value: object) -> str:
    if not isinstance(value, str) or len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise refusal("a cluster id is 32 lower-case hex digits", "take it from `witness pki show ca.pem`")
    return value


def _argv(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not value[0]:
        raise refusal("a command is a list whose first item is the program", 'write for example ["/bin/true"]')
    if len(value) > COMMAND_ITEMS_MAX or any("\0" in item for item in value):
        raise refusal(f"at most {COMMAND_ITEMS_MAX} items without NUL are taken", "put the rest into a script")
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


ClusterHex = Annotated[
    ClusterId, BeforeValidator(_hex_id), WithJsonSchema({"type": "string", "pattern": "^[0-9a-f]{32}$"})
]
Command = Annotated[tuple[str, ...], AfterValidator(_argv)]
Environment = Annotated[dict[str, str], AfterValidator(_environment)]
Label = Annotated[str, AfterValidator(_label)]
PlanTimeout = Annotated[DurationMs, duration_between(TIMEOUT_MS_MIN, PLAN_TIMEOUT_MS_MAX)]
LookTimeout = Annotated[DurationMs, duration_between(TIMEOUT_MS_MIN, 60_000)]
