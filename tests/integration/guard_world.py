"""Real guards for tests: victims that stamp their life on BOOTTIME, and a clean end of whatever was started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agents.fencing.base import Containment, GuardError, Step
from agents.fencing.guard_client import GuardHandle

MS = 1_000_000
ALLOWANCE_NS = 50 * MS
NOBODY = 65_534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
GROUP = "shop"

# Stamps every 3 ms; argv: file, then words that say how hard to kill it is.
VICTIM = """
import os, signal, sys, time
path, manner = sys.argv[1], sys.argv[2:]
if "daemon" in manner:
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
if "stubborn" in manner:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
if "bystander" in manner and os.fork() == 0: manner = []
while True:
    os.write(fd, b"%d %d\\n" % (time.clock_gettime_ns(time.CLOCK_BOOTTIME), os.getpid()))
    time.sleep(0.003)
"""


# The same for users who may not run this interpreter; /proc/uptime is BOOTTIME, in hundredths of a second.
SHELL_VICTIM = """
trap '' TERM HUP INT
while :; do read up rest </proc/uptime; echo "${up%.*}${up#*.}0000000 $$" >>"$0"; sleep 0.01; done
"""


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def victim_argv(path: Path, *manner: str) -> tuple[str, ...]:
    if "shell" in manner:
        return ("setsid", "--fork", "sh", "-c", SHELL_VICTIM, str(path))
    return (sys.executable, "-I", "-S", "-c", VICTIM, str(path), *manner)


def stamps(path: Path) -> list[int]:
    """Complete lines only: a victim may be killed within a write."""
    if not path.exists():
        return []
    return [int(line.split()[0]) for line in path.read_bytes().split(b"\n")[:-1] if b" " in line]


async def until(condition: Callable[[], object], what: str, bound_s: float = 10.0) -> None:
    ends = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > ends:
            raise AssertionError(f"not within {bound_s} s: {what}")
        await asyncio.sleep(0.005)


async def lives(path: Path) -> None:
    """The victim has given at least three signs of life."""
    await until(lambda: len(stamps(path)) >= 3, f"{path.name} lives")


async def until_ns(instant_ns: int) -> None:
    await asyncio.sleep(max(0, instant_ns - now_ns()) / 1e9)  # the span up to the deadline must pass


class World:
    """One directory that anybody may write, and the guards started in it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="thirdsite-guard-"))
        self.path.chmod(0o777)
        self.handles: list[GuardHandle] = []
        self.pids: list[int] = []
        self._steps: set[asyncio.Task[object]] = set()

    async def spawn(self, containment: Containment | None = None, **options: object) -> GuardHandle:
        handle = await GuardHandle.spawn(GROUP, self.path, containment=containment, **options)  # type: ignore[arg-type] - tests pass through
        self.handles.append(handle)
        return handle

    def step(self, name: str, *argv: str, timeout_ms: int = 0, env: dict[str, str] | None = None) -> Step:
        log = self.path / f"{name}.log"
        return Step(name, argv, {"PATH": os.defpath} if env is None else env, log, Path("/"), timeout_ms)

    async def victim(self, handle: GuardHandle, name: str, *manner: str) -> Path:
        """A stamping process under the guard, seen alive."""
        path = self.path / f"{name}.stamps"
        task = asyncio.create_task(handle.run_step(self.step(name, *victim_argv(path, *manner))))
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._steps.add(task)
        await lives(path)
        return path

    async def close(self) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for handle in self.handles:
            with contextlib.suppress(GuardError):
                await handle.fence()
            with contextlib.suppress(GuardError):
                await handle.release()
        for task in self._steps:
            task.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        shutil.rmtree(self.path, ignore_errors=True)


async def arm(handle: GuardHandle, ttl_ms: int, epoch: int = 1, *, term: float = 0.6, kill: float = 0.8) -> int:
    """Arms for `ttl_ms` from now; returns the deadline."""
    at = now_ns()
    deadline = at + ttl_ms * MS
    await handle.arm(epoch, at + round(ttl_ms * term) * MS, at + round(ttl_ms * kill) * MS, deadline)
    return deadline


async def arm_floor_only(handle: GuardHandle, ttl_ms: int, epoch: int = 1) -> int:
    """The user rungs as late as they may be: only the kernel's floor is tried."""
    deadline = now_ns() + ttl_ms * MS
    rung = deadline - 50 * MS
    await handle.arm(epoch, rung, rung, deadline)
    return deadline


def in_namespace_of(init_pid: int) -> list[int]:
    """Host pids of everything in the PID namespace of `init_pid`."""
    wanted = Path(f"/proc/{init_pid}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "ns/pid").readlink() == wanted:
                    found.append(int(entry.name))
    return found


def died_by(path: Path, deadline_ns: int) -> None:
    """Its last sign of life came before the deadline, as it wrote itself."""
    last = stamps(path)[-1]
    late_ms = (last - deadline_ns) / MS
    assert last <= deadline_ns + ALLOWANCE_NS, f"{path.name} lived {late_ms:.1f} ms past the deadline"


async def stays_dead(path: Path, for_s: float = 0.1) -> None:
    before = len(stamps(path))
    await asyncio.sleep(for_s)  # a span in which a survivor would have written
    assert len(stamps(path)) == before, f"{path.name} still writes"
