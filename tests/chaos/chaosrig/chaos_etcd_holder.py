"""A site of the comparison: its platform runs while this host's `etcdctl lock` lives, as its users write it.

    python chaos_etcd_holder.py TTL_S ENDPOINTS PROGRAM DATA PORT REFEREE STAMPS SITE

The lock's session is renewed three times a ttl by etcdctl itself. When etcdctl ends, the platform is killed at once.
Only the standard library.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

AGAIN_S = 0.05


def _serve_once(ttl_s: str, endpoints: str, program: list[str], data: Path) -> None:
    command = ["etcdctl", "--endpoints", endpoints, "lock", "--ttl", ttl_s, "chaos"]
    lock = subprocess.Popen(command, env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.PIPE)
    if lock.stdout is not None and lock.stdout.readline():
        # The number of an epoch must grow from holder to holder, and nothing else is asked of it.
        epoch = str(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
        start = [sys.executable, "-I", "-S", *program]
        subprocess.run(start, env={**os.environ, "THIRDSITE_EPOCH": epoch}, check=False)
    lock.wait()
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((data / "service.lock").read_text()), signal.SIGKILL)


def main(words: list[str]) -> None:
    ttl_s, endpoints, program, *rest = words
    while True:
        _serve_once(ttl_s, endpoints, [program, "start", *rest], Path(rest[0]))
        time.sleep(AGAIN_S)  # etcdctl ends at once while no member answers


if __name__ == "__main__":
    main(sys.argv[1:])
