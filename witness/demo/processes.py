"""Every process that the demo is the cause of: found by its tree, named by pid and start time, ended at the end.

Rule: a signal goes only to a process that was found below this one and is proven to be still the same. The demo
makes itself the subreaper, so that what a dead agent leaves behind becomes its child instead of the machine's and
can neither be lost nor survive it. What ran before the demo began is never touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proto.errors import LocalFault

_PR_SET_CHILD_SUBREAPER = 36
_POLL_S = 0.005
GONE_S = 5.0
STOP_S = 3.0


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """One process for ever: a pid alone may be another's tomorrow."""

    pid: int
    started: int
    """Clock ticks since boot."""

    def alive(self) -> bool:
        """A zombie is not alive: it runs nothing and holds nothing."""
        stat = read_stat(self.pid)
        return stat is not None and stat.started == self.started and stat.state not in "ZX"

    def signal(self, number: int) -> bool:
        """False when it is gone already."""
        try:
            fd = os.pidfd_open(self.pid, 0)
        except ProcessLookupError:
            return False
        try:
            stat = read_stat(self.pid)
            if stat is None or stat.started != self.started:
                return False
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(fd)
        return True


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc says about a process."""

    parent: int
    state: str
    started: int


def read_stat(pid: int) -> Stat | None:
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name may hold anything, blanks and brackets too: what follows its last bracket is regular.
    fields = data[data.rfind(b")") + 2 :].split()
    return Stat(int(fields[1]), fields[0].decode(), int(fields[19])) if len(fields) > 19 else None


def below(roots: Iterable[int]) -> set[Process]:
    """Everything below these pids, themselves not included, zombies left out."""
    children: dict[int, list[tuple[int, Stat]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
        stat = read_stat(int(name)) if name.isdigit() else None
        if stat is not None:
            children.setdefault(stat.parent, []).append((int(name), stat))
    found: set[Process] = set()
    todo = list(roots)
    while todo:
        for pid, stat in children.get(todo.pop(), ()):
            todo.append(pid)
            if stat.state not in "ZX":
                found.add(Process(pid, stat.started))
    return found


def kill_all(processes: Iterable[Process]) -> None:
    for one in processes:
        one.signal(signal.SIGKILL)


async def wait_gone(processes: Iterable[Process], seconds: float = GONE_S) -> set[Process]:
    """Those that are still alive when the time is over; empty is what one hopes for."""
    ends = time.monotonic() + seconds
    left = {one for one in processes if one.alive()}
    while left and time.monotonic() < ends:
        await asyncio.sleep(_POLL_S)
        left = {one for one in left if one.alive()}
    return left


class Child:
    """One process that the demo started itself, in a session of its own: Ctrl-C is the demo's business alone."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        stat = read_stat(process.pid)
        self.identity = Process(process.pid, stat.started if stat else 0)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    async def wait(self, seconds: float) -> int | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._process.wait()
        return None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class Fleet:
    """Owns all of them. `end` leaves nothing behind, whatever happened before."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._before = {one.pid for one in below([os.getpid()])}
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise LocalFault(f"cannot become a subreaper: {os.strerror(ctypes.get_errno())}")

    async def start(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Child:
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=None if env is None else {**os.environ, **env},
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def tree(self, child: Child) -> set[Process]:
        """The child and everything below it."""
        own = {child.identity} if child.identity.alive() else set()
        return own | below([child.pid])

    def adopted(self) -> set[Process]:
        """What lost its parent and came to this process, with everything below it."""
        known = {child.pid for child in self.children} | self._before
        orphans = {one for one in self._direct() if one.pid not in known}
        return orphans | below(one.pid for one in orphans)

    def _direct(self) -> set[Process]:
        own = os.getpid()
        found = set()
        for one in below([own]):
            stat = read_stat(one.pid)
            if stat is not None and stat.parent == own:
                found.add(one)
        return found

    def reap(self) -> None:
        """Takes the exit codes of adopted orphans; those of the demo's own children are asyncio's."""
        own, known = os.getpid(), {child.pid for child in self.children} | self._before
        for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is wanted
            stat = read_stat(int(name)) if name.isdigit() else None
            if stat is not None and stat.parent == own and stat.state == "Z" and int(name) not in known:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(int(name), os.WNOHANG)

    async def end(self, *first: Child) -> None:
        """Asks `first` and then the others to stop, in order; afterwards everything that is left is killed."""
        for one in self._mine():
            one.signal(signal.SIGCONT)
        await self._ask(first)
        await self._ask([child for child in self.children if child not in first])
        ends = time.monotonic() + GONE_S
        while (left := self._mine()) and time.monotonic() < ends:
            kill_all(left)
            await asyncio.sleep(_POLL_S)
            self.reap()
        for child in self.children:
            await child.wait(0.2)
        self.reap()

    @staticmethod
    async def _ask(children: Sequence[Child]) -> None:
        running = [child for child in children if child.exit_code is None]
        for child in running:
            child.signal(signal.SIGTERM)
        if running:
            await asyncio.wait([asyncio.create_task(child.wait(STOP_S)) for child in running])

    def _mine(self) -> set[Process]:
        return {one for one in below([os.getpid()]) if one.pid not in self._before}
