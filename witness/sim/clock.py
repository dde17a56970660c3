"""True time, and what each machine makes of it.

Rule: only this room knows the true instant; everything under test reads a `NodeClock`. An oscillator runs at one
rate from boot to boot; BOOTTIME goes on in a suspend, MONOTONIC_RAW does not, the wall clock is kept near true time
by somebody and may be stepped. Idle time costs nothing: the queue jumps to the next thing that happens.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from proto.clock import ClockReading
from proto.invariants import require
from proto.units import NS_PER_MS, NS_PER_S, PPM, InstantNs

WALL_AT_START_NS = 1_700_000_000 * NS_PER_S
NEVER_NS = 1 << 62
BOOTED_NS = NS_PER_S
"""What BOOTTIME and MONOTONIC_RAW show when a simulated machine has just booted."""
RATE_ROUNDING_NS = 1_000
"""What rounding of rates may take from, or add to, a span that a checker measures."""

AT_ONCE_MAX, AT_ONCE_NS = 100_000, 10 * NS_PER_MS
"""So many things never happen within so little: something asks to be woken now, again and again."""

Action = Callable[[], None]


class TimeStandsStill(RuntimeError):
    """What a real program would do as a busy loop."""


class Events:
    """The queue of everything that will happen, in true nanoseconds; equal instants keep their order."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.done = 0
        self._heap: list[tuple[int, int, Action]] = []
        self._number = 0

    def at(self, when_ns: int, action: Action) -> None:
        self._number += 1
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), self._number, action))

    def after(self, delay_ns: int, action: Action) -> None:
        self.at(self.now_ns + delay_ns, action)

    def next_ns(self) -> int:
        return self._heap[0][0] if self._heap else NEVER_NS

    def waiting(self) -> list[tuple[int, Action]]:
        """All that will happen, and when, in its order."""
        return [(when_ns, action) for when_ns, _, action in sorted(self._heap, key=lambda one: one[:2])]

    def happen(self) -> None:
        """Performs the next action, at its own instant."""
        when_ns, _, action = heapq.heappop(self._heap)
        require(when_ns >= self.now_ns, "true time went back")
        self.now_ns = when_ns
        self.done += 1
        action()

    def run_until(self, end_ns: int) -> None:
        """Everything up to this instant, each thing at its own. Raises TimeStandsStill."""
        heap, look_at = self._heap, self.done + AT_ONCE_MAX
        looked_ns = self.now_ns
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, action = heapq.heappop(heap)
            self.done += 1
            action()
            if self.done >= look_at:
                if self.now_ns - looked_ns < AT_ONCE_NS:
                    says = f"more than {AT_ONCE_MAX} things within {AT_ONCE_NS // NS_PER_MS} ms, the last one: {action}"
                    raise TimeStandsStill(says)
                look_at, looked_ns = self.done + AT_ONCE_MAX, self.now_ns
        self.now_ns = max(self.now_ns, end_ns)


class MachineEvents:
    """What one machine itself will do, in everybody's queue: a copy of its memory has all of that, too."""

    def __init__(self, events: Events) -> None:
        self._events = events

    @property
    def now_ns(self) -> int:
        return self._events.now_ns

    def at(self, when_ns: int, action: Action) -> None:
        self._events.at(when_ns, Due(self, action))

    def after(self, delay_ns: int, action: Action) -> None:
        self._events.after(delay_ns, Due(self, action))

    def waiting(self) -> list[tuple[int, Action]]:
        return [(at, due.action) for at, due in self._events.waiting() if isinstance(due, Due) and due.owner is self]


class Due:
    __slots__ = ("action", "owner")

    def __init__(self, owner: MachineEvents, action: Action) -> None:
        self.owner = owner
        self.action = action

    def __call__(self) -> None:
        self.action()

    def __repr__(self) -> str:
        return repr(self.action)


