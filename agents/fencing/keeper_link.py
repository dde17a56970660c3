"""The guard's end of its keeper: forks it, hands it each accepted deadline, hears what it gave and what it closed.

Rule: never waits. A keeper that is gone is forked anew with the next deadline or the close, no more often; a keeper
that hangs, or that cannot be forked, costs its resources, not the guard.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from agents.fencing import kernel_calls
from agents.fencing.guard_fork import fork_child
from agents.fencing.keeper import become_keeper
from agents.fencing.line_codec import LineReader, Message, Outbox, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.fencing.timed_resources import TimedResource
    from agents.fencing.watchdog import Watchdog

PREPARE_MS = 3_000
KEEPER_FAILED = 71
LOST = "its keeper was killed: too late to prolong it, or by somebody"


class KeeperLink:
    """Owned by the guard's one thread. `held` and `problems` are what the keeper said last."""

    def __init__(self, resources: list[TimedResource], watchdog: Watchdog | None = None) -> None:
        self.pid = 0
        self.event_fd = -1
        self.lost = 0
        """How many keepers were lost, for the status."""
        self.held: list[object] = []
        self.closed = False
        self.problems: list[str] = []
        self.finished = False
        self._names = [resource.name for resource in resources] + ([] if watchdog is None else [watchdog.name])
        self._resources = resources
        self._watchdog = watchdog
        self._armed = False
        self._command_fd = -1
        self._commands = Outbox(-1)
        self._reader = LineReader()

    def start(self) -> None:
        """The first time before the guard unshares anything: the keeper belongs to the host. Raises OSError."""
        guard_pid = os.getpid()

        def keep(command_fd: int, event_fd: int) -> None:
            become_keeper(self._resources, self._watchdog, command_fd, event_fd, guard_pid)

        self.pid, self._command_fd, self.event_fd = fork_child(keep, KEEPER_FAILED)
        self._commands = Outbox(self._command_fd)
        self._reader = LineReader()

    def fds(self) -> list[int]:
        """Which no child but the keeper may keep open."""
        return [self.event_fd, self._command_fd] if self.pid else []

    def extend(self, epoch: int, kill_at_ns: int, deadline_ns: int) -> None:
        self._armed = True
        self._send({"type": "extend", "epoch": epoch, "kill_at_ns": kill_at_ns, "deadline_ns": deadline_ns})

    def close(self) -> None:
        self._send({"type": "close"})

    def finish(self) -> None:
        """Everything is proven down."""
        self._send({"type": "finish", "armed": self._armed})

    def troubles(self) -> list[str]:
        """Of the last extension."""
        rows = [row for row in self.held if isinstance(row, dict) and row["problem"]]
        return [f"{row['name']}: {row['problem']}" for row in rows]

    def _send(self, message: Message) -> None:
        if self.pid == 0:
            try:
                self.start()
            except OSError as error:
                self._told_lost(f"its keeper cannot be started: {error.strerror}")
                return
        self._commands.send(message)

    def read(self) -> bool:
        """What the keeper said; False when it is gone."""
        if self.pid == 0:
            return False
        try:
            data = os.read(self.event_fd, 65_536)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            self._gone()
            return False
        for line in self._reader.feed(data):
            self.heard(decode(line))
        return True

    def heard(self, message: Message) -> None:
        if message["type"] == "held":
            self.held = _list(message["resources"])
        else:
            self.problems = [str(one) for one in _list(message["problems"])]
            self.closed = self.closed or (message["type"] == "closed" and not self.problems)
            self.finished = message["type"] == "finished"

    def _gone(self) -> None:
        """Its pipe ended, so it is dead or about to be: killed for certain, then reaped."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self.event_fd)
        os.close(self._command_fd)  # also when the outbox forgot it over a write to nobody
        self._commands.close()
        self.event_fd = -1
        self.ended()

    def ended(self) -> None:
        """The process is no more."""
        self.pid = 0
        self.lost += 1
        self._told_lost(LOST)

    def _told_lost(self, words: str) -> None:
        self.problems = [f"{name}: {words}" for name in self._names]
        self.held = [{"name": name, "gone_by_ns": 0, "problem": words} for name in self._names]

    def wait(self, wait_ms: int) -> bool:
        """For its next word; only where a request is answered on it. False: none came, or it is gone."""
        if self.pid == 0:
            return False
        poller = select.poll()
        poller.register(self.event_fd, select.POLLIN)
        return bool(poller.poll(wait_ms)) and self.read()

    def prepare(self) -> list[str]:
        """While dormant: closes everything; what could not be held here. Waits for it, but not long."""
        self._send({"type": "prepare"})
        if not self.wait(PREPARE_MS):
            return self.problems if self.pid == 0 else [f"{name}: its keeper does not answer" for name in self._names]
        return self.problems


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def children_in_own_namespace() -> str:
    """After the init was forked: later children (a new keeper) belong to the host again. '' or why not."""
    fd = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        kernel_calls.setns(fd, kernel_calls.CLONE_NEWPID)
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(fd)
    return ""
