"""The seam of what the kernel takes away by itself: addresses and open ports, whichever body is behind them.

Rule: `hold` gives or changes a lifetime, in both directions, and nothing else ever makes a resource live; `close`
takes it away at once and may be repeated; `still_up` is '' only when the resource was looked for and is not there.
A resource that nobody holds again is gone by `Lifetime.gone_by_ns`, whoever runs.
Bodies: HeldAddress, HeldPorts (Linux), agents.fencing.memory_resources.MemoryResource (simulated time); one contract
suite for both. A guard's keeper uses them, so there are few imports here.
"""

from __future__ import annotations

import errno

from agents.fencing.kernel_address import KernelAddress
from agents.fencing.neighbours import announce
from agents.fencing.port_table import PortTable
from agents.fencing.privileges import CAP_NET_ADMIN, has_capability
from agents.fencing.resource_time import End, Lifetime, address_lifetime, port_lifetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class TimedResource(Protocol):
        """Each call returns in bounded time or raises OSError."""

        name: str

        def prepare(self) -> None:
            """While dormant: closed, and whatever would keep it from being held later is raised now."""

        def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
            """What may be given now, None when the end is too near."""

        def hold(self, lifetime: Lifetime) -> None:
            """Must reach the kernel by `lifetime.send_by_ns`; the caller sees to that."""

        def announce(self) -> None:
            """Tells neighbours, after `hold`."""

        def close(self) -> None: ...

        def still_up(self) -> str: ...


class HeldAddress:
    def __init__(self, address: KernelAddress) -> None:
        self._address = address
        self.name = address.name

    def prepare(self) -> None:
        self._address.require_interface()
        _require_net_admin()
        self._address.remove()

    def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
        return address_lifetime(now_ns, end)

    def hold(self, lifetime: Lifetime) -> None:
        self._address.set(lifetime.amount)

    def announce(self) -> None:
        announce(self._address)

    def close(self) -> None:
        self._address.remove()

    def still_up(self) -> str:
        return "is configured on this host" if self._address.interfaces() else ""


class HeldPorts:
    def __init__(self, table: PortTable) -> None:
        self._table = table
        self.name = table.name

    def prepare(self) -> None:
        _require_net_admin()
        self._table.lay()

    def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
        return port_lifetime(now_ns, end)

    def hold(self, lifetime: Lifetime) -> None:
        self._table.open_for(lifetime.amount)

    def announce(self) -> None:
        """Ports have no neighbours."""

    def close(self) -> None:
        self._table.lay()

    def still_up(self) -> str:
        return self._table.still_open()


def _require_net_admin() -> None:
    if not has_capability(CAP_NET_ADMIN):
        raise OSError(errno.EPERM, "needs CAP_NET_ADMIN: run the agent as root, or give its service that capability")


def prepare_all(resources: list[TimedResource]) -> list[str]:
    """Closes everything; per resource why it could not be held here, as `name: words`."""
    missing = []
    for resource in resources:
        try:
            resource.prepare()
        except OSError as error:
            missing.append(f"{resource.name}: {error.strerror or error}")
    return missing


def close_all(resources: list[TimedResource]) -> list[str]:
    """Closes, then looks; what stands against "closed", in words, per resource."""
    problems = []
    for resource in resources:
        try:
            resource.close()
            seen = resource.still_up()
        except OSError as error:
            seen = str(error.strerror or error)
        if seen:
            problems.append(f"{resource.name}: {seen}")
    return problems