class NodeClock:
    """One machine's clocks. Implements proto.clock.Clock."""

    def __init__(self, events: Events, rate_ppm: int = 0) -> None:
        self.rate_ppm = rate_ppm
        self._events = events
        self._true_ns = events.now_ns
        self._boot_ns = BOOTED_NS
        self._raw_ns = BOOTED_NS
        self.raw_ppm = rate_ppm
        self._wall_ahead_ns = 0
        self._unkept_since: tuple[int, int] | None = None
        """What BOOTTIME and the wall clock showed when nobody kept the wall clock any more."""
        self.parted_once = False
        """BOOTTIME went at a rate of its own, since the last boot."""
        self._suspended_at: int | None = None

    def now(self) -> InstantNs:
        gone_ns = self._events.now_ns - self._true_ns
        return InstantNs(self._boot_ns + gone_ns + gone_ns * self.rate_ppm // PPM)

    def raw(self) -> int:
        """MONOTONIC_RAW, and what the kernel counts its own timeouts by; while it executes."""
        gone_ns = self._events.now_ns - self._true_ns
        return self._raw_ns + gone_ns + gone_ns * self.raw_ppm // PPM

    def read(self) -> ClockReading:
        return ClockReading(self.now(), self.raw(), self._wall())

    def _wall(self) -> int:
        if self._unkept_since is None:
            return WALL_AT_START_NS + self._events.now_ns + self._wall_ahead_ns
        boot_ns, wall_ns = self._unkept_since
        return wall_ns + self.now() - boot_ns

    def keep_wall(self, *, kept: bool) -> None:
        """`kept`: by somebody near true time; otherwise it goes as the oscillator goes, and no clock tells of that."""
        if kept:
            self._unkept_since = None
        elif self._unkept_since is None:
            self._unkept_since = self.now(), self._wall()

    def true_at(self, boot_ns: int) -> int:
        """The first true instant at which BOOTTIME shows at least this."""
        left_ns = boot_ns - self._boot_ns
        return self._true_ns - (-left_ns * PPM // (PPM + self.rate_ppm))

    def true_at_raw(self, raw_ns: int) -> int:
        """The same of `raw`."""
        left_ns = raw_ns - self._raw_ns
        return self._true_ns - (-left_ns * PPM // (PPM + self.raw_ppm))

    def run_at(self, rate_ppm: int) -> None:
        """From now on at another rate; whoever armed a timer must arm it again."""
        self._boot_ns, self._raw_ns, self._true_ns = self.now(), self.raw(), self._events.now_ns
        self.rate_ppm = self.raw_ppm = rate_ppm

    def part(self, rate_ppm: int) -> None:
        """BOOTTIME alone goes at another rate from now on."""
        self._boot_ns, self._raw_ns, self._true_ns = self.now(), self.raw(), self._events.now_ns
        self.rate_ppm = rate_ppm
        self.parted_once = self.parted_once or self.parted

    @property
    def parted(self) -> bool:
        return self.rate_ppm != self.raw_ppm

    def agree(self) -> None:
        """BOOTTIME goes at the oscillator's rate again."""
        self.part(self.raw_ppm)

    def leap(self, ahead_ns: int) -> None:
        """All clocks of the machine jump ahead together, as after a migration that guessed."""
        self._boot_ns += ahead_ns
        self._raw_ns += ahead_ns
        if self._unkept_since is None:
            self._wall_ahead_ns += ahead_ns

    def step_wall(self, ahead_ns: int) -> None:
        if self._unkept_since is None:
            self._wall_ahead_ns += ahead_ns
        else:
            boot_ns, wall_ns = self._unkept_since
            self._unkept_since = boot_ns, wall_ns + ahead_ns

    def suspend(self) -> None:
        self._suspended_at = self.now()

    def resume(self) -> None:
        if self._suspended_at is not None:
            self._raw_ns -= self.now() - self._suspended_at
            self._suspended_at = None

    def reboot(self) -> None:
        self.keep_wall(kept=True)
        self._boot_ns = self._raw_ns = BOOTED_NS
        self._true_ns = self._events.now_ns
        self.rate_ppm = self.raw_ppm
        self.parted_once = False
        self._suspended_at = None
