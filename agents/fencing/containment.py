"""In what the protected processes live, strongest first, and how a guard enters it.

Rule: `pid-namespace` (with rights) and `user+pid-namespace` (without) are ended by the kernel as one; when neither
can be had, `process-group` is used and said to be weaker: it rests on a subreaper that has to be scheduled.
The guard itself only unshares what its *children* get (PID namespace, and the user namespace that owns it); the
mount namespace belongs to the init, so that the guard keeps the host's view for its record file.
"""

from __future__ import annotations

import os

from agents.fencing import kernel_calls

PID_NAMESPACE = "pid-namespace"
USER_PID_NAMESPACE = "user+pid-namespace"
PROCESS_GROUP = "process-group"
ALL = (PID_NAMESPACE, USER_PID_NAMESPACE, PROCESS_GROUP)

NOTES = {
    PID_NAMESPACE: "the kernel ends everything in the namespace at the deadline, without any process",
    USER_PID_NAMESPACE: (
        "the kernel ends everything in the namespace at the deadline, without any process; made without root: "
        "set-user-id programs and other users do not work in it"
    ),
    PROCESS_GROUP: (
        "weaker: no PID namespace can be had here, so processes are found and killed one by one by a process "
        "that must be running; if the whole site is stopped they outlive the deadline. Run the agent as root, "
        "or allow user namespaces"
    ),
}


def enter(wanted: str | None) -> tuple[str, str]:
    """Unshares the strongest containment, or exactly `wanted`; returns its name and why nothing stronger."""
    attempts = ALL if wanted is None else (wanted,)
    reasons: list[str] = []
    for kind in attempts:
        try:
            _enter_one(kind)
        except OSError as error:
            reasons.append(f"{kind}: {error.strerror}")
            continue
        return kind, "; ".join(reasons)
    raise OSError(f"containment cannot be had: {'; '.join(reasons)}")


def _enter_one(kind: str) -> None:
    if kind == PID_NAMESPACE:
        kernel_calls.unshare(kernel_calls.CLONE_NEWPID)
    elif kind == USER_PID_NAMESPACE:
        uid, gid = os.geteuid(), os.getegid()
        kernel_calls.unshare(kernel_calls.CLONE_NEWUSER | kernel_calls.CLONE_NEWPID)
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
    else:
        kernel_calls.prctl(kernel_calls.PR_SET_CHILD_SUBREAPER, 1)


def furnish_init(kind: str) -> str:
    """In the new init: its own mounts and /proc, or the subreaper. Returns '' or what is missing, in words."""
    if kind == PROCESS_GROUP:
        kernel_calls.prctl(kernel_calls.PR_SET_CHILD_SUBREAPER, 1)
        return ""
    kernel_calls.unshare(kernel_calls.CLONE_NEWNS)
    kernel_calls.mount("none", "/", None, kernel_calls.MS_REC | kernel_calls.MS_SLAVE)
    flags = kernel_calls.MS_NOSUID | kernel_calls.MS_NODEV | kernel_calls.MS_NOEXEC
    try:
        kernel_calls.mount("proc", "/proc", "proc", flags)
    except OSError as error:
        return f"no own /proc ({error.strerror}): steps see the host's process list"
    return ""
