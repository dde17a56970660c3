"""Process 1 of the guest: mounts, network, ways to the host's loopback, and the site's agent as its child."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

HOST, GUEST = "10.0.2.2", "10.0.2.15"
"""As QEMU's user network has them."""
FINIT_MODULE = 313
CHUNK = 65_536
_libc = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, target: str) -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    _libc.mount(kind.encode(), target.encode(), kind.encode(), ctypes.c_ulong(0), None)


def load(paths: list[str]) -> None:
    """In passes: a module whose needs are not there yet is tried again."""
    left = paths
    for _ in paths:
        left = [path for path in left if not loaded(path)]
    for path in left:
        sys.stdout.write(f"init: {path} cannot be loaded\n")


def loaded(path: str) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        return _libc.syscall(FINIT_MODULE, fd, b"", 0) == 0 or ctypes.get_errno() == errno.EEXIST
    finally:
        os.close(fd)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def way(listen: tuple[str, int], goal: tuple[str, int]) -> None:
    """Connections to `listen` end at `goal`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*goal)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    await asyncio.start_server(serve, *listen)


async def live(told: dict[str, object]) -> None:
    for port in told["to_host"]:  # type: ignore[attr-defined]  # a list of numbers
        await way(("127.0.0.1", port), (HOST, port))
    for outside, port in told["from_host"]:  # type: ignore[attr-defined]  # a list of pairs
        await way((GUEST, outside), ("127.0.0.1", port))
    agent = await asyncio.create_subprocess_exec(*told["command"])  # type: ignore[misc]  # a list of words
    await agent.wait()


def main() -> None:
    for kind, target in (("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("cgroup2", "/sys/fs/cgroup")):
        mount(kind, target)
    told = json.loads(Path("/guest.json").read_bytes())
    os.environ.update(PATH="/usr/bin:/bin:/usr/sbin:/sbin", HOME="/tmp", TMPDIR="/tmp")
    load(told["modules"])
    for words in ("link set lo up", "link set eth0 up", f"addr add {GUEST}/24 dev eth0"):
        subprocess.run(["ip", *words.split()], check=False)
    sys.stdout.write("init: the agent starts\n")
    sys.stdout.flush()
    asyncio.run(live(told))
    sys.stdout.write("init: the agent has ended\n")
    os.sync()
    _libc.reboot(0x4321FEDC)


if __name__ == "__main__":
    main()
