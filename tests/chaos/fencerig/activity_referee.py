"""The referee: a process of its own that looks every 2 ms which platform processes exist, and says so when asked.

Rule: a process of a platform is alive from its own first stamp until the kernel has closed its connection; a stopped
one is alive. Two epochs that are alive at one look are a dual look. What it cannot see lies between two looks, so it
measures its own looks too. It knows nothing of witnesses, agents and guards, and touches nothing.

    python activity_referee.py SOCKET STAMPS_DIRECTORY      ends when its stdin is closed
"""

from __future__ import annotations

import json
import mmap
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

SAMPLE_NS = 2_000_000
HELLO_BYTES_MAX = 512
LATE_NS = (3_000_000, 5_000_000, 10_000_000, 20_000_000)
"""Looks whose distance to the one before was longer are counted for each of these."""


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Seen:
    """One process of a platform."""

    def __init__(self, words: list[str], stamps: Path, heard_ns: int) -> None:
        self.site, self.epoch, self.role = words[1], int(words[2]), words[3]
        self.heard_ns = heard_ns
        self.gone_ns: int | None = None
        with (stamps / words[4]).open("rb") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), 32, access=mmap.ACCESS_READ)).cast("Q")

    def told(self) -> dict[str, Any]:
        first, last, count, pause = self._cells
        return {
            "site": self.site,
            "epoch": self.epoch,
            "role": self.role,
            "first_ns": first,
            "last_ns": last,
            "stamps": count,
            "pause_max_ns": pause,
            "heard_ns": self.heard_ns,
            "gone_ns": self.gone_ns,
        }


class Looks:
    """What the looks themselves were like, so that nobody takes them for better than they are."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_ns = 0
        self.late = dict.fromkeys(LATE_NS, 0)
        self.dual = 0
        self.last_ns = now_ns()

    def look(self, at_ns: int, alive_epochs: int) -> None:
        gap = at_ns - self.last_ns
        self.count, self.last_ns = self.count + 1, at_ns
        self.longest_ns = max(self.longest_ns, gap)
        for bound in LATE_NS:
            self.late[bound] += gap > bound
        self.dual += alive_epochs > 1

    def told(self) -> dict[str, Any]:
        late = {f"over_{bound // 1_000_000}_ms": count for bound, count in self.late.items()}
        return {"count": self.count, "longest_ms": self.longest_ns / 1e6, "dual": self.dual, **late}


class Referee:
    def __init__(self, path: str, stamps: Path) -> None:
        self.stamps = stamps
        self.seen: list[Seen] = []
        self.looks = Looks()
        self._by_fd: dict[int, Seen] = {}
        self._socks: dict[int, socket.socket] = {}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(0, select.POLLIN)

    def run(self) -> None:
        due_ns = now_ns()
        while True:
            left_ms = max(0, due_ns - now_ns()) / 1e6
            for fd, _event in self._poll.poll(left_ms):
                if fd == 0:
                    return
                self._serve(fd)
            at_ns = now_ns()
            if at_ns >= due_ns:
                self.looks.look(at_ns, len({one.epoch for one in self._by_fd.values()}))
                due_ns = max(due_ns + SAMPLE_NS, at_ns)

    def _serve(self, fd: int) -> None:
        if fd == self._listener.fileno():
            sock, _ = self._listener.accept()
            self._socks[sock.fileno()] = sock
            self._poll.register(sock, select.POLLIN)
            return
        sock = self._socks[fd]
        data = sock.recv(HELLO_BYTES_MAX)
        if data.startswith(b"live "):
            one = Seen(data.decode().split(), self.stamps, now_ns())
            self.seen.append(one)
            self._by_fd[fd] = one
            return
        if data.startswith(b"report"):
            sock.sendall(json.dumps(self.told()).encode() + b"\n")
        self._gone(fd)

    def _gone(self, fd: int) -> None:
        one = self._by_fd.pop(fd, None)
        if one is not None:
            one.gone_ns = now_ns()
        self._poll.unregister(fd)
        self._socks.pop(fd).close()

    def told(self) -> dict[str, Any]:
        return {"now_ns": now_ns(), "looks": self.looks.told(), "seen": [one.told() for one in self.seen]}


if __name__ == "__main__":
    Referee(sys.argv[1], Path(sys.argv[2])).run()
    os._exit(0)
