"""Whose turn it is while a process becomes its next program: nobody lets go before the next one waits for just that.

Rule: whoever is next says READY when everything is imported, read and checked, and nothing is left to do but to take
over. Only then does the holder let go of everything (guards, sockets, locks) and say GO. So the lease need not outlast
the start of an interpreter on a busy machine, only what lies between the two words.

The process id has to stay, for the sake of whatever supervises it, so there are two turns. A *stand-in*, a child, takes
over; meanwhile its parent becomes the new program by exec, says READY, and gets its turn back. The stand-in dies with
its parent (PR_SET_PDEATHSIG): then nobody holds, and whoever is started next finds the guards as after any crash.
A stand-in whose parent did not say GO has nothing and ends; a parent whose stand-in has died goes on as after a crash.

Rejected: exec at once (what was before: a start took 5 s at a load of 10); a parent that stays in front of the agent
and hands on signals (one process more for ever, and two process ids for one service); handing over the process id by
sd_notify (not everything that supervises is systemd).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from agents.fencing import kernel_calls

READY, GO = b"r", b"g"
TURN_S_MAX = 900.0
"""For the holder to let go: more than the longest deactivation with its margin."""
REAP_S = 5.0
OUR_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2})
"""They wait while nobody listens, from the hand-over to the new program's first moment."""


class Turn:
    """One end between a process and its stand-in. Owned by one process."""

    def __init__(self, fd: int, stand_in: int | None = None) -> None:
        """`stand_in`: its process id, for its parent; None in the stand-in itself."""
        self.stand_in = stand_in
        self._socket = socket.socket(fileno=fd)

    @classmethod
    def parse(cls, text: str) -> Turn:
        """What `words` made. Raises ValueError."""
        fd, _, pid = text.partition(":")
        return cls(int(fd), int(pid) if pid else None)

    def words(self) -> str:
        """For the command line of the image that this process becomes; the descriptor survives the exec."""
        self._socket.setblocking(True)
        self._socket.set_inheritable(True)
        return f"{self._socket.fileno()}:{self.stand_in}"

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self, limit_s: float = TURN_S_MAX) -> bool:
        """Says READY and blocks until the holder has let go. False: it ended without, or did not in time."""
        try:
            self._socket.settimeout(limit_s)
            self._socket.send(READY)
            return self._socket.recv(1) == GO
        except OSError:
            return False

    def give(self) -> bool:
        """Everything is let go of. False: the other one is gone."""
        try:
            self._socket.send(GO, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def asked(self) -> bool:
        """Never blocks: the other one is ready."""
        try:
            return self._socket.recv(1, socket.MSG_DONTWAIT) == READY
        except OSError:
            return False

    def close(self) -> None:
        """To a stand-in that has not heard GO it says that it never will."""
        self._socket.close()

    def end_stand_in(self, grace_s: float) -> None:
        """Its parent only: blocks until there is no stand-in. One that let go, or has nothing, ends by itself."""
        self.close()
        if self.stand_in is None:
            return
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(self.stand_in)
            try:
                if not select.select([fd], [], [], grace_s)[0]:
                    os.kill(self.stand_in, signal.SIGKILL)
            finally:
                os.close(fd)
            os.waitpid(self.stand_in, 0)


@dataclass(frozen=True, slots=True)
class Successor:
    """What this process is to become."""

    settings_fd: int
    turn: Turn

    def drop(self) -> None:
        """It is not wanted any more; a stand-in that did not hear GO ends by itself."""
        os.close(self.settings_fd)
        reap(self.turn)


def have_turn(turn: Turn) -> bool:
    """Blocks until it is ours. False in a stand-in whose parent goes on as it is, or stopped: it has nothing to do."""
    given = turn.take()
    if turn.stand_in is None:
        return given
    if given:
        reap(turn)
    else:
        turn.end_stand_in(0)  # it let go of nothing, so it must be gone first
    return True


def reap(turn: Turn) -> None:
    """In a thread: what a process that has let go still needs for its end nobody has to wait for."""
    threading.Thread(target=turn.end_stand_in, args=(REAP_S,), daemon=True).start()


def start_stand_in(module: str, config: Path, settings_fd: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and the end on which it says READY. Called by the main thread, whose death would end it."""
    ours, theirs = socket.socketpair()
    with theirs:
        fds = settings_fd, theirs.fileno()
        words = ("--settings-fd", str(fds[0]), "--stand-in", str(fds[1]), str(config))
        command = [sys.executable, "-P", "-m", module, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=fds)
    ours.setblocking(False)
    return process, ours


def dies_with_parent() -> None:
    """In a stand-in, first of all. A parent that is gone already closed its end of the turn."""
    kernel_calls.prctl(kernel_calls.PR_SET_PDEATHSIG, signal.SIGKILL)


def hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, OUR_SIGNALS)


def take_signals() -> None:
    """Once there are handlers: what came meanwhile comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OUR_SIGNALS)
