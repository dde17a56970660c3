"""One exec guard as its agent knows it: who it is, what it was promised, and what proves its end.

Rule: proven down means that the pidfd of its namespace's init is readable, or, where that cannot be watched (weak
containment, another PID namespace), that the exec guard itself said `down`. A guard that never was sent a deadline
holds nothing. Dead without a proof counts as holding until its last deadline has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass

from agents.fencing import process_table
from agents.fencing.authority import Rungs
from agents.fencing.base import Containment
from agents.fencing.guard_clock import boottime_ns
from agents.fencing.line_codec import OUTBOX_BYTES_MAX, Message, encode


@dataclass(frozen=True, slots=True)
class ExecDown:
    """How one exec guard ended; `verified` False means that only the passing of its last deadline ended it."""

    pid: int
    verified: bool
    cause: str


class ExecMember:
    """Owned by the registry."""

    def __init__(self, group: str, pid: int, *, same_pid_namespace: bool, instance: int = 0) -> None:
        """`pid` is 0 for a guard of another PID namespace (a container); then its own `instance` names it."""
        self.group = group
        self.pid = pid
        self.key = (pid, (process_table.start_time(pid) or 0) if pid else instance)
        self.writer: asyncio.StreamWriter | None = None
        self.last_deadline_ns = 0
        self.epoch_armed: int | None = None
        self.containment = ""
        self.running = False
        self.cause = ""
        self.ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._same_pid_namespace = same_pid_namespace
        self._guard_pidfd = -1
        self._init_pidfd = -1
        if (
            same_pid_namespace
        ):  # a guard in a container is told to stop instead: killed, it could not say that it is down
            pidfd = process_table.open_process(*self.key)
            if pidfd is not None:
                self._guard_pidfd = pidfd

    @property
    def holds(self) -> bool:
        """It may have something running."""
        return self.last_deadline_ns > boottime_ns() and not self.ended.is_set()

    def send(self, message: Message) -> None:
        """Never waits; a guard that does not read is left to its deadline."""
        writer = self.writer
        if writer is None or writer.transport.get_write_buffer_size() > OUTBOX_BYTES_MAX:
            return
        with contextlib.suppress(OSError, RuntimeError):
            writer.write(encode(message))

    def send_deadline(self, rungs: Rungs) -> None:
        """Counted as held from the moment of sending, whether or not it arrives."""
        if self.ended.is_set() or self.writer is None:
            return
        self.last_deadline_ns = max(self.last_deadline_ns, rungs.deadline_ns)
        self.send(
            {
                "type": "deadline",
                "epoch": rungs.epoch,
                "term_at_ns": rungs.term_at_ns,
                "kill_at_ns": rungs.kill_at_ns,
                "deadline_ns": rungs.deadline_ns,
            }
        )

    def on_message(self, message: Message) -> None:
        kind = message["type"]
        if kind == "armed":
            self.epoch_armed = int(str(message["epoch"]))
        elif kind == "running":
            self.running = True
            self.containment = str(message["containment"])
            self._watch_init(int(str(message["init_pid"])), int(str(message["init_started"])))
        elif kind == "down":
            self.cause = str(message["cause"])
            if self._init_pidfd < 0:
                self._end()
        elif kind == "fencing":
            self.cause = str(message["cause"])

    def _watch_init(self, pid: int, started: int) -> None:
        weak = self.containment == Containment.PROCESS_GROUP.value
        if weak or not self._same_pid_namespace or self._init_pidfd >= 0:
            return
        pidfd = process_table.open_process(pid, started)
        if pidfd is None:
            self._end()
            return
        self._init_pidfd = pidfd
        self._loop.add_reader(pidfd, self._end)

    def _end(self) -> None:
        if self._init_pidfd >= 0:
            self._loop.remove_reader(self._init_pidfd)
        self.running = False
        self.cause = self.cause or "its guard died"
        self.ended.set()

    def kill(self) -> None:
        for pidfd in (self._guard_pidfd, self._init_pidfd):
            if pidfd >= 0:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def close(self) -> None:
        for pidfd in (self._guard_pidfd, self._init_pidfd):
            if pidfd >= 0:
                self._loop.remove_reader(pidfd)
                os.close(pidfd)
        self._guard_pidfd = self._init_pidfd = -1
