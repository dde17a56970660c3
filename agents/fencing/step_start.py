"""Starts one step: fork, new session, nothing inherited but what was handed in, exec.

Rule: a step gets exactly the environment, directory and log of its request; every signal at its default, stdin
from /dev/null, an OOM score of 0. Why it could not be started comes back over a pipe that exec closes.
"""

from __future__ import annotations

import os
import signal

from agents.fencing import kernel_calls, privileges

DESCRIPTORS_MAX = 65_536
NOT_STARTED = 127


class StepRequest:
    """One program to run; `log_path` None means: with the descriptors of the init itself (exec guard)."""

    __slots__ = ("argv", "cwd", "env", "log_path", "program", "step_id", "timeout_ms")

    def __init__(
        self,
        *,
        step_id: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        log_path: str | None,
        timeout_ms: int,
        program: str = "",
    ) -> None:
        self.step_id = step_id
        self.argv = argv
        self.program = program or argv[0]
        self.env = env
        self.cwd = cwd
        self.log_path = log_path
        self.timeout_ms = timeout_ms


class Started:
    """A running step, as its parent knows it."""

    __slots__ = ("error_fd", "pid")

    def __init__(self, pid: int, error_fd: int) -> None:
        self.pid = pid
        self.error_fd = error_fd

    def read_error(self) -> str:
        """After its end: why it was not started, or ''."""
        try:
            data = os.read(self.error_fd, 512)
        except OSError:
            data = b""
        os.close(self.error_fd)
        return data.decode(errors="replace")


def start(request: StepRequest, *, die_with_parent: bool, reset_oom: bool) -> Started:
    """Raises OSError when not even the log can be opened or no process can be forked."""
    log_fd = -1
    if request.log_path is not None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        log_fd = os.open(request.log_path, flags, 0o640)
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    try:
        pid = os.fork()
    except OSError:
        os.close(read_end)
        raise
    else:
        if pid == 0:
            _become(request, log_fd, write_end, die_with_parent=die_with_parent, reset_oom=reset_oom)
    finally:
        os.close(write_end)
        if log_fd >= 0:
            os.close(log_fd)
    return Started(pid, read_end)


def _become(request: StepRequest, log_fd: int, write_end: int, *, die_with_parent: bool, reset_oom: bool) -> None:
    """In the child: never returns."""
    what = "set up"
    try:
        os.setsid()
        if reset_oom:
            privileges.set_oom_score(0)
        _default_signals()
        if die_with_parent:
            kernel_calls.prctl(kernel_calls.PR_SET_PDEATHSIG, signal.SIGKILL)
        if log_fd >= 0:
            _take_descriptors(log_fd, write_end)
        what = f"enter {request.cwd}"
        os.chdir(request.cwd)
        what = f"run {request.program}"
        os.execvpe(request.program, request.argv, request.env)  # noqa: S606 - an operator's step
    except OSError as error:
        os.write(write_end, f"cannot {what}: {error.strerror}"[:500].encode())
    finally:
        os._exit(NOT_STARTED)


def _take_descriptors(log_fd: int, write_end: int) -> None:
    null_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null_fd, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.closerange(3, write_end)
    os.closerange(write_end + 1, DESCRIPTORS_MAX)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        if number in (signal.SIGKILL, signal.SIGSTOP) or number not in signal.valid_signals():
            continue
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
