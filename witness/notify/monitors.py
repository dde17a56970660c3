"""Pings to outside monitors, which raise the alarm when the pings stop: what a cluster cannot tell of itself.

Rule: the witness that leads pings, and only while a majority decides, every witness is connected, and every group of
the monitor is as it should be (witness/core/notify/wellness.py). Doubt is silence. Groups are looked at a few at a
time: the same thread carries the renewals.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from proto.edge.logs import get_logger
from proto.units import NS_PER_MS, GroupId, InstantNs
from witness.core.notify.lanes import chosen
from witness.core.notify.settings import Monitor
from witness.notify.letter import Sender, of_ping
from witness.notify.outlet import Outlet

SLICE: Final = 20
"""Groups that are looked at before the others on this thread have their turn."""
log = get_logger(__name__)


class Groups(Protocol):
    """What a monitor looks at."""

    def names(self) -> Iterable[GroupId]: ...
    def unwell(self, group: GroupId, *, standby: bool) -> str:
        """Why it is not as it should be; empty when it is, or is gone."""

    def cluster_unwell(self) -> str: ...


@dataclass(slots=True)
class _State:
    next_at: InstantNs = InstantNs(0)  # noqa: RUF009 - a NewType of an int
    pinged: InstantNs | None = None
    silent_for: str = ""
    """Why the last ping was kept back, or did not arrive."""


class Monitors:
    def __init__(self, monitors: tuple[Monitor, ...], sender: Sender, outlet: Outlet, groups: Groups) -> None:
        self._monitors = monitors
        self._sender = sender
        self._outlet = outlet
        self._groups = groups
        self._states = {monitor.name: _State() for monitor in monitors}

    def due(self, now: InstantNs) -> list[Monitor]:
        """Those whose turn it is; each is in turn again one period later."""
        found = [monitor for monitor in self._monitors if now >= self._states[monitor.name].next_at]
        for monitor in found:
            self._states[monitor.name].next_at = InstantNs(now + monitor.every_ms * NS_PER_MS)
        return found

    async def ping(self, monitor: Monitor, now: InstantNs) -> None:
        state = self._states[monitor.name]
        names = [name for name in self._groups.names() if chosen(name, monitor.groups)]
        why = await self._why_silent(monitor, names)
        if not why:
            report = await self._outlet.send(
                monitor.way, of_ping(self._sender, monitor.name, secrets.token_hex(8), names)
            )
            why = report.text if not report.ok else ""
            state.pinged = now if report.ok else state.pinged
        if why != state.silent_for:
            log.info("monitor", monitor=monitor.name, silent_for=why or None)
        state.silent_for = why

    async def _why_silent(self, monitor: Monitor, names: list[GroupId]) -> str:
        cluster = self._groups.cluster_unwell()
        if cluster:
            return cluster
        for place, name in enumerate(names):
            if place % SLICE == 0:
                await asyncio.sleep(0)
            group = self._groups.unwell(name, standby=monitor.standby)
            if group:
                return group
        return ""

    def view(self, now: InstantNs) -> list[Mapping[str, Any]]:
        return [
            {
                "monitor": name,
                "pinged_ms_ago": None if state.pinged is None else (now - state.pinged) // NS_PER_MS,
                "silent_for": state.silent_for or None,
            }
            for name, state in self._states.items()
        ]
