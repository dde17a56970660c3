"""A platform that shows from outside whether it lives: it stamps its clock and holds a connection to the referee.

Each of its processes, the activation step too, has a file of four numbers that it maps and writes by itself (first and
last stamp on CLOCK_BOOTTIME, how many, the longest pause between two), and a connection that the kernel closes when it
dies, however it dies. `start` puts a daemon into the background (two forks, a new session); how it resists is said by
the words in DATA/manner:

    hang         the activation step never ends and is deaf to TERM
    stubborn     the daemon is deaf to TERM
    stop-fails   the deactivation step fails and stops nothing
    stuck        at the word of DATA/stuck-now the daemon asks a file system that does not answer

Only the standard library: it runs isolated, inside of a guard.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import select
import signal
import socket
import sys
import time

STAMP_S = 0.001
LOOK_EVERY = 20
"""Stamps between two looks for DATA/stuck-now."""
START_S = 5.0
STOP_S = 5.0
FIRST, LAST, COUNT, PAUSE = range(4)


class Life:
    """One process as the referee sees it."""

    def __init__(self, referee: str, stamps: str, site: str, role: str) -> None:
        name = os.urandom(8).hex()
        fd = os.open(f"{stamps}/{name}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, 32)
        self._cells = memoryview(mmap.mmap(fd, 32)).cast("Q")
        os.close(fd)
        self._cells[FIRST] = self._cells[LAST] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.stamp()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(referee)
        self.sock.sendall(f"live {site} {os.environ['THIRDSITE_EPOCH']} {role} {name}\n".encode())

    def stamp(self) -> None:
        cells, now = self._cells, time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        cells[PAUSE] = max(cells[PAUSE], now - cells[LAST])
        cells[LAST] = now
        cells[COUNT] += 1


def locked(data: str) -> tuple[int, bool]:
    """The lock of the one daemon, and whether it is ours now."""
    fd = os.open(f"{data}/service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return fd, False
    return fd, True


def deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def manner(data: str) -> list[str]:
    try:
        with open(f"{data}/manner", encoding="ascii") as file:  # noqa: PTH123  # no pathlib in a process that is timed
            return file.read().split()
    except FileNotFoundError:
        return []


def start(data: str, port: int, referee: str, stamps: str, site: str) -> int:
    life = Life(referee, stamps, site, "step")
    if "hang" in manner(data):
        deaf()
        while True:
            life.stamp()
            time.sleep(STAMP_S)
    said, tell = os.pipe()
    if os.fork() == 0:
        life.sock.close()
        os.setsid()
        if os.fork() == 0:
            os.close(said)
            daemon(tell, data, port, referee, stamps, site)
        os._exit(0)
    os.close(tell)
    os.wait()
    ready, _, _ = select.select([said], [], [], START_S)
    life.stamp()
    return 0 if ready and os.read(said, 64) == b"serving" else 1


def daemon(tell: int, data: str, port: int, referee: str, stamps: str, site: str) -> None:
    """Never returns."""
    code = 1
    try:
        let_go()
        lock, free = locked(data)
        if not free:
            os._exit(2)
        words = manner(data)
        stopping: list[int] = []
        if "stubborn" in words:
            deaf()
        else:
            signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
        life = Life(referee, stamps, site, "daemon")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(512)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        with open(f"{data}/orders.log", "a", encoding="ascii") as orders:  # noqa: PTH123  # as above
            orders.write(f"order taken at {site}\n")
        os.write(tell, b"serving")
        os.close(tell)
        live(life, data, stopping, can_stick="stuck" in words)
        code = 0
    finally:
        os._exit(code)


def live(life: Life, data: str, stopping: list[int], *, can_stick: bool) -> None:
    stamps = 0
    while not stopping:
        life.stamp()
        stamps += 1
        if can_stick and stamps % LOOK_EVERY == 0 and os.access(f"{data}/stuck-now", os.F_OK):
            with open(f"{data}/stuck-now", encoding="ascii") as word:  # noqa: PTH123  # as above
                os.stat(word.read())  # noqa: PTH116  # as above; it does not come back
        time.sleep(STAMP_S)


def let_go() -> None:
    """A daemon keeps nothing of whoever started it."""
    fd = os.open("/dev/null", os.O_RDWR)
    for target in (0, 1, 2):
        os.dup2(fd, target)
    os.close(fd)


def stop(data: str) -> int:
    fd, free = locked(data)
    if free:
        return 0
    if "stop-fails" in manner(data):
        return 1
    os.kill(int(os.pread(fd, 64, 0)), signal.SIGTERM)
    ends = time.monotonic() + STOP_S
    while time.monotonic() < ends:
        if locked(data)[1]:
            return 0
        time.sleep(STAMP_S)
    return 1


def main(words: list[str]) -> int:
    """`start DATA PORT REFEREE STAMPS SITE` or `stop DATA`."""
    if words[0] == "start":
        return start(words[1], int(words[2]), *words[3:6])
    return stop(words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
