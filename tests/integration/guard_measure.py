"""Measures guards, by hand: `python tests/integration/guard_measure.py [TRIALS]`; prints one JSON line. No test.

Lateness is the victim's last own stamp, and the handle's proof, against the deadline (negative: before it).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
from pathlib import Path

from guard_world import MS, World, arm, arm_floor_only, in_namespace_of, now_ns, stamps

from agents.fencing.guard_client import GuardHandle


def memory_kb(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    lines += Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    wanted = {"VmRSS": "rss", "RssAnon": "anon", "Pss": "pss", "VmLck": "locked"}
    return {wanted[line.split(":")[0]]: int(line.split()[1]) for line in lines if line.split(":")[0] in wanted}


async def one_end(manner: str) -> tuple[float, float]:
    world = World()
    try:
        guard = await world.spawn()
        deadline = await arm_floor_only(guard, 500)
        path = await world.victim(guard, "v", "daemon", "stubborn")
        if manner != "running":
            os.kill(guard.guard_pid, signal.SIGSTOP)
        if manner == "all-stopped":
            for pid in in_namespace_of(guard.init_pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        gone = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().remove_reader(guard._init_pidfd)
        asyncio.get_running_loop().add_reader(guard._init_pidfd, proof(guard, gone))
        proven = await gone
        await guard.wait_down()
        return (stamps(path)[-1] - deadline) / MS, (proven - deadline) / MS
    finally:
        await world.close()


def proof(guard: GuardHandle, gone: asyncio.Future[int]) -> object:
    def seen() -> None:
        gone.set_result(now_ns())
        guard._on_init_gone()

    return seen


async def start_up() -> dict[str, object]:
    world = World()
    try:
        began = now_ns()
        guard = await world.spawn()
        ready_ms = (now_ns() - began) / MS
        await arm(guard, 60_000)
        await guard.run_step(world.step("x", "true"))
        arms = []
        for _ in range(200):
            at = now_ns()
            await arm(guard, 60_000)
            arms.append((now_ns() - at) / MS)
        return {
            "ready_ms": round(ready_ms, 1),
            "arm_ms_median": round(statistics.median(arms), 3),
            "guard_kb": memory_kb(guard.guard_pid),
            "init_kb": memory_kb(guard.init_pid),
            "privileges": dict((await guard.status()).privileges),
        }
    finally:
        await world.close()


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"min": round(ordered[0], 2), "median": round(statistics.median(ordered), 2), "max": round(ordered[-1], 2)}


async def main(trials: int) -> None:
    result: dict[str, object] = await start_up()
    for manner in ("running", "guard-stopped", "all-stopped"):
        pairs = [await one_end(manner) for _ in range(trials)]
        result[manner] = {
            "trials": trials,
            "last_sign_minus_deadline_ms": summary([pair[0] for pair in pairs]),
            "proof_minus_deadline_ms": summary([pair[1] for pair in pairs]),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
