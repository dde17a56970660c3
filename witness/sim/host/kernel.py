"""What a simulated kernel holds by itself: addresses and ports that run out, and a watchdog that resets the machine.

Both count as kernels do: while the machine executes (jiffies stand still in a suspend, and with a frozen guest), and
as late as agents.fencing allows for. When one ends is told to the checkers by true time.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import Protocol

from agents.fencing.memory_resources import Grain, MemoryResource
from agents.fencing.resource_time import ADDRESS_LATENESS_NS, Lifetime
from agents.fencing.watchdog import LATENESS_NS, WatchdogDevice
from proto.units import NS_PER_S
from witness.sim.host.keeper import Stall

GET_SUPPORT, SET_TIMEOUT, KEEP_ALIVE = 0x8028_5700, 0xC004_5706, 0x8004_5705
CAN_SET_TIMEOUT, MAGIC_CLOSE = 0x80, 0x100
TIMEOUT_AT_OPEN_S = 60
MAGIC = b"V"


class Running(Protocol):
    """The machine's own time, while it executes."""

    def now(self) -> int: ...

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """At once, when that has passed."""


class KernelResource(MemoryResource):
    """An address (whole seconds) or ports. `refuses`: while it says why, no message is taken."""

    def __init__(self, name: str, grain: Grain, stall: Stall, running: Running, told: Callable[[bool], None]) -> None:
        """`told`: it is there now, or gone."""
        super().__init__(stall.now, grain)
        self.name = name
        self.refuses = ""
        self.refused: Callable[[], None] = lambda: None
        """Told when it was."""
        self._stall = stall
        self._running = running
        self._told = told

    @property
    def there(self) -> bool:
        return self.gone_at_ns > 0

    def hold(self, lifetime: Lifetime) -> None:
        self._taken()
        late_ns = ADDRESS_LATENESS_NS if self._grain is Grain.SECONDS else 0
        self.gone_at_ns = self._running.now() + self._stall.lasted_ns + lifetime.amount * self._grain.value + late_ns
        self._told(True)
        self._running.at(self.gone_at_ns, self._look)

    def close(self) -> None:
        self._taken()
        self.gone()

    def _taken(self) -> None:
        self._stall.passes()
        if self.refuses:
            self.refused()
            raise OSError(errno.EBUSY, self.refuses)

    def _look(self) -> None:
        if self.there and self._running.now() >= self.gone_at_ns:
            self.gone()

    def gone(self) -> None:
        """By itself, by a close, or with the machine's power."""
        if self.there:
            self.gone_at_ns = 0
            self._told(False)

    def still_up(self) -> str:
        return "is there" if self.there else ""


class SimWatchdog(WatchdogDevice):
    """A card that counts from its last feed, whoever is dead."""

    def __init__(self, step_s: int, stall: Stall, running: Running, fed: Callable[[int], None]) -> None:
        """`fed`: it will reset the machine after so many nanoseconds, unless it is fed again."""
        super().__init__("/dev/watchdog")
        self.there = True
        self.bites: Callable[[], None] = lambda: None
        self.missed: Callable[[], None] = lambda: None
        """Somebody wanted it and it was not there."""
        self.counts = False
        self._step_s = step_s
        self._timeout_s = TIMEOUT_AT_OPEN_S
        self._bites_at_ns = 0
        self._magic = False
        self._opened = False
        self._stall = stall
        self._running = running
        self._fed = fed

    def usable(self) -> None:
        if not self.there:
            self.missed()
            raise OSError(errno.ENODEV, "there is no such device that we may write (is its driver loaded?)")

    def active(self) -> bool:
        return self.counts

    def open(self) -> None:
        self.usable()
        if self._opened:
            raise OSError(errno.EBUSY, "another program holds it")
        self._opened, self._magic = True, False
        self._feed()

    def control(self, request: int, argument: bytearray) -> None:
        if request == GET_SUPPORT:
            argument[:] = struct.pack("=II32s", CAN_SET_TIMEOUT | MAGIC_CLOSE, 1, b"simulated")
        elif request == SET_TIMEOUT:
            (wanted,) = struct.unpack("=i", argument)
            self._timeout_s = -(-wanted // self._step_s) * self._step_s
            argument[:] = struct.pack("=i", self._timeout_s)
        elif request == KEEP_ALIVE:
            self._stall.passes()
            self._feed()
            self._fed(self._bites_at_ns - self._running.now())

    def _feed(self) -> None:
        self.counts = True
        late_ns = self._stall.lasted_ns + LATENESS_NS
        self._bites_at_ns = self._running.now() + self._timeout_s * NS_PER_S + late_ns
        self._running.at(self._bites_at_ns, self._look)

    def write(self, data: bytes) -> None:
        self._magic = data == MAGIC

    def close(self) -> None:
        self._opened = False
        if self._magic:
            self.off()

    def keeper_gone(self) -> None:
        """Its descriptor was closed without the magic word: it counts on."""
        self._opened = False

    def off(self) -> None:
        self.counts = False

    def _look(self) -> None:
        if self.counts and self._running.now() >= self._bites_at_ns:
            self.off()
            self.bites()
