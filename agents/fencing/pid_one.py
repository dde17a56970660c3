"""The parent that a guard or an agent forks off where it needs one: as the first process of a container, or `--again`.

Rule: the first process of a PID namespace ignores a SIGKILL of its own making, so the kernel's timer cannot end it, and
it inherits every orphan. So the work is done by a child, whom the timer does end; the parent hands on signals and
reaps. When the child is gone, a first process kills everything that is left and proves it (no child left); then it
ends with the child's exit code, which ends the container, or begins again with a fresh child. It is single-threaded
and waits with sigwaitinfo: nothing can be missed. Its own death ends the child.
See docs/adr/0014-parent-of-a-guard.md.
Rejected: asking for an init from outside (tini, `docker run --init`): nobody would notice where it is forgotten.
"""

from __future__ import annotations

import os
import signal
import time

from agents.fencing import kernel_calls

END_S = 10.0
"""What is killed is gone at once unless it hangs in the kernel, and then the container's end waits for it as well."""
ROUND_S = 0.005
AGAIN_S = 1.0
"""Between two children, so that a program that cannot live does not take the host."""
_FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS)
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_OWN = (signal.SIGKILL, signal.SIGSTOP, *_FAULTS)


class Work:
    """What is done by the child, as its parent sees it."""

    def begin(self) -> None:
        """Before each child, in the process that forks it (or in the only one)."""

    def ended(self, code: int, *, empty: bool) -> bool:
        """The child ended so; `empty`: nothing else is left in the namespace. True: begin again."""
        del code, empty
        return False


def stand_in(work: Work, *, always: bool = False) -> None:
    """Returns in the process that does the work: a child where this is the first process, or with `always`."""
    first = os.getpid() == 1
    if not (first or always):
        work.begin()
        return
    waited = {int(number) for number in signal.valid_signals() if number not in _OWN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    while True:
        work.begin()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            _become_child(parent)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        code, told_to_end = _until_ended(child, waited)
        again = work.ended(code, empty=first and _end_the_rest())
        if told_to_end or not again:
            os._exit(code)
        time.sleep(AGAIN_S)


def _become_child(parent: int) -> None:
    kernel_calls.prctl(kernel_calls.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _until_ended(child: int, waited: set[int]) -> tuple[int, bool]:
    """The child's exit code, and whether somebody told us to end."""
    told = False
    while True:
        number = signal.sigwaitinfo(waited).si_signo
        if number != signal.SIGCHLD:
            told = told or number in ENDING
            _send(child, number)
            continue
        code = _reap(child)
        if code is not None:
            return code, told


def _reap(child: int) -> int | None:
    """Everything that has ended; the exit code when the child is among it."""
    code: int | None = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _end_the_rest() -> bool:
    """True when nothing but this process is left in the namespace."""
    ends = time.monotonic() + END_S
    while time.monotonic() < ends:
        _send(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(ROUND_S)
    return False


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
