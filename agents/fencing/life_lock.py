"""A lock that is held for as long as an exec guard or its namespace's init lives, whoever looks from wherever.

Rule: process ids mean nothing in another container; a lock on a file does. The guard takes it before it may run
anything, its init inherits it, and the kernel lets it go when the last of them has died. Free does not yet mean that
the namespace is empty (the kernel closes files a moment before it ends the rest), so whoever finds it free looks again
after SETTLE_S. In a container the first process holds it too, and writes `container` into it: free then means that the
whole container is gone, whatever it was contained in.
"""

from __future__ import annotations

import fcntl
import os

SETTLE_S = 1.0
CONTAINER = b"container\n"
SUFFIX = ".lock"


def lock_path(record_path: str) -> str:
    return record_path.removesuffix(".guard") + SUFFIX


def hold(record_path: str) -> int:
    """The descriptor that holds the lock; never closed by hand."""
    fd = os.open(lock_path(record_path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.getpid() == 1:
        os.pwrite(fd, CONTAINER, 0)
    return fd


def is_held(record_path: str) -> bool | None:
    """None: there is no such lock, as of guards of an earlier version and of the agent's own."""
    try:
        fd = os.open(lock_path(record_path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def of_container(record_path: str) -> bool:
    try:
        with open(lock_path(record_path), "rb") as file:
            return file.read(len(CONTAINER)) == CONTAINER
    except OSError:
        return False


def remove(record_path: str) -> None:
    try:
        os.unlink(lock_path(record_path))
    except FileNotFoundError:
        return
