"""A guard measured: its memory, how often it wakes, and how late a deadline comes when the host is hard pressed.

Each trial has a guard with the user rungs as late as they may be and a double-forked platform that is deaf to TERM and
stamps its life every 3 ms; guards of one round run at once. Two figures against the deadline, both in ms, negative
before it: the platform's last own stamp, and when this process saw the namespace's end proven. The second is an upper
bound: under starvation this process waits for its turn as well.
`cpu`: four busy processes a core. `memory`: guards, platforms and a process that reads and writes more than fits, in a
control group with a limit (the memory controller of cgroup v1 or v2; without it the reason is told instead).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agents.fencing.base import GuardError, GuardSilent, Step
from agents.fencing.guard_client import GuardHandle
from agents.fencing.kernel_timer import GUARD_FLOOR_LEAD_NS
from proto.units import NS_PER_MS, NS_PER_S
from witness.bench.figures import Json, memory_of

TTL_MS = 2_000
AT_ONCE = 10
BUSY_PER_CORE = 4
LIMIT_BYTES = 256 * 1024 * 1024
PRESS_BYTES = 160 * 1024 * 1024
LONG_MS = 600_000
MEMORY_GROUPS = (
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/unified", "memory.max"),
)

PLATFORM = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while True:
    os.write(fd, b"%d\\n" % time.clock_gettime_ns(time.CLOCK_BOOTTIME))
    time.sleep(0.003)
"""
BUSY = "while True: pass"
PRESS = """
import os, sys
size, path = int(sys.argv[1]), sys.argv[2]
while True:
    block = bytearray(os.urandom(4096)) * (size // 4096)
    with open(path, "wb") as file: file.write(block)
    del block
    with open(path, "rb") as file:
        while file.read(1 << 20): pass
"""


async def guards(root: Path, seconds: float, trials: int) -> Json:
    figures: Json = {"idle": await _idle(root, seconds)}
    figures["plain"] = await _trials(root, trials, _nothing)
    with contextlib.ExitStack() as stack:
        for _ in range(BUSY_PER_CORE * (os.cpu_count() or 1)):
            _beside(stack, BUSY)
        figures["cpu"] = await _trials(root, trials, _nothing)
    figures["memory"] = await _pressed(root, trials)
    return figures


async def _idle(root: Path, seconds: float) -> Json:
    guard = await GuardHandle.spawn("bench", root, options='{"cgroup":true}')
    try:
        status = await guard.status()
        await _arm(guard, LONG_MS)
        before = _switches(guard.guard_pid), _switches(guard.init_pid)
        await asyncio.sleep(seconds)
        after = _switches(guard.guard_pid), _switches(guard.init_pid)
        return {
            "guard_mb": memory_of(guard.guard_pid).rss_mb,
            "init_mb": memory_of(guard.init_pid).rss_mb,
            "guard_wakes_per_s": round((after[0] - before[0]) / seconds, 2),
            "init_wakes_per_s": round((after[1] - before[1]) / seconds, 2),
            "containment": guard.containment.value,
            "ladder": list(status.ladder),
            "privileges": dict(status.privileges),
        }
    finally:
        await guard.fence()
        await guard.release()


def _switches(pid: int) -> int:
    """How often it has gone to sleep, and so been woken."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("voluntary_ctxt_switches")))


async def _pressed(root: Path, trials: int) -> Json:
    async with _memory_group() as (group, why):
        if group is None:
            return {"not_measured": why}
        with contextlib.ExitStack() as stack:
            pid = _beside(stack, PRESS, str(PRESS_BYTES), str(root / "pressed"))
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")

            def move(guard: GuardHandle) -> None:
                for one in (guard.guard_pid, guard.init_pid):
                    (group / "cgroup.procs").write_text(str(one), encoding="ascii")

            return await _trials(root, trials, move)


@contextlib.asynccontextmanager
async def _memory_group() -> AsyncIterator[tuple[Path | None, str]]:
    for directory, limit in MEMORY_GROUPS:
        group = Path(directory) / f"thirdsite-bench-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(LIMIT_BYTES), encoding="ascii")
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group, ""
        finally:
            await _removed(group)
        return
    yield None, "no memory controller of a control group that this user may write"


async def _removed(group: Path) -> None:
    """Empty within moments: everything in it was killed."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            await asyncio.to_thread(group.rmdir)
            return
        await asyncio.sleep(0.05)


def _beside(stack: contextlib.ExitStack, code: str, *arguments: str) -> int:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", code, *arguments])
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process.pid


def _nothing(_guard: GuardHandle) -> None:
    return


async def _trials(root: Path, trials: int, prepare: Callable[[GuardHandle], None]) -> Json:
    stamps: list[float] = []
    proofs: list[float] = []
    unused = not_armed = 0
    for first in range(0, trials, AT_ONCE):
        numbers = range(first, min(trials, first + AT_ONCE))
        for found in await asyncio.gather(*(_trial(root, number, prepare) for number in numbers)):
            if found is None:
                not_armed += 1
                continue
            stamp, proof = found
            proofs.append(proof)
            if stamp is None:
                unused += 1
            else:
                stamps.append(stamp)
    counts = {"trials": trials, "not_armed": not_armed, "never_ran": unused}
    return {**counts, "last_stamp": _spread(stamps), "proof": _spread(proofs)}


def _spread(values: list[float]) -> Json:
    if not values:
        return {}
    return {"min_ms": min(values), "median_ms": round(statistics.median(values), 1), "max_ms": max(values)}


async def _trial(root: Path, number: int, prepare: Callable[[GuardHandle], None]) -> tuple[float | None, float] | None:
    """None when the guard did not take its deadline in time (an agent fences then), so that nothing ever ran."""
    guard = await GuardHandle.spawn(f"bench-{number}", root)
    path = root / f"{number}.stamps"
    try:
        prepare(guard)
        try:
            deadline = await _arm(guard, TTL_MS)
        except GuardSilent:
            await guard.fence()
            return None
        argv = (sys.executable, "-I", "-S", "-c", PLATFORM, str(path))
        step = asyncio.create_task(guard.run_step(Step("platform", argv, {}, root / f"{number}.log")))
        await guard.wait_down()
        proven = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        await asyncio.gather(step, return_exceptions=True)
        return _last(path, deadline), round((proven - deadline) / NS_PER_MS, 1)
    finally:
        with contextlib.suppress(GuardError):
            await guard.release()
        path.unlink(missing_ok=True)


def _last(path: Path, deadline: int) -> float | None:
    """Complete lines only: the platform may be killed within a write."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return round((int(lines[-1]) - deadline) / NS_PER_MS, 1) if lines else None


async def _arm(guard: GuardHandle, ttl_ms: int) -> int:
    """Only the kernel's floor is tried: the user rungs come as late as they may."""
    deadline = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + ttl_ms * NS_PER_S // 1_000
    floor_ns = deadline - GUARD_FLOOR_LEAD_NS
    await guard.arm(1, floor_ns, floor_ns, deadline)
    return deadline
