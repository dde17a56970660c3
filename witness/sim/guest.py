"""A site's machine as its hypervisor sees it: stopped together with all its clocks, and going on later (FAULTS: C5).

Rule: while it is frozen nothing executes and no clock of it moves, wall clock and timers of the kernel included; when
it goes on, nothing inside can tell that time has passed. So it goes on with authority that others saw end long ago.
What came for it meanwhile waits where the network and the host keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from witness.sim.machine import SimHost


class Guest:
    def __init__(self, host: SimHost) -> None:
        self._host = host
        self._since_ns: int | None = None
        self._clocks = host.clock.read()
        """As they were when it was frozen."""
        self._behind_ns = 0
        self._asleep: list[Callable[[], None]] = []

    @property
    def frozen(self) -> bool:
        return self._since_ns is not None

    def own_ns(self) -> int:
        """True time without that in which it was frozen."""
        now_ns = self._host.events.now_ns if self._since_ns is None else self._since_ns
        return now_ns - self._behind_ns

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        """By a timer of this machine."""
        due_ns = self.own_ns() + delay_ns

        def fire() -> None:
            left_ns = due_ns - self.own_ns()
            if left_ns <= 0:
                action()
            elif self.frozen:
                self._asleep.append(fire)
            else:
                self._host.events.after(left_ns, fire)

        self._host.events.after(delay_ns, fire)

    def freeze(self) -> None:
        host = self._host
        host.note(host.name, "is frozen with all its clocks")
        self._since_ns, self._clocks = host.events.now_ns, host.clock.read()
        host.suspended = True
        host.disturbed += 1
        for shell in host.groups.values():
            shell.post.wake()
            if shell.runs():
                host.judges.stands_still(shell.group, host.name)

    def thaw(self) -> None:
        if self._since_ns is None:
            return
        host, span_ns = self._host, self._host.events.now_ns - self._since_ns
        host.note(host.name, f"goes on, {span_ns / 1e9:.3f} s behind")
        host.clock.leap(self._clocks.boottime_ns - host.clock.now())
        host.clock.step_wall(self._clocks.wall_ns - host.clock.read().wall_ns)
        self.off()
        host.suspended = False
        host.judges.thaws(host.name, host.groups, span_ns)
        for shell in host.groups.values():
            if shell.runs():
                host.judges.goes_on(shell.group, host.name)
                shell.act()
            shell.post.hardware.goes_on()
            shell.post.wake()
        host.drain()

    def loses_power(self) -> None:
        """Before anything of it ends: by its own clocks no time has passed since it was frozen."""
        if self._since_ns is not None:
            self._host.judges.ends_frozen(self._host.name, self._host.events.now_ns - self._since_ns)

    def off(self) -> None:
        """Frozen no longer: it goes on, or its power is gone."""
        if self._since_ns is not None:
            self._behind_ns += self._host.events.now_ns - self._since_ns
            self._since_ns = None
        asleep, self._asleep = self._asleep, []
        for fire in asleep:
            fire()
