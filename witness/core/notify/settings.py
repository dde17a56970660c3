"""What a witness is told about telling people, as plain values: the checked `notify` section without its file format.

Only paths of secrets stand here, never a secret: the process that delivers reads them (witness/notify/worker.py).
Everything is text, numbers and tuples, so that it travels as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from proto.severity import Severity

TARGETS_MAX = 16
MONITORS_MAX = 8


class Means(Enum):
    APPRISE = "apprise"
    WEBHOOK = "webhook"
    EXEC = "exec"
    GET = "get"
    POST = "post"


@dataclass(frozen=True, slots=True)
class QuietHours:
    name: str
    start_min: int
    """Minutes after midnight, in the time zone."""
    end_min: int
    """At or before the start: on the next day."""
    time_zone: str
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    """Days on which they begin; 0 is Monday."""


@dataclass(frozen=True, slots=True)
class Way:
    """How something is delivered, for targets and for outside monitors alike."""

    means: str
    """A value of Means."""
    url: str = ""
    url_file: str = ""
    secret_file: str = ""
    ca: str = ""
    command: tuple[str, ...] = ()
    timeout_ms: int = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    way: Way
    severity: str = Severity.WARNING.value
    """The least that is told."""
    groups: tuple[str, ...] = ()
    """Names, or beginnings with a '*' behind them; empty: all."""
    kinds: tuple[str, ...] = ()
    """Kinds of events; empty: all."""
    kinds_not: tuple[str, ...] = ()
    quiet_hours: tuple[str, ...] = ()
    remind: bool = True
    retry_for_ms: int = 900_000


@dataclass(frozen=True, slots=True)
class Monitor:
    """An outside monitor that raises the alarm when the pings stop."""

    name: str
    way: Way
    every_ms: int = 60_000
    groups: tuple[str, ...] = ()
    standby: bool = True
    """A group without a site that could take over is not as it should be."""


@dataclass(frozen=True, slots=True)
class NotifySettings:
    targets: tuple[Target, ...] = ()
    monitors: tuple[Monitor, ...] = ()
    quiet_hours: tuple[QuietHours, ...] = field(default=())
    group_wait_ms: int = 10_000
    """What is not critical waits so long for more of its kind."""
    group_interval_ms: int = 60_000
    """At least this lies between two notifications of a target that are not critical."""
    remind_every_ms: int = 1_800_000

    def target(self, name: str) -> Target | None:
        return next((target for target in self.targets if target.name == name), None)


def from_plain(raw: dict[str, Any] | None) -> NotifySettings | None:
    """Reads what `dataclasses.asdict` and JSON made of it; anything else is a bug and raises."""
    if raw is None:
        return None
    plain = {name: value for name, value in raw.items() if name not in ("targets", "monitors", "quiet_hours")}
    return NotifySettings(
        targets=tuple(Target(**_with_way(one)) for one in raw["targets"]),
        monitors=tuple(Monitor(**_with_way(one)) for one in raw["monitors"]),
        quiet_hours=tuple(QuietHours(**_tuples(one)) for one in raw["quiet_hours"]),
        **plain,
    )


def _tuples(raw: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def _with_way(raw: dict[str, Any]) -> dict[str, Any]:
    return {**_tuples(raw), "way": Way(**_tuples(raw["way"]))}
