"""What the handlers are given: one typed value in the application, instead of globals or string keys."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from proto.clock import Clock
from proto.commands import Author, Command, PutEscrow, ReleaseLease
from proto.events import Event
from proto.groups import GroupConfig
from proto.messages import Ping
from proto.units import ClusterId, GroupId, Incarnation, SiteId, WitnessId
from witness.core.effects import Outcome
from witness.core.notify.state import OpenAlarm
from witness.http.stream_table import StreamTable
from witness.runtime.telemetry import Telemetry
from witness.settings import LimitSettings


class Cluster(Protocol):
    """What the handlers ask of the witness behind them (witness.runtime.driver, and fakes in tests)."""

    def pinged(self, site: SiteId, incarnation: Incarnation, ping: Ping) -> None:
        """Before its pong is sent."""

    def heartbeat(self, frame: bytes, on_outcome: Callable[[Outcome], None], speaker: object) -> None: ...

    def withdraw(self, speaker: object) -> None:
        """The speaker's stream is over: what of it was not proposed yet never is."""

    def release(self, command: ReleaseLease, on_outcome: Callable[[Outcome], None]) -> None: ...
    def put_escrow(self, command: PutEscrow, on_outcome: Callable[[Outcome], None]) -> None: ...
    async def submit(self, command: Command) -> Outcome: ...
    def plan_switchover(self, group: GroupId, to: SiteId, author: Author) -> Command | Outcome: ...
    def place(self) -> tuple[bool, bool, bool]:
        """Leading, has quorum, caught up."""

    def feature_level(self) -> int:
        """What agents may say to this cluster."""

    def summary(self) -> dict[str, Any]: ...
    def timing(self) -> dict[str, Any]:
        """What this witness measured."""

    def group_names(self) -> list[GroupId]: ...
    def group_status(self, group: GroupId) -> dict[str, Any] | None: ...
    def group_config(self, group: GroupId) -> tuple[GroupConfig, int] | None:
        """The configuration and its version."""

    def events(self, after_seq: int, limit: int) -> list[Event]: ...
    def events_head(self) -> int: ...
    def alarms(self) -> Mapping[int, OpenAlarm]:
        """Open alarms, by the number of their first event."""


class Telling(Protocol):
    """What the handlers ask of whoever tells people (witness.notify.notifier)."""

    def run(self) -> Coroutine[Any, Any, None]: ...
    async def stop(self) -> None: ...
    def view(self) -> dict[str, Any]: ...
    async def test(self, name: str, author: str) -> list[dict[str, Any]]:
        """One letter to that target, or to each; raises BadValue for a name that is none."""


@dataclass(frozen=True, slots=True)
class Services:
    cluster_id: ClusterId
    witness: WitnessId
    cluster: Cluster
    streams: StreamTable
    telemetry: Telemetry
    limits: LimitSettings
    clock: Clock
    notifier: Telling | None = None
    """None: nobody is told of anything."""


@dataclass(slots=True)
class Gate:
    """How many operators' requests run now."""

    running: int = 0


SERVICES = web.AppKey("services", Services)
GATE = web.AppKey("gate", Gate)
