"""From a group's settings to what its guard times in the kernel, and the proof that none of it is left.

Rule: "down" includes that no address of the group is configured here, that each of its ports is closed, and that the
control groups of units outside of its guard are empty: a guard that the kernel ended proves nothing about them. The
proof closes and kills first: what a former life left, or somebody configured by hand, is ours to take away while the
group is down.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agents.actions.down_checks import DownCheck
from agents.fencing.cgroup import end_outside, is_mounted
from agents.fencing.kernel_address import KernelAddress
from agents.fencing.port_table import PortTable
from agents.fencing.timed_resources import HeldAddress, HeldPorts, close_all
from agents.settings import GroupSpec

if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource


def guard_options(group: GroupSpec) -> str:
    """As agents/fencing/guard_options.py takes it apart."""
    resources, ladder = group.resources, group.ladder
    said = {"addresses": resources.addresses, "ports": resources.ports, **dataclasses.asdict(ladder)}
    return json.dumps(said, separators=(",", ":"))


def undo_guard_options(options: str) -> str:
    """Of a guard that is armed without a lease: another site may hold the addresses and ports by then."""
    return json.dumps({"cgroup": json.loads(options).get("cgroup", False)}, separators=(",", ":"))


def timed_resources(group: GroupSpec) -> tuple[TimedResource, ...]:
    resources = group.resources
    addresses = tuple(HeldAddress(KernelAddress(*one)) for one in resources.addresses)
    ports = [(port.protocol, port.port) for port in resources.ports]
    return (*addresses, HeldPorts(PortTable(group.group, ports))) if ports else addresses


def resource_checks(group: GroupSpec) -> tuple[DownCheck, ...]:
    found, outside = timed_resources(group), group.ladder.outside
    gone: tuple[DownCheck, ...] = (ResourcesGone(found),) if found else ()
    return (*gone, OutsideEnded(outside)) if outside else gone


@dataclass(frozen=True, slots=True)
class ResourcesGone:
    """A DownCheck that makes true what it checks."""

    resources: tuple[TimedResource, ...]
    name: str = "resources"

    async def still_up(self) -> str:
        return "; ".join(await asyncio.to_thread(close_all, list(self.resources)))


@dataclass(frozen=True, slots=True)
class OutsideEnded:
    """A DownCheck that makes true what it checks. Where there is no cgroup2 there is no such group to look at."""

    paths: tuple[str, ...]
    name: str = "outside"

    async def still_up(self) -> str:
        return "; ".join(await asyncio.to_thread(end_outside, self.paths)) if is_mounted() else ""
