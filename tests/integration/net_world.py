"""A network namespace for one test, entered by the test's own thread: what it starts from then on lives in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from agents.fencing import kernel_calls

needs_network = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: addresses and nftables are tried in a network namespace of the test's own"
)


@contextlib.contextmanager
def network_namespace() -> Iterator[None]:
    """Loopback up, and a pair of Ethernet devices, `site0` and `peer0`, both in it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel_calls.unshare(kernel_calls.CLONE_NEWNET)
    try:
        for words in ("link add site0 type veth peer name peer0", "link set site0 up", "link set peer0 up"):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield
    finally:
        kernel_calls.setns(before, kernel_calls.CLONE_NEWNET)
        os.close(before)
