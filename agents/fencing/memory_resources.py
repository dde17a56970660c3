"""A kernel-timed resource on simulated time: the same arithmetic of lifetimes, and a kernel that is as late as it may.

`Grain.SECONDS` behaves like an address (whole seconds, the kernel looks late), `Grain.MILLISECONDS` like ports.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from agents.fencing.resource_time import ADDRESS_LATENESS_NS, End, Lifetime, address_lifetime, port_lifetime
from proto.units import NS_PER_MS, NS_PER_S


class Grain(Enum):
    SECONDS = NS_PER_S
    MILLISECONDS = NS_PER_MS


class MemoryResource:
    """Implements TimedResource. `now` is the simulated kernel's clock.

    A hold that comes after its `send_by` is refused, as its sender would be dead.
    """

    def __init__(self, now: Callable[[], int], grain: Grain) -> None:
        self.name = f"simulated, {grain.name.lower()}"
        self.announced = 0
        self.gone_at_ns = 0
        self._now = now
        self._grain = grain

    def prepare(self) -> None:
        self.close()

    def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
        return (address_lifetime if self._grain is Grain.SECONDS else port_lifetime)(now_ns, end)

    def hold(self, lifetime: Lifetime) -> None:
        if self._now() > lifetime.send_by_ns:
            raise OSError(f"{self.name}: {self._now() - lifetime.send_by_ns} ns after its send_by")
        late = ADDRESS_LATENESS_NS if self._grain is Grain.SECONDS else 0
        self.gone_at_ns = self._now() + lifetime.amount * self._grain.value + late

    def announce(self) -> None:
        self.announced += 1

    def close(self) -> None:
        self.gone_at_ns = 0

    def still_up(self) -> str:
        left = self.gone_at_ns - self._now()
        return f"open for {left // NS_PER_MS} ms more" if left > 0 else ""
