"""What a guard is told beside deadlines: the resources that it times and the rungs of its ladder, as one argument.

The agent writes it from its checked configuration (agents/actions/guard_setup.py); a guard only takes it apart.
Everything is off where it says nothing: `{}` is a guard with signals and its kernel timer alone.
"""

from __future__ import annotations

import json

from agents.fencing.kernel_address import KernelAddress
from agents.fencing.port_table import PortTable
from agents.fencing.timed_resources import HeldAddress, HeldPorts
from agents.fencing.watchdog import Watchdog, WatchdogDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource


class GuardOptions:
    """Owned by one guard. `required` names rungs without which the site is not ready."""

    __slots__ = (
        "addresses",
        "cgroup",
        "outside",
        "ports",
        "required",
        "reset_before_ns",
        "reset_trigger",
        "watchdog_device",
    )

    def __init__(self, argument: str = "{}") -> None:
        said = json.loads(argument)
        self.addresses: list[tuple[str, int, str]] = [tuple(one) for one in said.get("addresses", [])]
        self.ports: list[tuple[str, int]] = [tuple(one) for one in said.get("ports", [])]
        self.cgroup = bool(said.get("cgroup", False))
        self.outside: list[str] = said.get("outside", [])
        self.watchdog_device = str(said.get("watchdog", ""))
        self.reset_trigger = str(said.get("reset_trigger", ""))
        self.reset_before_ns = int(said.get("reset_before_ms", 0)) * 1_000_000
        self.required: list[str] = said.get("required", [])

    def resources(self, group: str) -> list[TimedResource]:
        found: list[TimedResource] = [HeldAddress(KernelAddress(*one)) for one in self.addresses]
        if self.ports:
            found.append(HeldPorts(PortTable(group, self.ports)))
        return found

    def watchdog(self) -> Watchdog | None:
        return Watchdog(WatchdogDevice(self.watchdog_device)) if self.watchdog_device else None
