"""The simulated process beside a guard: the real keeper at the real guard's end of its pipe, killed when it is late.

Rule: the keeper looks at the clock, arms its timer and talks to the kernel, as agents.fencing.keeper has it. Between
the look and the call it may stand still (`Stall`); when the timer that it armed is due by then, it is dead, and the
kernel never hears of the message. Everything else happens at once.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from agents.fencing.keeper import Keeper
from agents.fencing.keeper_link import KeeperLink
from agents.fencing.line_codec import Message, Outbox
from agents.fencing.watchdog import Watchdog
from proto.units import NS_PER_MS

if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource


class KeeperKilled(Exception):  # an end, not an error of anybody
    """By its own timer, before its message reached the kernel."""


class Stall:
    """How long a keeper stands still before its next call of the kernel, and the timer that it is killed by."""

    def __init__(self, now: Callable[[], int], hit: Callable[[str], None]) -> None:
        self.draw: Callable[[], int] = lambda: 0
        """The next one, in nanoseconds; set by faults."""
        self.lasted_ns = 0
        """All of one request."""
        self._due_ns: int | None = None
        self._now = now
        self._hit = hit

    def arm(self, at_ns: int) -> None:
        self._due_ns = at_ns

    def disarm(self) -> None:
        self._due_ns = None

    def now(self) -> int:
        return self._now() + self.lasted_ns

    def passes(self) -> int:
        """The call reaches the kernel now; returns for how long it had stood still. Raises KeeperKilled."""
        self.lasted_ns += self.draw()
        if self._due_ns is not None and self.now() >= self._due_ns:
            self._hit("keeper-late")
            raise KeeperKilled
        return self.lasted_ns


class _Pipe(Outbox):
    """Whatever is said to the keeper it does at once."""

    def __init__(self, told: Callable[[Message], None]) -> None:
        super().__init__(-1)
        self._told = told

    def send(self, message: Message) -> bool:
        self._told(message)
        return True


class SimKeeperLink(KeeperLink):
    """Owned by one guard's ladder."""

    def __init__(
        self,
        resources: list[TimedResource],
        watchdog: Watchdog | None,
        stall: Stall,
        let_go: Callable[[], None],
        may_fork: Callable[[], bool],
    ) -> None:
        """`let_go`: the keeper's process is gone, and its open device with it."""
        super().__init__(resources, watchdog)
        self._stall = stall
        self._let_go = let_go
        self._may_fork = may_fork
        self._keeper: Keeper | None = None

    def start(self) -> None:
        if not self._may_fork():
            raise OSError(errno.EAGAIN, "no more processes")
        # What a fork changes in its copy stays there.
        watchdog = copy.copy(self._watchdog)
        self._keeper = Keeper(self._resources, watchdog, self.heard, self._stall, self._stall.now)
        self._commands = _Pipe(self._told)
        self.pid = 1

    def _told(self, message: Message) -> None:
        if self._keeper is None:
            return
        self._stall.lasted_ns = 0
        try:
            self._keeper.take([message])
        except KeeperKilled:
            self.killed()

    def killed(self) -> bool:
        """SIGKILL to the keeper alone; what it gave last runs out."""
        if self._keeper is None:
            return False
        self.end()
        self.ended()
        return True

    def end(self) -> None:
        """It dies with its guard."""
        self._keeper = None
        self._stall.disarm()
        self._let_go()

    def read(self) -> bool:
        return self.pid != 0

    def wait(self, wait_ms: int) -> bool:
        return self.pid != 0 and self._stall.lasted_ns <= wait_ms * NS_PER_MS
