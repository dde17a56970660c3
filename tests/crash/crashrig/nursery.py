"""A process that has everything loaded and forks witnesses: a restart costs milliseconds instead of imports.

    python -m crashrig.nursery DESCRIPTOR        one message a witness: JSON, with its end of a socket pair

It holds no event loop, thread or file of its own, so a fork of it is as good as a new process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from crashrig import member

from proto.edge.logs import setup_logging

MESSAGE_BYTES_MAX = 65_536


def main(descriptor: int) -> None:
    sock = socket.socket(fileno=descriptor)
    setup_logging(level="error")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes the dead away
    gc.freeze()
    while True:
        data, passed, _, _ = socket.recv_fds(sock, MESSAGE_BYTES_MAX, 1)
        if not data:
            return
        pid = os.fork()
        if pid == 0:
            sock.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                member.main(json.loads(data), passed[0])
            finally:
                os._exit(0)
        os.close(passed[0])
        sock.send(str(pid).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
