"""The host's watchdog as one more thing that the kernel does by itself: it resets the host unless the lease goes on.

Rule: last feed + time-out <= deadline, with the arithmetic in the open:

    time-out    = the whole seconds that fit between now and the deadline, less LATENESS and SEND
    fed by      = deadline - LATENESS - time-out       later than that the keeper is dead (agents/fencing/keeper.py)
    the reset   is between deadline - 1 s - SEND - LATENESS and the deadline, so the kill must be over by then:
                  kill_budget >= 1 s + SEND + LATENESS + KILL (proto/timing.py refuses less, with both numbers)

It is fed with renewals and never else, so only while authority lasts. It is opened with the first deadline (opening
starts it) and closed with the magic character only after everything was proven down; a keeper that dies leaves it
running, and the host is reset. A device that keeps running after a proper close (`nowayout`) is refused: a planned stop
would end in a reset. Request numbers are those of x86 and ARM.
"""

from __future__ import annotations

import errno
import os
import struct

from agents.fencing.resource_time import NS_PER_MS, NS_PER_S, End, Lifetime

LATENESS_NS = 100 * NS_PER_MS
"""Between the end of the time-out and the reset."""
SEND_NS = 200 * NS_PER_MS
SETTLE_TRIES = 8

_GET_SUPPORT = 0x8028_5700
_KEEP_ALIVE = 0x8004_5705
_SET_TIMEOUT = 0xC004_5706
_INFO = struct.Struct("=II32s")
_NUMBER = struct.Struct("=i")
_CAN_SET_TIMEOUT = 0x80
_MAGIC_CLOSE = 0x100
_MAGIC = b"V"


def watchdog_lifetime(now_ns: int, end: End) -> Lifetime | None:
    """Whole seconds; None when not even one fits."""
    left = end.deadline_ns - now_ns - LATENESS_NS
    seconds = (left - SEND_NS) // NS_PER_S
    if seconds < 1:
        return None
    return Lifetime(seconds, now_ns + left - seconds * NS_PER_S, end.deadline_ns)


class WatchdogDevice:
    """The kernel's device by its path: open, ask, write, close. The seam of the simulated one."""

    __slots__ = ("_fd", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def usable(self) -> None:
        """Without opening it, because opening starts it. Raises OSError."""
        if not os.access(self.path, os.W_OK):
            raise OSError(errno.ENODEV, "there is no such device that we may write (is its driver loaded?)")
        if self._attribute("nowayout") == "1":
            raise OSError(errno.EPERM, "its driver has nowayout=1: every planned stop would reset the host")

    def active(self) -> bool:
        """It counts now; False where the kernel does not say."""
        return self._attribute("state") == "active"

    def _attribute(self, name: str) -> str:
        device = os.path.basename(os.path.realpath(self.path))
        device = "watchdog0" if device == "watchdog" else device
        try:
            with open(f"/sys/class/watchdog/{device}/{name}", encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return ""

    def open(self) -> None:
        """Raises OSError: EBUSY says that another program holds it (systemd's RuntimeWatchdogSec?)."""
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)

    def control(self, request: int, argument: bytearray) -> None:
        import fcntl  # noqa: PLC0415 - only the keeper of a site with a watchdog needs it

        fcntl.ioctl(self._fd, request, argument, True)

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)
        self._fd = -1


class Watchdog:
    """Implements TimedResource: held while the lease lasts; what happens at its end is the reset of the host."""

    def __init__(self, device: WatchdogDevice) -> None:
        self.name = f"watchdog {device.path}"
        self._device = device
        self._running = False

    def prepare(self) -> None:
        """One that a former life left running is stopped: everything was proven down before a guard is prepared."""
        self._device.usable()
        if self._device.active():
            self.adopt()
            self.close()

    def adopt(self) -> None:
        """Takes over what a lost keeper left running."""
        if not self._running:
            self._start()

    def lifetime(self, now_ns: int, end: End) -> Lifetime | None:
        return watchdog_lifetime(now_ns, end)

    def hold(self, lifetime: Lifetime) -> None:
        if not self._running:
            self._start()
        self._set_timeout(lifetime.amount)
        self._device.control(_KEEP_ALIVE, bytearray(_NUMBER.size))

    def announce(self) -> None:
        """Nobody to tell."""

    def close(self) -> None:
        """Only after everything was proven down: this stops it."""
        if self._running:
            self._device.write(_MAGIC)
            self._device.close()
            self._running = False

    def still_up(self) -> str:
        return "still counts" if self._running else ""

    def _start(self) -> None:
        self._device.open()
        self._running = True
        info = bytearray(_INFO.size)
        self._device.control(_GET_SUPPORT, info)
        options, _firmware, _identity = _INFO.unpack(info)
        if not options & _CAN_SET_TIMEOUT:
            self.close()
            raise OSError(errno.EOPNOTSUPP, "its time-out cannot be set, so it cannot follow a deadline")
        if not options & _MAGIC_CLOSE:
            self.close()
            raise OSError(errno.EOPNOTSUPP, "it knows no magic close: a keeper that dies would stop it")

    def _set_timeout(self, seconds: int) -> None:
        """A driver may round up to its own steps; what it settles on must not be longer than what fits."""
        for wanted in range(seconds, max(0, seconds - SETTLE_TRIES), -1):
            argument = bytearray(_NUMBER.pack(wanted))
            self._device.control(_SET_TIMEOUT, argument)
            (settled,) = _NUMBER.unpack(argument)
            if 0 < settled <= seconds:
                return
        raise OSError(errno.ERANGE, f"it takes no time-out of {seconds} s or a little less: its steps are too coarse")
