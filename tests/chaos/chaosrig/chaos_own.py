"""What a run needs of this machine, and the namespaces of its own that it enters: what it mounts ends with it."""

from __future__ import annotations

import os
import shutil
import subprocess

from agents.fencing import kernel_calls

MS_PRIVATE, MS_SHARED = 1 << 18, 1 << 20
PROGRAMS = {"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "unshare": "util-linux"}


def missing() -> str:
    """'' or, in words, why no run can be made here."""
    if os.geteuid() != 0:
        return "needs root: hosts are network namespaces and control groups of the run's own (run it with sudo)"
    absent = [f"{name} (Debian package {package})" for name, package in PROGRAMS.items() if shutil.which(name) is None]
    if absent:
        return f"needs the program {' and '.join(absent)}"
    possible = subprocess.run(["unshare", "-n", "-m", "-p", "--fork", "true"], capture_output=True, check=False)
    if possible.returncode != 0:
        return "needs the rights to make network, mount and PID namespaces, which this container or machine withholds"
    return ""


def enter() -> None:
    """Once, before any thread and any child: mounts of the run are seen by nobody else and go with it."""
    kernel_calls.unshare(kernel_calls.CLONE_NEWNS)
    for kind in (MS_PRIVATE, MS_SHARED):
        kernel_calls.mount("none", "/", None, kernel_calls.MS_REC | kind)
    kernel_calls.prctl(kernel_calls.PR_SET_CHILD_SUBREAPER, 1)
