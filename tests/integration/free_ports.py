"""Ports for servers that a test starts later: free now, and not given out meanwhile.

The kernel gives the ports of its own range (32768 and up) to whoever calls out or binds port 0, also in the moment
between a probe and the server's start; two workers of one run met there. So they come from below that range, and each
process of a run begins elsewhere.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

FIRST, LAST = 10_000, 32_000
APART = 1_009
"""Neighbouring process ids begin so far apart, and no test process wants that many."""
_NEXT = itertools.count(os.getpid() * APART)


def free_ports(count: int) -> list[int]:
    """Raises RuntimeError when the whole range is taken."""
    found: list[int] = []
    for _ in range(LAST - FIRST):
        port = FIRST + next(_NEXT) % (LAST - FIRST)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} ports are free from {FIRST} to {LAST}")
