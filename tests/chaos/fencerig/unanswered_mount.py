"""A file system whose every question stays unanswered: whoever asks and is killed stays in state D.

Linux lets a process wait for a FUSE answer killably, until its question was read; from then on a SIGKILL waits for the
answer. It is the nearest thing to a host's hanging disk that can be undone: closing /dev/fuse ends all waiting.

    python unanswered_mount.py DIRECTORY      says "mounted", ends when its stdin is closed; needs root
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import sys

REQUEST_BYTES = 1 << 17
FUSE_INIT = 26
MINOR = 31


def mount(directory: str) -> int:
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"unanswered", directory.encode(), b"fuse", ctypes.c_ulong(0), options) != 0:
        raise OSError(ctypes.get_errno(), f"mount {directory}: {os.strerror(ctypes.get_errno())}")
    return fuse


def agree(fuse: int) -> None:
    """The one answer: version 7.31, no features."""
    request = os.read(fuse, REQUEST_BYTES)
    _length, code, unique = struct.unpack_from("<IIQ", request)
    if code != FUSE_INIT:
        raise OSError(f"the kernel began with request {code}")
    major, _minor, readahead = struct.unpack_from("<III", request, 40)
    body = struct.pack("<IIIIHHIIHHI7I", major, MINOR, readahead, 0, 16, 12, 65_536, 1, 0, 0, 0, *[0] * 7)
    os.write(fuse, struct.pack("<IiQ", 16 + len(body), 0, unique) + body)


def main(directory: str) -> None:
    fuse = mount(directory)
    agree(fuse)
    os.write(1, b"mounted\n")
    while True:
        ready, _, _ = select.select([0, fuse], [], [])
        if 0 in ready:
            return
        os.read(fuse, REQUEST_BYTES)


if __name__ == "__main__":
    main(sys.argv[1])
