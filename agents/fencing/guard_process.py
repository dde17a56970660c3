"""The process of a guard, as its agent knows it: started by this process, or by the one before it.

Rule: a pidfd names it, opened while the pid could not be anybody else's. Its end is read from the pidfd; whether it
is our child (started here, or by the image that this process was before an upgrade) matters only for reaping it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.fencing import process_table
from agents.fencing.base import GuardGone

KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH",)
"""What an interpreter may need to start at all; steps never see it."""


_LET_GO: list[subprocess.Popen[bytes]] = []


class GuardProcess:
    """Owned by one GuardHandle, which closes it."""

    def __init__(self, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._child = child

    @classmethod
    def found(cls, pid: int, started: int) -> GuardProcess | None:
        """One that another process started; None when it is gone."""
        pidfd = process_table.open_process(pid, started)
        return None if pidfd is None else cls(pid, pidfd, None)

    @property
    def exit_words(self) -> str:
        return "" if self._child is None else f"it ended with {self._child.returncode}"

    def ended(self, wait_ms: int = 0) -> bool:
        """Reaps it when it is our child."""
        if self.pidfd < 0:
            return True
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if not poller.poll(wait_ms):
            return False
        if self._child is not None:
            self._child.poll()
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        return True

    def kill(self) -> None:
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """A guard that is still armed goes on; whoever takes it over watches it."""
        if self._child is not None and self._child.returncode is None:
            _LET_GO.append(self._child)  # dropped, it would complain that its process was not waited for
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def start_guard_process(
    runtime_dir: Path, control_fd: int, arguments: tuple[str, ...], wrapper: Sequence[str]
) -> GuardProcess:
    """In its own session, nothing inherited but its socket, an empty environment."""
    group = arguments[0]
    entry = str(Path(__file__).with_name("guard_main.py"))
    path = f"{runtime_dir}/{group}.guard.log"
    try:
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise GuardGone(
            f"{path} cannot be written ({error.strerror}): make its directory, owned by the agent"
        ) from error
    try:
        child = subprocess.Popen(
            [*wrapper, sys.executable, "-I", "-S", entry, "guard", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(control_fd,),
            start_new_session=True,
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ},
        )
    finally:
        os.close(log)
    return GuardProcess(child.pid, os.pidfd_open(child.pid, 0), child)
