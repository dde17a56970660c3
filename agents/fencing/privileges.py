"""Makes a guard hard to push aside: OOM score, locked memory, real-time priority; each granted or reported as not.

Rule: none of these carries the promise (the kernel's timer does), so a refusal is a line in the status, never an
error. Children get none of it: the OOM score is put back before each step, SCHED_RESET_ON_FORK drops the priority,
memory locks are not inherited.
MCL_ONFAULT locks what was ever touched instead of reading in all of the interpreter: 9 MB resident in place of 13.
What is allocated later is locked too (MCL_FUTURE), but only where no limit on locked memory applies: with one, an
allocation beyond it would fail.
"""

from __future__ import annotations

import os

from agents.fencing import kernel_calls

OOM_SCORE_GUARD = -1000
REALTIME_PRIORITY = 1
CAP_NET_ADMIN = 12
CAP_IPC_LOCK = 14


def set_oom_score(score: int) -> bool:
    try:
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, str(score).encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def claim() -> dict[str, bool]:
    """After the init was forked, so that it starts without any of it."""
    return {
        "oom_score": set_oom_score(OOM_SCORE_GUARD),
        "memory_locked": _lock_memory(),
        "realtime": claim_realtime(),
    }


def _lock_memory() -> bool:
    now, later = kernel_calls.MCL_CURRENT, kernel_calls.MCL_FUTURE if has_capability(CAP_IPC_LOCK) else 0
    for flags in (now | later | kernel_calls.MCL_ONFAULT, now | later):
        try:
            kernel_calls.lock_memory(flags)
        except OSError:
            continue
        return True
    return False


def has_capability(number: int) -> bool:
    """Effective now."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    except OSError:
        return False
    return bool(int(effective, 16) >> number & 1)


def claim_realtime() -> bool:
    """For the guard, and for its init: both must be scheduled to die before what they hold can."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True
