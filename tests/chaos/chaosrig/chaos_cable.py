"""A cable: carries frames between two devices, each after a delay of its own, so that they may overtake each other.

    python chaos_cable.py DEVICE OTHER LOW_MS HIGH_MS SEED      ends when its stdin is closed

There is no netem in every kernel; this needs raw sockets alone. Only the standard library.
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import sys
import time

ETH_P_ALL = 3
OUTGOING = 4
FRAME_MAX = 65_536
WAITING_MAX = 20_000
"""Frames beyond this are lost, as a full queue loses them."""


def _end(device: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sock.bind((device, ETH_P_ALL))
    sock.setblocking(False)
    return sock


def _carry(one: socket.socket, other: socket.socket, low_s: float, high_s: float, draw: random.Random) -> None:
    waiting: list[tuple[float, int, socket.socket, bytes]] = []
    number = 0
    across = {one.fileno(): other, other.fileno(): one}
    poll = select.poll()
    for fd in (0, *across):
        poll.register(fd, select.POLLIN)
    while True:
        left_ms = None if not waiting else max(0.0, (waiting[0][0] - time.monotonic()) * 1_000)
        for fd, _event in poll.poll(left_ms):
            if fd == 0:
                return
            frame, where = (one if fd == one.fileno() else other).recvfrom(FRAME_MAX)
            if where[2] != OUTGOING and len(waiting) < WAITING_MAX:
                number += 1
                heapq.heappush(waiting, (time.monotonic() + draw.uniform(low_s, high_s), number, across[fd], frame))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            try:
                to.send(frame)
            except OSError:
                continue  # longer than the device takes, or its queue is full: lost


if __name__ == "__main__":
    low, high = (int(word) / 1_000 for word in sys.argv[3:5])
    _carry(_end(sys.argv[1]), _end(sys.argv[2]), low, high, random.Random(int(sys.argv[5])))
