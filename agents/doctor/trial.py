"""Tries in a process of its own what a guard will need on this host, and prints what it got; run by the doctor.

It makes a namespace, an init in it and a timer, claims what a guard claims, and ends. Nothing outlives it.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys

from agents.fencing import containment, kernel_calls, kernel_timer, privileges

STA_UNSYNC = 0x0040
TIMEX_BYTES = 1_024
NETLINK_NETFILTER = 12


def main() -> int:
    found: dict[str, object] = {"kernel": os.uname().release, "root": os.geteuid() == 0}
    found["clock_synchronized"] = _synchronized()
    found["netfilter"] = _netfilter()
    found["boottime_timer"] = _works(kernel_timer.KernelTimer)
    found["pidfd"] = _works(lambda: os.close(os.pidfd_open(os.getpid(), 0)))
    try:
        found["containment"], found["containment_why"] = containment.enter(None)
    except OSError as error:
        found["containment"], found["containment_why"] = "", str(error)
    else:
        found["containment_missing"] = _init(str(found["containment"]))
    found["privileges"] = privileges.claim()
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _works(attempt: object) -> bool:
    try:
        attempt()  # type: ignore[operator]  # each is a call without arguments
    except OSError:
        return False
    return True


def _init(kind: str) -> str:
    """What a namespace's init would miss here, in words."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        words = ""
        try:
            words = containment.furnish_init(kind)
        except OSError as error:
            words = f"its init cannot be set up: {error}"
        finally:
            os.write(write_end, words.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as said:
        words = said.read(1_000).decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return words


def _synchronized() -> bool | None:
    """The kernel's word on whether somebody disciplines its clock; None when it does not say."""
    timex = (ctypes.c_long * (TIMEX_BYTES // ctypes.sizeof(ctypes.c_long)))()
    if kernel_calls.library().adjtimex(ctypes.byref(timex)) < 0:
        return None
    status = ctypes.cast(timex, ctypes.POINTER(ctypes.c_int))[5 * ctypes.sizeof(ctypes.c_long) // 4]
    return not status & STA_UNSYNC


def _netfilter() -> bool:
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
