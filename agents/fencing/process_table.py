"""What /proc says about processes: start time, parents, descendants. A pid alone never names a process.

Rule: pid plus start time plus boot id name one process for ever; a signal goes only to what was proven to be it.
"""

from __future__ import annotations

import os
import signal

BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    with open(BOOT_ID_PATH, encoding="ascii") as file:
        return file.read().strip()


def _stat_fields(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the third on; the second may contain anything, so it is cut at its last ')'."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(fd, 4_096)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = data[data.rfind(b")") + 2 :].split()
    return fields if len(fields) > 20 else None


def start_time(pid: int) -> int | None:
    """Start of `pid` in clock ticks since boot, None when there is no such process (a zombie still has one)."""
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[19])


def open_process(pid: int, started: int) -> int | None:
    """A pidfd of exactly that process, or None when it is gone. The start time is read after the opening."""
    try:
        fd = os.pidfd_open(pid, 0)
    except ProcessLookupError:
        return None
    if start_time(pid) == started:
        return fd
    os.close(fd)
    return None


def descendants(root: int) -> list[int]:
    """All living processes below `root`, as of one walk; zombies are left out."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _stat_fields(int(name))
        if fields is not None and fields[0] not in (b"Z", b"X"):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    todo = [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            continue


def kill_descendants(root: int, spare: tuple[int, ...]) -> bool:
    """One round of freeze and kill below `root`; True when nothing but `spare` was left before it."""
    found = [pid for pid in descendants(root) if pid not in spare]
    if not found:
        return True
    signal_all(found, signal.SIGSTOP)
    signal_all([pid for pid in descendants(root) if pid not in spare], signal.SIGKILL)
    return False
