"""The guard's end of its init: forks it, completes the handshake, talks to it, and proves its end.

Rule: a readable pidfd of a namespace's init is the proof that everything in the namespace is dead, because the
kernel turns the init into a zombie only after it has killed and reaped all the others.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal

from agents.fencing import containment, process_table
from agents.fencing.guard_fork import fork_child
from agents.fencing.init_loop import Init
from agents.fencing.line_codec import LineReader, Message, Outbox, decode
from agents.fencing.step_start import StepRequest

HANDSHAKE_MS_MAX = 5_000
INIT_FAILED = 70


class InitLink:
    """Owned by the guard; one init for the life of a guard."""

    def __init__(self, kind: str, pid: int, command_fd: int, event_fd: int) -> None:
        self.kind = kind
        self.pid = pid
        self.pidfd = os.pidfd_open(pid, 0)
        self.started = process_table.start_time(pid) or 0
        self.commands = Outbox(command_fd)
        self.event_fd = event_fd
        self.missing = ""
        self._reader = LineReader()

    def await_bound(self) -> None:
        """Until the init said that its death is bound to ours; OSError when it does not say so in time."""
        poller = select.poll()
        poller.register(self.event_fd, select.POLLIN)
        if not poller.poll(HANDSHAKE_MS_MAX):
            raise TimeoutError("the namespace's init did not answer")
        messages = self.read_events()
        if not messages or messages[0].get("type") != "bound":
            raise OSError(f"the namespace's init ended before it was bound to the guard: {messages}")
        self.missing = str(messages[0].get("missing", ""))

    def release(self) -> None:
        """Now, and only now, may it run anything: the record that finds it again is on disk."""
        self.commands.send({"type": "go"})

    def read_events(self) -> list[Message]:
        try:
            data = os.read(self.event_fd, 65_536)
        except BlockingIOError:
            return []
        return [decode(line) for line in self._reader.feed(data)]

    def kill(self) -> None:
        """One round, repeated by the warden until `try_wait`, which is the proof of the end."""
        if self.kind == containment.PROCESS_GROUP and not process_table.kill_descendants(self.pid, ()):
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def try_wait(self) -> bool:
        """Reaps the init when it is dead; True when it is."""
        pid, _status = os.waitpid(self.pid, os.WNOHANG)
        return pid == self.pid


def fork_init(kind: str, record_path: str, close_in_child: list[int], inherited: StepRequest | None = None) -> InitLink:
    """The one fork of a guard. What must stay private to the guard is closed in the child."""

    def be_init(command_fd: int, event_fd: int) -> None:
        for fd in close_in_child:
            os.close(fd)
        init = Init(kind, command_fd, event_fd, record_path)
        init.inherited = inherited
        init.run()

    gc.freeze()
    pid, command_fd, event_fd = fork_child(be_init, INIT_FAILED)
    return InitLink(kind, pid, command_fd, event_fd)
