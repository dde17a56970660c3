"""Namespaces of the run's own: what it mounts and which addresses it adds ends with it, whatever happens to it."""

from __future__ import annotations

import shutil
import subprocess

from fencerig.fence_layout import VIP_DEVICE

from agents.fencing import kernel_calls

MS_PRIVATE, MS_SHARED = 1 << 18, 1 << 20
_REASON = ["namespaces of its own were not asked for"]


def enter_own_namespaces() -> None:
    """Once, before any thread and any child. Loopback is up, and there is a pair of Ethernet devices."""
    if shutil.which("ip") is None:
        _REASON[0] = "needs the program ip"
        return
    try:
        kernel_calls.unshare(kernel_calls.CLONE_NEWNET | kernel_calls.CLONE_NEWNS)
        # Nothing mounted here is seen outside; guards, which are started later, see it.
        for kind in (MS_PRIVATE, MS_SHARED):
            kernel_calls.mount("none", "/", None, kernel_calls.MS_REC | kind)
    except OSError as error:
        _REASON[0] = f"needs a network and a mount namespace of its own ({error.strerror})"
        return
    _ip("link set lo up")
    try:
        for words in (f"add {VIP_DEVICE} type veth peer name peer0", f"set {VIP_DEVICE} up", "set peer0 up"):
            _ip(f"link {words}")
    except subprocess.CalledProcessError as error:
        _REASON[0] = f"needs a pair of Ethernet devices ({error})"
        return
    _REASON[0] = ""


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def in_own_namespaces() -> str:
    """'' or why not."""
    return _REASON[0]
