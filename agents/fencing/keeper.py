"""The keeper: a process beside a guard that gives kernel-timed resources their lifetimes, and is dead if it is late.

Rule: it acts on the guard's word alone (the deadline that the guard accepted), computes a relative lifetime, arms a
kernel timer with SIGKILL for the lifetime's `send_by`, and only then talks to the kernel. A keeper that is stopped,
starved or swapped out between its look at the clock and the call is killed before it can prolong anything. It dies
with its guard (PR_SET_PDEATHSIG); what it last gave runs out by itself. After `close` it gives nothing any more.
A process of its own, because the kernel's lock on the network's configuration may be held for long by others: a
keeper that hangs costs an address, a guard that hangs would cost the ladder. ADR 0012.
"""

from __future__ import annotations

import os
import select
import signal

from agents.fencing import kernel_calls, privileges
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.kernel_timer import KernelTimer
from agents.fencing.line_codec import LineReader, Message, decode, encode
from agents.fencing.resource_time import End
from agents.fencing.timed_resources import close_all, prepare_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from agents.fencing.timed_resources import TimedResource
    from agents.fencing.watchdog import Watchdog

    class DeathTimer(Protocol):
        """SIGKILL to whoever armed it, at an instant of BOOTTIME; agents.fencing.kernel_timer has the real one."""

        def arm(self, at_ns: int) -> None: ...

        def disarm(self) -> None: ...


ANNOUNCEMENTS = 4
"""With the first so many extensions of an epoch: a single packet may get lost."""
TOO_NEAR = "the end is too near for another lifetime"


class Keeper:
    """What a keeper does with its guard's words. The process's edges come in, so that the simulator can bring its own.

    `timer` kills whoever runs this; `now` is BOOTTIME; `say` reaches the guard.
    """

    def __init__(
        self,
        resources: list[TimedResource],
        watchdog: Watchdog | None,
        say: Callable[[Message], None],
        timer: DeathTimer,
        now: Callable[[], int] = boottime_ns,
    ) -> None:
        self.resources = resources
        self.watchdog = watchdog
        self.timer = timer
        self.epoch = 0
        self.announced = 0
        self.closed = False
        self._say = say
        self._now = now

    def take(self, messages: list[Message]) -> None:
        """What was read at once. Of several extensions only the newest counts."""
        kinds = {message["type"] for message in messages}
        if "close" in kinds:
            self.close()
        if "finish" in kinds:
            self.finish(armed=any(message.get("armed") for message in messages))
        elif "prepare" in kinds:
            self._say({"type": "prepared", "problems": prepare_all(self._all())})
        elif messages and "close" not in kinds:
            self.extend(messages[-1])

    def _all(self) -> list[TimedResource]:
        return self.resources if self.watchdog is None else [*self.resources, self.watchdog]

    def extend(self, message: Message) -> None:
        if self.closed:
            return
        epoch = int(str(message["epoch"]))
        if epoch != self.epoch:
            self.epoch, self.announced = epoch, 0
        end = End(int(str(message["kill_at_ns"])), int(str(message["deadline_ns"])))
        held = [self._hold(resource, end) for resource in self._all()]
        self.announced += 1
        self._say({"type": "held", "epoch": epoch, "deadline_ns": end.deadline_ns, "resources": held})

    def _hold(self, resource: TimedResource, end: End) -> Message:
        problem = ""
        gone_by_ns = 0
        try:
            lifetime = resource.lifetime(self._now(), end)
            if lifetime is None:
                problem = TOO_NEAR
            else:
                self.timer.arm(lifetime.send_by_ns)
                resource.hold(lifetime)
                self.timer.disarm()
                gone_by_ns = lifetime.gone_by_ns
                if self.announced < ANNOUNCEMENTS:
                    resource.announce()
        except OSError as error:
            self.timer.disarm()
            problem = str(error.strerror or error)
        return {"name": resource.name, "gone_by_ns": gone_by_ns, "problem": problem}

    def close(self) -> None:
        """Repeated on each request, so that a guard may ask again when something stood against it."""
        self.closed = True
        self._say({"type": "closed", "problems": close_all(self.resources)})

    def finish(self, *, armed: bool) -> None:
        """Everything is proven down: the watchdog may stop, also one that a lost keeper left running."""
        problems: list[str] = []
        if self.watchdog is not None and armed:
            try:
                self.watchdog.adopt()
            except OSError as error:
                problems.append(f"{self.watchdog.name}: {error.strerror or error}")
            else:
                problems = close_all([self.watchdog])
        self._say({"type": "finished", "problems": problems})


def run_keeper(keeper: Keeper, command_fd: int) -> None:
    """Until the guard's end of the pipe is gone."""
    reader = LineReader()
    poller = select.poll()
    poller.register(command_fd, select.POLLIN)
    while True:
        poller.poll()
        data = os.read(command_fd, 65_536)
        if not data:
            return
        keeper.take([decode(line) for line in reader.feed(data)])


def sayer(event_fd: int) -> Callable[[Message], None]:
    """Blocking on purpose: a guard that does not read is stopped, and then nothing is to be prolonged."""

    def say(message: Message) -> None:
        line = encode(message)
        while line:
            line = line[os.write(event_fd, line) :]

    return say


def become_keeper(
    resources: list[TimedResource], watchdog: Watchdog | None, command_fd: int, event_fd: int, guard_pid: int
) -> None:
    """In a fresh fork of the guard; returns when the guard is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    kernel_calls.prctl(kernel_calls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard_pid:
        return
    keep = {0, 1, 2, command_fd, event_fd}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            _close(int(name))
    privileges.claim()
    run_keeper(Keeper(resources, watchdog, sayer(event_fd), KernelTimer()), command_fd)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # the listing's own descriptor
