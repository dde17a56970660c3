"""When etcd's holder renewed last, and how often it does: a comparison strikes both products' leases at the same ages.

etcd tells what a lease has left in whole seconds only; so its holder's host is listened to instead. A holder that waits
sends nothing but keep-alives: small DATA frames of HTTP/2 (RFC 9113, sections 4.1 and 6.1).
"""

from __future__ import annotations

import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from statistics import median

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
TIMESTAMP = struct.Struct("@qq")
PACKET_BYTES_MAX = 65_536
KEPT = 64
FRAME_HEADER_BYTES = 9
FRAME_DATA = 0
GAP_S_MIN = 0.1
KEEP_ALIVE_BYTES_MAX = 24
"""gRPC's prefix of 5 bytes and the number of a lease; every other request of etcdctl names a key and is longer."""


class Listener:
    """Owns a socket in a host's namespace: the maker is inside it. Hears what the host sends to a TCP port."""

    def __init__(self, device: str, port: int) -> None:
        self._port = port
        self._instants_s: deque[float] = deque(maxlen=KEPT)
        self._socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL)
        )
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def close(self) -> None:
        self._socket.close()

    def renewed_ms_ago(self) -> float | None:
        """None: no renewal was heard yet."""
        self._hear()
        now_s = time.clock_gettime(time.CLOCK_REALTIME)
        return (now_s - self._instants_s[-1]) * 1_000 if self._instants_s else None

    def period_ms(self) -> float | None:
        """The median distance of those heard; a session begins with two at once, which tell nothing."""
        self._hear()
        gaps = [later - earlier for earlier, later in pairwise(self._instants_s)]
        apart = [gap for gap in gaps if gap > GAP_S_MIN]
        return median(apart) * 1_000 if apart else None

    def _hear(self) -> None:
        while True:
            try:
                packet, extra, _flags, sender = self._socket.recvmsg(PACKET_BYTES_MAX, 64)
            except BlockingIOError:
                return
            if sender[2] != socket.PACKET_OUTGOING or not is_keep_alive(packet, self._port):
                continue
            at_s = next((_stamp_s(data) for _, kind, data in extra if kind == SO_TIMESTAMPNS), None)
            if at_s is not None:
                self._instants_s.append(at_s)


def _stamp_s(data: bytes) -> float:
    seconds, nanoseconds = TIMESTAMP.unpack(data)
    return float(seconds + nanoseconds / 1e9)


def is_keep_alive(packet: bytes, port: int) -> bool:
    """Of an IPv4 packet: its segment goes to that port and has a DATA frame as short as a keep-alive."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return False
    segment = packet[(packet[0] & 15) * 4 : int.from_bytes(packet[2:4], "big")]
    if len(segment) < 20 or int.from_bytes(segment[2:4], "big") != port:
        return False
    return any(kind == FRAME_DATA and 0 < size <= KEEP_ALIVE_BYTES_MAX for kind, size in _frames(segment))


def _frames(segment: bytes) -> Iterator[tuple[int, int]]:
    """Type and size of each whole frame header of its payload."""
    at = (segment[12] >> 4) * 4
    while at + FRAME_HEADER_BYTES <= len(segment):
        size = int.from_bytes(segment[at : at + 3], "big")
        yield segment[at + 3], size
        at += FRAME_HEADER_BYTES + size
