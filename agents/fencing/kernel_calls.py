"""The few calls of the kernel that Python 3.11 does not offer, through ctypes; nothing else lives here.

Rule: this file and its siblings that a guard loads import only the standard library, and of that only what is
small (no asyncio, typing, dataclasses, subprocess): a guard is resident on every host for every group.
Rejected: a C extension (needs a compiler where Python alone must do), the python of 3.12 with os.unshare.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REC = 16384
MS_SLAVE = 1 << 19

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36

MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def library() -> ctypes.CDLL:
    return _libc


def check(result: int, call: str) -> None:
    """Turns the -1 of a C call into OSError with the call's name."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, flags: int) -> None:
    check(_libc.setns(fd, flags), f"setns({flags:#x})")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    kind_bytes = None if kind is None else kind.encode()
    check(_libc.mount(source.encode(), target.encode(), kind_bytes, flags, None), f"mount {target}")


def prctl(option: int, value: int) -> None:
    check(_libc.prctl(option, value, 0, 0, 0), f"prctl({option})")


def lock_memory(flags: int) -> None:
    check(_libc.mlockall(flags), "mlockall")
